use std::{collections::HashSet, sync::Arc, time::Duration};

use ::metadata::{Image, Node, NodeState, Partition, Topic};
use domain::{NodeId, PartitionIndex, TopicName};
use wire::{
    BrokerId, ResponseError,
    messages::{
        MetadataRequest, MetadataResponse,
        metadata_response::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic},
    },
};

use crate::{
    api::{text, topic_of, wire_name},
    broker::Broker,
};

/// How long after a leader's death its successor is waited for. A client takes the first answer that it gets: librdkafka,
/// told that there is no leader, may look again only after a second. Other answers stand behind this one meanwhile, so if
/// nobody was elected by then, it says so at once.
const SUCCESSOR_MAX: Duration = Duration::from_millis(500);

/// Whether the client asks for topics by name: then it may have lost a leader, and [`answer_checked`] is for it.
pub(crate) fn names_topics(request: &MetadataRequest) -> bool {
    request.topics.as_ref().is_some_and(|topics| !topics.is_empty())
}

/// Everything from the image; nothing is asked of anybody. Topics are not made by asking for them.
pub(crate) fn answer(broker: &Broker, request: &MetadataRequest, version: i16) -> MetadataResponse {
    let seen = Seen { broker, image: broker.image.load(), dead: HashSet::new() };
    seen.answer(request, version)
}

/// The same, but names no leader whose process is seen to be dead before the controller has said so.
pub(crate) async fn answer_checked(
    broker: Arc<Broker>,
    request: MetadataRequest,
    version: i16,
) -> MetadataResponse {
    let image = broker.image.load();
    let others = leaders_of(&image, &request).into_iter().filter(|n| *n != broker.node);
    let dead = broker.doubts.of(&image, others).await;
    if let Some(first) = dead.values().min() {
        tracing::info!(nodes = ?dead.keys(), "nodes that the metadata call alive refuse connections");
        let succeeded = |image: &Image| dead.keys().all(|node| !leaders_of(image, &request).contains(node));
        let _ = tokio::time::timeout_at(*first + SUCCESSOR_MAX, broker.image.wait_for(succeeded)).await;
    }
    let now = broker.image.load();
    // A node that has registered anew meanwhile is no dead one.
    let epoch_in = |image: &Image, node: &NodeId| image.nodes.get(node).map(|n| n.epoch);
    let same = |node: &NodeId| epoch_in(&now, node) == epoch_in(&image, node);
    let dead = dead.into_keys().filter(same).collect();
    Seen { broker: &broker, image: now, dead }.answer(&request, version)
}

fn leaders_of(image: &Image, request: &MetadataRequest) -> HashSet<NodeId> {
    let topics = request.topics.iter().flatten().filter_map(|asked| {
        let name = asked.name.as_ref().map_or("", |name| name.as_str());
        topic_of(image, name, asked.topic_id)
    });
    topics.flat_map(|topic| topic.numbered().filter_map(|(_, p)| p.leader)).collect()
}

/// The metadata, and who of the nodes in it is dead.
struct Seen<'a> {
    broker: &'a Broker,
    image: Arc<Image>,
    dead: HashSet<NodeId>,
}

impl Seen<'_> {
    fn answer(&self, request: &MetadataRequest, version: i16) -> MetadataResponse {
        let (image, me) = (&*self.image, self.broker.node);
        // A node that is stopping still leads what nobody else can lead. And whoever answers is there: a client that is told of
        // no broker at all may never ask again.
        let there =
            |n: &&Arc<Node>| n.state != NodeState::Fenced || n.id == me || self.broker.departed.lately(n.id);
        let brokers = image.nodes.values().filter(there).map(|node| {
            MetadataResponseBroker::default()
                .with_node_id(BrokerId(node.id.0))
                .with_host(text(&node.kafka.host))
                .with_port(node.kafka.port.into())
                .with_rack(node.rack.as_ref().map(text))
        });
        let all =
            request.topics.is_none() || (version == 0 && request.topics.as_ref().is_some_and(Vec::is_empty));
        let topics = match &request.topics {
            Some(asked) if !all => {
                asked.iter().map(|t| self.asked_for(t.name.as_ref(), t.topic_id)).collect()
            }
            _ => image.topics.values().map(|t| self.described(t)).collect(),
        };
        MetadataResponse::default()
            .with_brokers(brokers.collect())
            .with_cluster_id(image.cluster_id.map(text))
            // Any node takes administrative requests to the controller.
            .with_controller_id(BrokerId(me.0))
            .with_topics(topics)
    }

    fn asked_for(&self, name: Option<&wire::WireTopicName>, id: uuid::Uuid) -> MetadataResponseTopic {
        let unknown = |error: ResponseError| {
            MetadataResponseTopic::default()
                .with_error_code(error.code())
                .with_name(name.cloned())
                .with_topic_id(id)
        };
        let image = &*self.image;
        if !id.is_nil() {
            let topic = image.topic_by_id(domain::TopicId(id));
            return topic.map_or_else(|| unknown(ResponseError::UnknownTopicId), |t| self.described(t));
        }
        let Some(name) = name else {
            return unknown(ResponseError::InvalidRequest);
        };
        match image.topics.get(name.as_str()) {
            Some(topic) => self.described(topic),
            None if TopicName::new(name).is_err() => unknown(ResponseError::InvalidTopicException),
            None => unknown(ResponseError::UnknownTopicOrPartition),
        }
    }

    fn described(&self, topic: &Topic) -> MetadataResponseTopic {
        MetadataResponseTopic::default()
            .with_name(Some(wire_name(&topic.name)))
            .with_topic_id(topic.id.0)
            .with_is_internal(topic.name.as_str() == group::OFFSETS_TOPIC)
            .with_partitions(topic.numbered().map(|(n, p)| self.partition(n, p)).collect())
    }

    fn partition(&self, number: PartitionIndex, partition: &Partition) -> MetadataResponsePartition {
        let ids = |nodes: &[NodeId]| nodes.iter().map(|n| BrokerId(n.0)).collect();
        let live = |n: &NodeId| self.image.nodes.get(n).is_some_and(|n| n.state != NodeState::Fenced);
        let offline: Vec<NodeId> = partition.replicas.iter().copied().filter(|n| !live(n)).collect();
        // A leader that is not among the brokers is none that a client could go to.
        let leader = partition.leader.filter(live).filter(|n| !self.dead.contains(n));
        let error_code = leader.map_or(ResponseError::LeaderNotAvailable.code(), |_| 0);
        MetadataResponsePartition::default()
            .with_error_code(error_code)
            .with_partition_index(number.0)
            .with_leader_id(BrokerId(leader.map_or(-1, |n| n.0)))
            .with_leader_epoch(partition.leader_epoch.0)
            .with_replica_nodes(ids(&partition.replicas))
            .with_isr_nodes(ids(&partition.isr))
            .with_offline_replicas(ids(&offline))
    }
}

use std::sync::Arc;

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
    api::{text, wire_name},
    broker::Broker,
};

/// Everything from the image; nothing is asked of anybody. Topics are not made by asking for them.
pub(crate) fn answer(broker: &Broker, request: &MetadataRequest, version: i16) -> MetadataResponse {
    let image = broker.image.load();
    // A node that is stopping still leads what nobody else can lead. And whoever answers is there: a client that is told of
    // no broker at all may never ask again.
    let there = |n: &&Arc<Node>| n.state != NodeState::Fenced || n.id == broker.node;
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
        Some(asked) if !all => asked.iter().map(|t| asked_for(&image, t.name.as_ref(), t.topic_id)).collect(),
        _ => image.topics.values().map(|t| described(&image, t)).collect(),
    };
    MetadataResponse::default()
        .with_brokers(brokers.collect())
        .with_cluster_id(image.cluster_id.map(text))
        // Any node takes administrative requests to the controller.
        .with_controller_id(BrokerId(broker.node.0))
        .with_topics(topics)
}

fn asked_for(image: &Image, name: Option<&wire::WireTopicName>, id: uuid::Uuid) -> MetadataResponseTopic {
    let unknown = |error: ResponseError| {
        MetadataResponseTopic::default()
            .with_error_code(error.code())
            .with_name(name.cloned())
            .with_topic_id(id)
    };
    if !id.is_nil() {
        let topic = image.topic_by_id(domain::TopicId(id));
        return topic.map_or_else(|| unknown(ResponseError::UnknownTopicId), |t| described(image, t));
    }
    let Some(name) = name else {
        return unknown(ResponseError::InvalidRequest);
    };
    match image.topics.get(name.as_str()) {
        Some(topic) => described(image, topic),
        None if TopicName::new(name).is_err() => unknown(ResponseError::InvalidTopicException),
        None => unknown(ResponseError::UnknownTopicOrPartition),
    }
}

fn described(image: &Image, topic: &Topic) -> MetadataResponseTopic {
    MetadataResponseTopic::default()
        .with_name(Some(wire_name(&topic.name)))
        .with_topic_id(topic.id.0)
        .with_partitions(topic.numbered().map(|(n, p)| partition(image, n, p)).collect())
}

fn partition(image: &Image, number: PartitionIndex, partition: &Partition) -> MetadataResponsePartition {
    let ids = |nodes: &[NodeId]| nodes.iter().map(|n| BrokerId(n.0)).collect();
    let live = |n: &NodeId| image.nodes.get(n).is_some_and(|n| n.state != NodeState::Fenced);
    let offline: Vec<NodeId> = partition.replicas.iter().copied().filter(|n| !live(n)).collect();
    // A leader that is not among the brokers is none that a client could go to.
    let leader = partition.leader.filter(live);
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

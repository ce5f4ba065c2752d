use ::metadata::{Image, NodeState, Partition, Topic};
use domain::{PartitionIndex, TopicId, TopicName};
use group::OFFSETS_TOPIC;
use uuid::Uuid;
use wire::{
    BrokerId, ResponseError, StrBytes, WireTopicName,
    messages::{
        MetadataRequest, MetadataResponse,
        metadata_response::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic},
    },
};

use super::{VIRTUAL, front::Front, text, wire_name};

const NOBODY: BrokerId = BrokerId(-1);

/// Everything from the image; nothing is asked of anybody. Topics are not made by asking for them.
pub(super) fn answer(front: &Front, request: &MetadataRequest, version: i16) -> MetadataResponse {
    described(&front.backend.image.load(), front.host.clone(), front.port, request, version)
}

fn described(
    image: &Image,
    host: StrBytes,
    port: i32,
    request: &MetadataRequest,
    version: i16,
) -> MetadataResponse {
    let broker = MetadataResponseBroker::default().with_node_id(VIRTUAL).with_host(host).with_port(port);
    let all =
        request.topics.is_none() || (version == 0 && request.topics.as_ref().is_some_and(Vec::is_empty));
    let topics = match &request.topics {
        Some(asked) if !all => asked.iter().map(|t| asked_for(image, t.name.as_ref(), t.topic_id)).collect(),
        _ => image.topics.values().map(|t| topic(image, t)).collect(),
    };
    MetadataResponse::default()
        .with_brokers(vec![broker])
        .with_cluster_id(image.cluster_id.map(text))
        .with_controller_id(VIRTUAL)
        .with_topics(topics)
}

fn asked_for(image: &Image, name: Option<&WireTopicName>, id: Uuid) -> MetadataResponseTopic {
    let unknown = |error: ResponseError| {
        MetadataResponseTopic::default()
            .with_error_code(error.code())
            .with_name(name.cloned())
            .with_topic_id(id)
    };
    if !id.is_nil() {
        let known = image.topic_by_id(TopicId(id));
        return known.map_or_else(|| unknown(ResponseError::UnknownTopicId), |t| topic(image, t));
    }
    let Some(name) = name else {
        return unknown(ResponseError::InvalidRequest);
    };
    match image.topics.get(name.as_str()) {
        Some(known) => topic(image, known),
        None if TopicName::new(name).is_err() => unknown(ResponseError::InvalidTopicException),
        None => unknown(ResponseError::UnknownTopicOrPartition),
    }
}

fn topic(image: &Image, topic: &Topic) -> MetadataResponseTopic {
    MetadataResponseTopic::default()
        .with_name(Some(wire_name(&topic.name)))
        .with_topic_id(topic.id.0)
        .with_is_internal(topic.name.as_str() == OFFSETS_TOPIC)
        .with_partitions(topic.numbered().map(|(n, p)| partition(image, n, p)).collect())
}

/// Who really holds it is not to be seen: a client would try to connect to them.
fn partition(image: &Image, number: PartitionIndex, partition: &Partition) -> MetadataResponsePartition {
    let live = |id| image.nodes.get(&id).is_some_and(|node| node.state != NodeState::Fenced);
    let is_led = partition.leader.is_some_and(live);
    let (leader, error) =
        if is_led { (VIRTUAL, 0) } else { (NOBODY, ResponseError::LeaderNotAvailable.code()) };
    MetadataResponsePartition::default()
        .with_error_code(error)
        .with_partition_index(number.0)
        .with_leader_id(leader)
        .with_leader_epoch(partition.leader_epoch.0)
        .with_replica_nodes(vec![VIRTUAL])
        .with_isr_nodes(vec![VIRTUAL])
}

#[cfg(test)]
mod tests {
    use wire::messages::metadata_request::MetadataRequestTopic;

    use super::*;
    use crate::fixture;

    fn of(image: &Image, topics: Option<Vec<MetadataRequestTopic>>) -> MetadataResponse {
        let request = MetadataRequest::default().with_topics(topics);
        described(image, StrBytes::from_static_str("gw"), 9192, &request, 12)
    }

    fn named(name: &str) -> MetadataRequestTopic {
        MetadataRequestTopic::default().with_name(Some(WireTopicName(text(name))))
    }

    #[test]
    fn one_broker_leads_everything() {
        let answer = of(&fixture::image(), None);
        assert_eq!(answer.brokers.len(), 1);
        assert_eq!((answer.brokers[0].host.as_str(), answer.brokers[0].port), ("gw", 9192));
        assert_eq!((answer.controller_id, answer.topics.len()), (VIRTUAL, 1));
        for partition in &answer.topics[0].partitions {
            assert_eq!((partition.leader_id, partition.error_code), (VIRTUAL, 0));
            assert_eq!((&partition.replica_nodes, &partition.isr_nodes), (&vec![VIRTUAL], &vec![VIRTUAL]));
            assert!(partition.offline_replicas.is_empty());
        }
        assert_eq!(answer.topics[0].partitions.len(), 4);
    }

    #[test]
    fn a_partition_without_a_leader_says_so() {
        let mut image = fixture::image();
        let name = TopicName::new("orders").unwrap();
        let mut topic = Topic::clone(&image.topics[&name]);
        topic.partitions[1].leader = None;
        image.topics.insert(name, topic.into());
        let answer = of(&image, Some(vec![named("orders")]));
        let told = &answer.topics[0].partitions[1];
        assert_eq!((told.leader_id, told.error_code), (NOBODY, ResponseError::LeaderNotAvailable.code()));
        assert_eq!(answer.topics[0].partitions[0].error_code, 0);
    }

    #[test]
    fn what_is_not_there_is_not_made() {
        let mut image = fixture::image();
        let codes = |image: &Image, topic| of(image, Some(vec![topic])).topics[0].error_code;
        assert_eq!(codes(&image, named("nope")), ResponseError::UnknownTopicOrPartition.code());
        assert_eq!(codes(&image, named("no/pe")), ResponseError::InvalidTopicException.code());
        let by_id = MetadataRequestTopic::default().with_name(None).with_topic_id(Uuid::from_u128(99));
        assert_eq!(codes(&image, by_id), ResponseError::UnknownTopicId.code());
        let orders = image.topics.get("orders").unwrap().clone();
        let offsets = TopicName::new(OFFSETS_TOPIC).unwrap();
        image.topics.insert(offsets.clone(), Topic { name: offsets, ..Topic::clone(&orders) }.into());
        let internal = |name| of(&image, Some(vec![named(name)])).topics[0].is_internal;
        assert!(internal(OFFSETS_TOPIC) && !internal("orders"));
    }
}

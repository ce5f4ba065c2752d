//! Where a partition begins and ends.

use std::{collections::BTreeMap, time::Duration};

use domain::{Offset, PartitionIndex, TopicName};
use rpc::WatchedImage;
use wire::{
    BrokerId, ResponseError, StrBytes, WireTopicName,
    messages::{
        ListOffsetsRequest,
        list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
    },
};

use crate::{
    kafka::{Backend, by_leader},
    leader::{Asked, Nodes, at_leader},
    reader::ReadError,
    routing::{Route, Target},
};

/// Which offset to look up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The first offset that is there.
    Earliest,
    /// The offset after the last that consumers see.
    Latest,
    /// The first whose record is not older than this, milliseconds since 1970; -1 if there is none.
    At(i64),
}

pub(crate) async fn offset_at(
    nodes: &Nodes,
    image: &WatchedImage,
    topic: &TopicName,
    target: Target,
    place: Place,
) -> Result<Offset, ReadError> {
    at_leader(image, target, |route| ask(nodes, topic, target, place, route)).await
}

/// Both ends.
pub(crate) async fn ends(
    nodes: &Nodes,
    image: &WatchedImage,
    topic: &TopicName,
    target: Target,
) -> Result<(Offset, Offset), ReadError> {
    let earliest = offset_at(nodes, image, topic, target, Place::Earliest);
    let latest = offset_at(nodes, image, topic, target, Place::Latest);
    let (earliest, latest) = tokio::join!(earliest, latest);
    Ok((earliest?, latest?))
}

/// The same of many partitions, of each leader in one request.
pub(crate) async fn offsets_at<'a>(
    backend: &Backend,
    of: impl IntoIterator<Item = (&'a str, PartitionIndex)>,
    place: Place,
) -> BTreeMap<(String, PartitionIndex), Result<Offset, ResponseError>> {
    let mut by_topic: BTreeMap<&str, Vec<ListOffsetsPartition>> = BTreeMap::new();
    for (topic, partition) in of {
        by_topic.entry(topic).or_default().push(asked(partition, place));
    }
    let topics = by_topic.into_iter().map(|(topic, partitions)| of_topic(topic, partitions));
    let request = request(topics.collect());
    let answer = by_leader::answer(backend, request, i16::MAX).await;
    let mut offsets = BTreeMap::new();
    for topic in answer.topics {
        for partition in topic.partitions {
            let key = (topic.name.to_string(), PartitionIndex(partition.partition_index));
            let outcome = match ResponseError::try_from_code(partition.error_code) {
                None => Ok(Offset(partition.offset)),
                Some(code) => Err(code),
            };
            offsets.insert(key, outcome);
        }
    }
    offsets
}

fn asked(partition: PartitionIndex, place: Place) -> ListOffsetsPartition {
    ListOffsetsPartition::default()
        .with_partition_index(partition.0)
        .with_current_leader_epoch(-1)
        .with_timestamp(match place {
            Place::Earliest => -2,
            Place::Latest => -1,
            Place::At(timestamp_ms) => timestamp_ms.max(0),
        })
}

fn of_topic(topic: &str, partitions: Vec<ListOffsetsPartition>) -> ListOffsetsTopic {
    ListOffsetsTopic::default()
        .with_name(WireTopicName(StrBytes::from_string(topic.to_owned())))
        .with_partitions(partitions)
}

fn request(topics: Vec<ListOffsetsTopic>) -> ListOffsetsRequest {
    ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(topics)
}

async fn ask(nodes: &Nodes, topic: &TopicName, target: Target, place: Place, route: Route) -> Asked<Offset> {
    let partition = asked(target.partition, place).with_current_leader_epoch(route.leader_epoch.0);
    let request = request(vec![of_topic(topic.as_str(), vec![partition])]);
    let answer = match nodes.call(&route.address, request, Duration::ZERO).await {
        Ok(answer) => answer,
        Err(error) => return error.into(),
    };
    let of_partition = answer
        .topics
        .iter()
        .flat_map(|topic| &topic.partitions)
        .find(|p| p.partition_index == target.partition.0);
    match of_partition.map(|p| (ResponseError::try_from_code(p.error_code), p.offset)) {
        None => Asked::Elsewhere("the answer does not name the partition".to_owned()),
        Some((Some(code), _)) => code.into(),
        Some((None, offset)) => Asked::Done(Offset(offset)),
    }
}

//! Where a partition begins and ends.

use std::time::Duration;

use domain::{Offset, TopicName};
use rpc::WatchedImage;
use wire::{
    BrokerId, ResponseError, StrBytes, WireTopicName,
    messages::{
        ListOffsetsRequest,
        list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
    },
};

use crate::{
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

async fn ask(nodes: &Nodes, topic: &TopicName, target: Target, place: Place, route: Route) -> Asked<Offset> {
    let partition = ListOffsetsPartition::default()
        .with_partition_index(target.partition.0)
        .with_current_leader_epoch(route.leader_epoch.0)
        .with_timestamp(match place {
            Place::Earliest => -2,
            Place::Latest => -1,
        });
    let topic = ListOffsetsTopic::default()
        .with_name(WireTopicName(StrBytes::from_string(topic.to_string())))
        .with_partitions(vec![partition]);
    let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic]);
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

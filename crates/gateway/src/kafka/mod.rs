//! Kafka's protocol: the gateway as one broker that leads every partition and coordinates every group. One API, one file.

mod admin;
mod alter_configs;
mod api_versions;
mod backend;
mod budget;
pub(crate) mod by_leader;
mod consumer_group_describe;
mod coordinator;
mod create_partitions;
mod create_topics;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod describe_producers;
mod elect_leaders;
#[cfg(test)]
pub(crate) mod fake_node;
mod fetch;
mod find_coordinator;
mod front;
mod group_requests;
mod init_producer_id;
pub(crate) mod list_groups;
mod list_offsets;
mod listener;
pub(crate) mod many_groups;
mod metadata;
pub(crate) mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
#[cfg(test)]
mod reincarnation_tests;
mod reply;
mod session;
mod split;
mod upstream;

pub use listener::KafkaConfig;
pub(crate) use {
    backend::Backend,
    coordinator::{home, seat},
    listener::KafkaListener,
};

use ::metadata::{Image, Topic};
use domain::{PartitionIndex, TopicId, TopicName};
use wire::{BrokerId, ResponseError, StrBytes, WireTopicName};

use crate::routing::{Route, RouteError, Target, route};

/// The one broker that there is.
const VIRTUAL: BrokerId = BrokerId(0);

fn text(text: impl ToString) -> StrBytes {
    StrBytes::from_string(text.to_string())
}

fn wire_name(name: &TopicName) -> WireTopicName {
    WireTopicName(text(name))
}

/// The topic that a request means: by id where it gives one, else by name.
fn topic_of<'a>(image: &'a Image, name: &str, id: uuid::Uuid) -> Option<&'a Topic> {
    match id.is_nil() {
        true => image.topics.get(name).map(AsRef::as_ref),
        false => image.topic_by_id(TopicId(id)).map(AsRef::as_ref),
    }
}

/// Why a topic that [`topic_of`] does not find is not served.
fn unknown(id: uuid::Uuid) -> ResponseError {
    match id.is_nil() {
        true => ResponseError::UnknownTopicOrPartition,
        false => ResponseError::UnknownTopicId,
    }
}

/// A leader's error code, for a client that gave this id: who went by a name knows of no id, and looks for the name again.
fn to_who_named(id: uuid::Uuid, code: i16) -> i16 {
    let is_about_ids = [ResponseError::UnknownTopicId, ResponseError::InconsistentTopicId]
        .map(|error| error.code())
        .contains(&code);
    match id.is_nil() && is_about_ids {
        true => ResponseError::UnknownTopicOrPartition.code(),
        false => code,
    }
}

/// The way to a partition, or what a client is told who asks for it.
fn way(image: &Image, topic: &Topic, partition: i32) -> Result<(Target, Route), ResponseError> {
    let target = Target { topic: topic.id, partition: PartitionIndex(partition) };
    match route(image, target) {
        Ok(route) => Ok((target, route)),
        Err(RouteError::UnknownTopic | RouteError::UnknownPartition(_)) => {
            Err(ResponseError::UnknownTopicOrPartition)
        }
        // What a broker says that leads no more: the client asks again.
        Err(RouteError::NoLeader) => Err(ResponseError::NotLeaderOrFollower),
    }
}

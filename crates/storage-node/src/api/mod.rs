//! One file an API: a request in, a response out.

pub(crate) mod alter_configs;
pub(crate) mod alter_partition_reassignments;
pub(crate) mod api_versions;
mod config_resource;
pub(crate) mod create_partitions;
pub(crate) mod create_topics;
pub(crate) mod delete_records;
pub(crate) mod delete_topics;
pub(crate) mod describe_cluster;
pub(crate) mod describe_configs;
pub(crate) mod describe_log_dirs;
pub(crate) mod describe_producers;
pub(crate) mod elect_leaders;
pub(crate) mod fetch;
pub(crate) mod find_coordinator;
pub(crate) mod groups;
pub(crate) mod incremental_alter_configs;
pub(crate) mod init_producer_id;
pub(crate) mod list_offsets;
pub(crate) mod list_partition_reassignments;
pub(crate) mod metadata;
pub(crate) mod offset_for_leader_epoch;
pub(crate) mod produce;
pub(crate) mod replica_fetch;

use std::time::Duration;

use ::metadata::{Image, Topic};
use domain::{PartitionIndex, TopicId, TopicName};
use wire::{ResponseError, StrBytes, WireTopicName};

pub(crate) fn text(text: impl ToString) -> StrBytes {
    StrBytes::from_string(text.to_string())
}

pub(crate) fn wire_name(name: &TopicName) -> WireTopicName {
    WireTopicName(text(name))
}

/// The topic that a request means: by id where it gives one, else by name.
pub(crate) fn topic_of<'a>(image: &'a Image, name: &str, id: uuid::Uuid) -> Option<&'a Topic> {
    match id.is_nil() {
        true => image.topics.get(name).map(AsRef::as_ref),
        false => image.topic_by_id(TopicId(id)).map(AsRef::as_ref),
    }
}

/// Why a partition that this node holds no replica of is not served here.
pub(crate) fn absent(image: &Image, topic: &str, partition: PartitionIndex) -> ResponseError {
    match image.partition(topic, partition) {
        Some(_) => ResponseError::NotLeaderOrFollower,
        None => ResponseError::UnknownTopicOrPartition,
    }
}

/// How long an administrative request may take: what the client allows, within reason.
pub(crate) fn patience(timeout_ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0).clamp(100, 60_000))
}

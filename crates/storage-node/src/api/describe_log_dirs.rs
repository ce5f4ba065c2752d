use std::{collections::BTreeMap, sync::Arc};

use domain::{PartitionIndex, TopicName};
use wire::messages::{
    DescribeLogDirsRequest, DescribeLogDirsResponse,
    describe_log_dirs_response::{DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic},
};

use crate::{
    api::{text, wire_name},
    broker::Broker,
    partition::LocalPartition,
};

/// Not known.
const UNKNOWN: i64 = -1;

/// The node's one folder and what its replicas take there (KIP-113, KIP-827). A replica that is offline or was put aside
/// is not listed.
pub(crate) fn answer(broker: &Broker, request: &DescribeLogDirsRequest) -> DescribeLogDirsResponse {
    let partitions = match &request.topics {
        None => broker.store.all(),
        Some(asked) => asked
            .iter()
            .flat_map(|t| t.partitions.iter().map(move |p| (&t.topic, PartitionIndex(*p))))
            .filter_map(|(topic, number)| broker.store.get(topic, number))
            .collect(),
    };
    let (total_bytes, usable_bytes) = disk(broker);
    let dir = DescribeLogDirsResult::default()
        .with_log_dir(text(broker.store.dir.path().display()))
        .with_topics(by_topic(&partitions))
        .with_total_bytes(total_bytes)
        .with_usable_bytes(usable_bytes);
    DescribeLogDirsResponse::default().with_results(vec![dir])
}

fn by_topic(partitions: &[Arc<LocalPartition>]) -> Vec<DescribeLogDirsTopic> {
    let mut topics: BTreeMap<&TopicName, BTreeMap<PartitionIndex, DescribeLogDirsPartition>> =
        BTreeMap::new();
    for partition in partitions {
        if let Some(described) = described(partition) {
            let name = &partition.name;
            topics.entry(&name.topic).or_default().insert(name.partition, described);
        }
    }
    let topic = |(name, partitions): (&TopicName, BTreeMap<_, _>)| {
        let partitions = partitions.into_values().collect();
        DescribeLogDirsTopic::default().with_name(wire_name(name)).with_partitions(partitions)
    };
    topics.into_iter().map(topic).collect()
}

fn described(partition: &LocalPartition) -> Option<DescribeLogDirsPartition> {
    let committed = partition.committed_end()?;
    let (bytes, end) = partition.with_log(|log| (log.size_bytes(), log.end_offset()))?;
    let described = DescribeLogDirsPartition::default()
        .with_partition_index(partition.name.partition.0)
        .with_partition_size(i64::try_from(bytes).unwrap_or(i64::MAX))
        .with_offset_lag((committed.0 - end.0).max(0))
        .with_is_future_key(false);
    Some(described)
}

/// The size of the folder's file system and what of it this process may still use, in bytes.
fn disk(broker: &Broker) -> (i64, i64) {
    match rustix::fs::statvfs(broker.store.dir.path()) {
        Ok(disk) => {
            let bytes = |blocks: u64| i64::try_from(blocks.saturating_mul(disk.f_frsize)).unwrap_or(i64::MAX);
            (bytes(disk.f_blocks), bytes(disk.f_bavail))
        }
        Err(error) => {
            tracing::warn!(%error, "the file system's size is not known");
            (UNKNOWN, UNKNOWN)
        }
    }
}

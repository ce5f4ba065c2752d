use std::collections::BTreeMap;

use domain::{NodeId, PartitionIndex, TopicId};

/// What nodes told of their disks and replicas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub disks: BTreeMap<NodeId, Disk>,
    /// The bytes of one replica of the partition. What is missing counts as empty.
    pub sizes: BTreeMap<(TopicId, PartitionIndex), u64>,
}

/// A node's disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    pub used_bytes: u64,
    pub total_bytes: u64,
}

/// What stays free of a disk, in percent: logs grow while they are moved.
pub(super) const RESERVE_PERCENT: u64 = 10;

impl Usage {
    pub(super) fn size(&self, topic: TopicId, partition: PartitionIndex) -> u64 {
        self.sizes.get(&(topic, partition)).copied().unwrap_or(0)
    }
}

impl Disk {
    /// How many bytes more it can hold, the reserve apart.
    pub fn room_bytes(&self) -> u64 {
        let reserve = self.total_bytes.div_ceil(100).saturating_mul(RESERVE_PERCENT);
        self.total_bytes.saturating_sub(reserve).saturating_sub(self.used_bytes)
    }
}

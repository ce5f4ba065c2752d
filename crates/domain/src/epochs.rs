use crate::number;

number! {
    /// Counts the leaderships of a partition; it goes up whenever the leader changes (KIP-101). -1 means unknown.
    LeaderEpoch(i32)
}
number! {
    /// Counts the changes of a partition's state (leader, ISR, replicas); the version of a compare-and-set (KIP-497).
    PartitionEpoch(i32)
}
number! {
    /// Counts registrations: every incarnation of a storage node has one of its own (KIP-903's broker epoch).
    NodeEpoch(i64)
}

impl LeaderEpoch {
    /// What the wire calls "no epoch known".
    pub const UNKNOWN: LeaderEpoch = LeaderEpoch(-1);

    /// The epoch after this one.
    pub fn next(self) -> LeaderEpoch {
        LeaderEpoch(self.0.saturating_add(1))
    }
}

impl PartitionEpoch {
    /// The epoch after this one.
    pub fn next(self) -> PartitionEpoch {
        PartitionEpoch(self.0.saturating_add(1))
    }
}

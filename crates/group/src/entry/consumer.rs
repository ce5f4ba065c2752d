use std::collections::BTreeSet;

use assign::Partitions;
use bytes::Bytes;

use super::{
    EntryError,
    bytes::{Reader, Writer},
};

/// A group of the consumer protocol (`ConsumerGroupMetadataValue`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupEpoch {
    pub epoch: i32,
    /// Of the subscribed topics and their partitions, 0 where unknown (KIP-1101); a group that finds another one needs a
    /// new assignment.
    pub metadata_hash: i64,
}

/// What a member of a consumer group said of itself (`ConsumerGroupMemberMetadataValue`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberSubscription {
    pub instance: Option<String>,
    pub rack: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub topics: BTreeSet<String>,
    pub regex: Option<String>,
    pub rebalance_timeout_ms: i32,
    pub assignor: Option<String>,
    /// Of a member that speaks the classic protocol in a consumer group.
    pub classic: Option<ClassicProtocols>,
}

/// What a member of the classic protocol brought along when it joined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassicProtocols {
    pub session_timeout_ms: i32,
    pub protocols: Vec<ClassicProtocol>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassicProtocol {
    pub name: String,
    pub metadata: Bytes,
}

/// The group epoch that the target assignment was made for (`ConsumerGroupTargetAssignmentMetadataValue`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TargetEpoch {
    pub epoch: i32,
}

/// Where a member is on its way to its target (`ConsumerGroupCurrentMemberAssignmentValue`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrentAssignment {
    pub epoch: i32,
    pub previous_epoch: i32,
    pub state: MemberState,
    pub assigned: Partitions,
    pub pending_revocation: Partitions,
}

/// How far a member is with its target assignment (KIP-848).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemberState {
    /// It has all of its target.
    #[default]
    Stable,
    /// It must give up partitions before it gets the next epoch.
    UnrevokedPartitions,
    /// It waits for partitions that others have not given up.
    UnreleasedPartitions,
    /// From a version that knows more states.
    Unknown,
}

/// The topics that a regular expression matched (`ConsumerGroupRegularExpressionValue`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvedRegex {
    pub topics: BTreeSet<String>,
    /// Of the metadata that it was resolved against.
    pub version: i64,
    pub resolved_at_ms: i64,
}

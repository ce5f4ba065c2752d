use domain::{LeaderEpoch, Offset};

use super::{
    EntryError,
    bytes::{Reader, Writer},
};

/// How far a group has read one partition (`OffsetCommitValue`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    pub offset: Offset,
    /// Of the last record that was read; [`LeaderEpoch::UNKNOWN`] where the client did not say.
    pub leader_epoch: LeaderEpoch,
    pub metadata: String,
    pub committed_at_ms: i64,
    /// Only where a client of long ago asked for a retention of its own; such a record has no leader epoch.
    pub expires_at_ms: Option<i64>,
}

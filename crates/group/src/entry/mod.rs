//! The records of `__consumer_offsets`, in Kafka's formats.

mod bytes;
mod classic;
mod consumer;
mod error;
mod offset;
#[cfg(test)]
mod tests;

pub use self::{
    classic::{ClassicMember, ClassicMetadata},
    consumer::{
        ClassicProtocol, ClassicProtocols, CurrentAssignment, GroupEpoch, MemberState, MemberSubscription,
        ResolvedRegex, TargetEpoch,
    },
    error::{EntryError, EntryKind, Flaw},
    offset::CommittedOffset,
};

use ::bytes::Bytes;
use assign::Partitions;
use domain::PartitionIndex;

use self::bytes::{Reader, Writer};

/// One record of `__consumer_offsets`. A `value` of `None` is a tombstone.
///
/// Strings are at most 32,767 bytes long, which is Kafka's limit as well: a coordinator refuses what is longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    OffsetCommit { group: String, topic: String, partition: PartitionIndex, value: Option<CommittedOffset> },
    ClassicGroup { group: String, value: Option<ClassicMetadata> },
    ConsumerGroup { group: String, value: Option<GroupEpoch> },
    /// Written by Kafka up to 4.0 only; a tombstone is all that is ever written here.
    ConsumerPartitions { group: String },
    ConsumerMember { group: String, member: String, value: Option<MemberSubscription> },
    ConsumerTarget { group: String, value: Option<TargetEpoch> },
    ConsumerTargetMember { group: String, member: String, value: Option<Partitions> },
    ConsumerCurrent { group: String, member: String, value: Option<CurrentAssignment> },
    ConsumerRegex { group: String, regex: String, value: Option<ResolvedRegex> },
}

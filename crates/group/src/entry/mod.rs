//! The records of `__consumer_offsets`, in Kafka's formats, and one of our own.

mod classic;
mod consumer;
mod error;
mod offset;
mod primitives;
#[cfg(test)]
mod properties;
mod session;
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
    session::{KeptPosition, OffsetReset, RecordFormat, SessionOptions, SessionRecord, Wanted},
};

use assign::Partitions;
use bytes::Bytes;
use domain::PartitionIndex;

use self::primitives::{Reader, Writer};

/// One record of `__consumer_offsets`. A `value` of `None` is a tombstone.
///
/// Strings are at most 32,767 bytes long, which is Kafka's limit as well: a coordinator refuses what is longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    OffsetCommit {
        group: String,
        topic: String,
        partition: PartitionIndex,
        value: Option<CommittedOffset>,
    },
    ClassicGroup {
        group: String,
        value: Option<ClassicMetadata>,
    },
    ConsumerGroup {
        group: String,
        value: Option<GroupEpoch>,
    },
    /// Written by Kafka up to 4.0 only; a tombstone is all that is ever written here.
    ConsumerPartitions {
        group: String,
    },
    ConsumerMember {
        group: String,
        member: String,
        value: Option<MemberSubscription>,
    },
    ConsumerTarget {
        group: String,
        value: Option<TargetEpoch>,
    },
    ConsumerTargetMember {
        group: String,
        member: String,
        value: Option<Partitions>,
    },
    ConsumerCurrent {
        group: String,
        member: String,
        value: Option<CurrentAssignment>,
    },
    ConsumerRegex {
        group: String,
        regex: String,
        value: Option<ResolvedRegex>,
    },
    /// A REST consumer.
    Session {
        group: String,
        instance: String,
        value: Option<SessionRecord>,
    },
}

impl Entry {
    /// A record that changes nothing, here and in Kafka. Once it is committed, its coordinator led when it was appended: what
    /// was asked before then may be answered from memory.
    pub fn mark() -> Entry {
        Entry::ConsumerPartitions { group: String::new() }
    }

    /// The record with this key and value. `None` is a record of a type that is not for this crate: what a coordinator
    /// does not know, it leaves alone.
    pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Option<Entry>, EntryError> {
        let mut key_reader = Reader::new(key);
        let version = key_reader.i16("version").map_err(|_| EntryError::NoVersion(key.len()))?;
        let Some(kind) = EntryKind::of(version) else { return Ok(None) };
        let entry = Self::tombstone(kind, key_reader).map_err(|flaw| EntryError::Key { kind, flaw })?;
        match value {
            None => Ok(Some(entry)),
            Some(value) => entry.with_value(value).map(Some).map_err(|flaw| EntryError::Value { kind, flaw }),
        }
    }

    /// What the key alone says.
    fn tombstone(kind: EntryKind, mut r: Reader<'_>) -> Result<Entry, Flaw> {
        let group = r.string("group")?;
        let entry = match kind {
            EntryKind::OffsetCommit => {
                let topic = r.string("topic")?;
                Entry::OffsetCommit {
                    group,
                    topic,
                    partition: PartitionIndex(r.i32("partition")?),
                    value: None,
                }
            }
            EntryKind::ClassicGroup => Entry::ClassicGroup { group, value: None },
            EntryKind::ConsumerGroup => Entry::ConsumerGroup { group, value: None },
            EntryKind::ConsumerPartitions => Entry::ConsumerPartitions { group },
            EntryKind::ConsumerMember => {
                Entry::ConsumerMember { group, member: r.string("memberId")?, value: None }
            }
            EntryKind::ConsumerTarget => Entry::ConsumerTarget { group, value: None },
            EntryKind::ConsumerTargetMember => {
                Entry::ConsumerTargetMember { group, member: r.string("memberId")?, value: None }
            }
            EntryKind::ConsumerCurrent => {
                Entry::ConsumerCurrent { group, member: r.string("memberId")?, value: None }
            }
            EntryKind::ConsumerRegex => {
                Entry::ConsumerRegex { group, regex: r.string("regularExpression")?, value: None }
            }
            EntryKind::Session => Entry::Session { group, instance: r.string("instance")?, value: None },
        };
        r.end()?;
        Ok(entry)
    }

    fn with_value(mut self, bytes: &[u8]) -> Result<Entry, Flaw> {
        let mut from = Reader::new(bytes);
        let version = from.i16("version")?;
        match &mut self {
            Entry::OffsetCommit { value, .. } => *value = Some(CommittedOffset::read(version, from)?),
            Entry::ClassicGroup { value, .. } => *value = Some(ClassicMetadata::read(version, from)?),
            Entry::ConsumerGroup { value, .. } => *value = Some(GroupEpoch::read(version, from)?),
            Entry::ConsumerPartitions { .. } => {}
            Entry::ConsumerMember { value, .. } => *value = Some(MemberSubscription::read(version, from)?),
            Entry::ConsumerTarget { value, .. } => *value = Some(TargetEpoch::read(version, from)?),
            Entry::ConsumerTargetMember { value, .. } => *value = Some(consumer::read_target(version, from)?),
            Entry::ConsumerCurrent { value, .. } => *value = Some(CurrentAssignment::read(version, from)?),
            Entry::ConsumerRegex { value, .. } => *value = Some(ResolvedRegex::read(version, from)?),
            Entry::Session { value, .. } => *value = Some(SessionRecord::read(version, from)?),
        }
        Ok(self)
    }

    /// The key and the value of the record.
    pub fn encode(&self) -> (Bytes, Option<Bytes>) {
        (self.encode_key(), self.encode_value())
    }

    fn encode_key(&self) -> Bytes {
        let mut w = Writer::new(self.kind().key_version(), false);
        w.string(self.group());
        match self {
            Entry::OffsetCommit { topic, partition, .. } => {
                w.string(topic);
                w.i32(partition.0);
            }
            Entry::ConsumerMember { member, .. }
            | Entry::ConsumerTargetMember { member, .. }
            | Entry::ConsumerCurrent { member, .. } => w.string(member),
            Entry::ConsumerRegex { regex, .. } => w.string(regex),
            Entry::Session { instance, .. } => w.string(instance),
            Entry::ClassicGroup { .. }
            | Entry::ConsumerGroup { .. }
            | Entry::ConsumerPartitions { .. }
            | Entry::ConsumerTarget { .. } => {}
        }
        w.finish()
    }

    fn encode_value(&self) -> Option<Bytes> {
        match self {
            Entry::OffsetCommit { value, .. } => value.as_ref().map(CommittedOffset::write),
            Entry::ClassicGroup { value, .. } => value.as_ref().map(ClassicMetadata::write),
            Entry::ConsumerGroup { value, .. } => value.as_ref().map(GroupEpoch::write),
            Entry::ConsumerPartitions { .. } => None,
            Entry::ConsumerMember { value, .. } => value.as_ref().map(MemberSubscription::write),
            Entry::ConsumerTarget { value, .. } => value.as_ref().map(TargetEpoch::write),
            Entry::ConsumerTargetMember { value, .. } => value.as_ref().map(consumer::write_target),
            Entry::ConsumerCurrent { value, .. } => value.as_ref().map(CurrentAssignment::write),
            Entry::ConsumerRegex { value, .. } => value.as_ref().map(ResolvedRegex::write),
            Entry::Session { value, .. } => value.as_ref().map(SessionRecord::write),
        }
    }

    /// The group that the record belongs to.
    pub fn group(&self) -> &str {
        match self {
            Entry::OffsetCommit { group, .. }
            | Entry::ClassicGroup { group, .. }
            | Entry::ConsumerGroup { group, .. }
            | Entry::ConsumerPartitions { group }
            | Entry::ConsumerMember { group, .. }
            | Entry::ConsumerTarget { group, .. }
            | Entry::ConsumerTargetMember { group, .. }
            | Entry::ConsumerCurrent { group, .. }
            | Entry::ConsumerRegex { group, .. }
            | Entry::Session { group, .. } => group,
        }
    }

    pub fn kind(&self) -> EntryKind {
        match self {
            Entry::OffsetCommit { .. } => EntryKind::OffsetCommit,
            Entry::ClassicGroup { .. } => EntryKind::ClassicGroup,
            Entry::ConsumerGroup { .. } => EntryKind::ConsumerGroup,
            Entry::ConsumerPartitions { .. } => EntryKind::ConsumerPartitions,
            Entry::ConsumerMember { .. } => EntryKind::ConsumerMember,
            Entry::ConsumerTarget { .. } => EntryKind::ConsumerTarget,
            Entry::ConsumerTargetMember { .. } => EntryKind::ConsumerTargetMember,
            Entry::ConsumerCurrent { .. } => EntryKind::ConsumerCurrent,
            Entry::ConsumerRegex { .. } => EntryKind::ConsumerRegex,
            Entry::Session { .. } => EntryKind::Session,
        }
    }
}

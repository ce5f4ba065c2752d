use std::fmt;

/// Which record type a key belongs to; the number is the key's version. All but the last are Kafka's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    OffsetCommit,
    ClassicGroup,
    ConsumerGroup,
    ConsumerPartitions,
    ConsumerMember,
    ConsumerTarget,
    ConsumerTargetMember,
    ConsumerCurrent,
    ConsumerRegex,
    Session,
}

/// Far above those that Kafka gives out, one after the other.
const SESSION: i16 = 10_000;

impl EntryKind {
    pub(super) fn of(key_version: i16) -> Option<EntryKind> {
        Some(match key_version {
            // Kafka's oldest and its present version have the same fields.
            0 | 1 => EntryKind::OffsetCommit,
            2 => EntryKind::ClassicGroup,
            3 => EntryKind::ConsumerGroup,
            4 => EntryKind::ConsumerPartitions,
            5 => EntryKind::ConsumerMember,
            6 => EntryKind::ConsumerTarget,
            7 => EntryKind::ConsumerTargetMember,
            8 => EntryKind::ConsumerCurrent,
            16 => EntryKind::ConsumerRegex,
            SESSION => EntryKind::Session,
            _ => return None,
        })
    }

    /// What is written.
    pub(super) fn key_version(self) -> i16 {
        match self {
            EntryKind::OffsetCommit => 1,
            EntryKind::ClassicGroup => 2,
            EntryKind::ConsumerGroup => 3,
            EntryKind::ConsumerPartitions => 4,
            EntryKind::ConsumerMember => 5,
            EntryKind::ConsumerTarget => 6,
            EntryKind::ConsumerTargetMember => 7,
            EntryKind::ConsumerCurrent => 8,
            EntryKind::ConsumerRegex => 16,
            EntryKind::Session => SESSION,
        }
    }
}

/// Kafka's name of the type, where it has one.
impl fmt::Display for EntryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EntryKind::OffsetCommit => "OffsetCommit",
            EntryKind::ClassicGroup => "GroupMetadata",
            EntryKind::ConsumerGroup => "ConsumerGroupMetadata",
            EntryKind::ConsumerPartitions => "ConsumerGroupPartitionMetadata",
            EntryKind::ConsumerMember => "ConsumerGroupMemberMetadata",
            EntryKind::ConsumerTarget => "ConsumerGroupTargetAssignmentMetadata",
            EntryKind::ConsumerTargetMember => "ConsumerGroupTargetAssignmentMember",
            EntryKind::ConsumerCurrent => "ConsumerGroupCurrentMemberAssignment",
            EntryKind::ConsumerRegex => "ConsumerGroupRegularExpression",
            EntryKind::Session => "RestConsumer",
        })
    }
}

/// A record that does not have the form of its type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    #[error("a key of {0} bytes has no version")]
    NoVersion(usize),
    #[error("{kind} key: {flaw}")]
    Key { kind: EntryKind, flaw: Flaw },
    #[error("{kind} value: {flaw}")]
    Value { kind: EntryKind, flaw: Flaw },
}

/// What is wrong with the bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    #[error("version {0} is unknown")]
    Version(i16),
    #[error("{field} needs {wanted} bytes, {left} are left")]
    Short { field: &'static str, wanted: usize, left: usize },
    #[error("{field} has length {length}")]
    Length { field: &'static str, length: i64 },
    #[error("{0} is null")]
    Null(&'static str),
    #[error("{0} is not UTF-8")]
    Text(&'static str),
    #[error("{0} is not a variable-length integer of 32 bits")]
    Varint(&'static str),
    #[error("{0} bytes are left over")]
    LeftOver(usize),
}

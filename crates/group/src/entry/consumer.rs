use std::collections::BTreeSet;

use assign::Partitions;
use bytes::Bytes;

use super::{
    Flaw,
    primitives::{Reader, Writer},
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

/// Version 0 is the only one of all of these, and flexible.
fn flexible(version: i16, from: Reader<'_>) -> Result<Reader<'_>, Flaw> {
    match version {
        0 => Ok(from.flexible(true)),
        _ => Err(Flaw::Version(version)),
    }
}

impl GroupEpoch {
    pub(super) fn read(version: i16, from: Reader<'_>) -> Result<Self, Flaw> {
        let mut r = flexible(version, from)?;
        let epoch = r.i32("epoch")?;
        let mut metadata_hash = 0;
        r.tags("tagged fields", |tag, r| {
            if tag == 0 {
                metadata_hash = r.i64("metadataHash")?;
            }
            Ok(())
        })?;
        r.end()?;
        Ok(Self { epoch, metadata_hash })
    }

    pub(super) fn write(&self) -> Bytes {
        let mut w = Writer::new(0, true);
        w.i32(self.epoch);
        match self.metadata_hash {
            0 => w.no_tags(),
            hash => w.one_tag(0, |w| w.i64(hash)),
        }
        w.finish()
    }
}

impl MemberSubscription {
    pub(super) fn read(version: i16, from: Reader<'_>) -> Result<Self, Flaw> {
        let mut r = flexible(version, from)?;
        let mut member = Self {
            instance: r.nullable_string("instanceId")?,
            rack: r.nullable_string("rackId")?,
            client_id: r.string("clientId")?,
            client_host: r.string("clientHost")?,
            topics: r.list("subscribedTopicNames", |r| r.string("subscribedTopicNames"))?,
            regex: r.nullable_string("subscribedTopicRegex")?,
            rebalance_timeout_ms: r.i32("rebalanceTimeoutMs")?,
            assignor: r.nullable_string("serverAssignor")?,
            classic: None,
        };
        r.tags("tagged fields", |tag, r| {
            if tag == 0 {
                member.classic = ClassicProtocols::read(r)?;
            }
            Ok(())
        })?;
        r.end()?;
        Ok(member)
    }

    pub(super) fn write(&self) -> Bytes {
        let mut w = Writer::new(0, true);
        w.nullable_string(self.instance.as_deref());
        w.nullable_string(self.rack.as_deref());
        w.string(&self.client_id);
        w.string(&self.client_host);
        w.list(&self.topics, |w, topic| w.string(topic));
        w.nullable_string(self.regex.as_deref());
        w.i32(self.rebalance_timeout_ms);
        w.nullable_string(self.assignor.as_deref());
        match &self.classic {
            None => w.no_tags(),
            Some(classic) => w.one_tag(0, |w| classic.write(w)),
        }
        w.finish()
    }
}

impl ClassicProtocols {
    /// In a tagged field a struct that may be null has a 1 before it, or is a 0.
    fn read(r: &mut Reader<'_>) -> Result<Option<Self>, Flaw> {
        if r.varint("classicMemberMetadata")? == 0 {
            return Ok(None);
        }
        let session_timeout_ms = r.i32("sessionTimeoutMs")?;
        let protocols = r.list("supportedProtocols", |r| {
            let name = r.string("name")?;
            let metadata = r.bytes("metadata")?;
            r.no_tags("a protocol's tagged fields")?;
            Ok(ClassicProtocol { name, metadata })
        })?;
        r.no_tags("the classic member's tagged fields")?;
        Ok(Some(Self { session_timeout_ms, protocols }))
    }

    fn write(&self, w: &mut Writer) {
        w.varint(1);
        w.i32(self.session_timeout_ms);
        w.list(&self.protocols, |w, protocol| {
            w.string(&protocol.name);
            w.bytes(&protocol.metadata);
            w.no_tags();
        });
        w.no_tags();
    }
}

impl TargetEpoch {
    pub(super) fn read(version: i16, from: Reader<'_>) -> Result<Self, Flaw> {
        let mut r = flexible(version, from)?;
        let epoch = r.i32("assignmentEpoch")?;
        r.no_tags("tagged fields")?;
        r.end()?;
        Ok(Self { epoch })
    }

    pub(super) fn write(&self) -> Bytes {
        let mut w = Writer::new(0, true);
        w.i32(self.epoch);
        w.no_tags();
        w.finish()
    }
}

/// A member's target (`ConsumerGroupTargetAssignmentMemberValue`).
pub(super) fn read_target(version: i16, from: Reader<'_>) -> Result<Partitions, Flaw> {
    let mut r = flexible(version, from)?;
    let target = r.partitions("topicPartitions")?;
    r.no_tags("tagged fields")?;
    r.end()?;
    Ok(target)
}

pub(super) fn write_target(target: &Partitions) -> Bytes {
    let mut w = Writer::new(0, true);
    w.partitions(target);
    w.no_tags();
    w.finish()
}

impl CurrentAssignment {
    pub(super) fn read(version: i16, from: Reader<'_>) -> Result<Self, Flaw> {
        let mut r = flexible(version, from)?;
        let current = Self {
            epoch: r.i32("memberEpoch")?,
            previous_epoch: r.i32("previousMemberEpoch")?,
            state: MemberState::of(r.i8("state")?),
            assigned: r.partitions("assignedPartitions")?,
            pending_revocation: r.partitions("partitionsPendingRevocation")?,
        };
        r.no_tags("tagged fields")?;
        r.end()?;
        Ok(current)
    }

    pub(super) fn write(&self) -> Bytes {
        let mut w = Writer::new(0, true);
        w.i32(self.epoch);
        w.i32(self.previous_epoch);
        w.i8(self.state.code());
        w.partitions(&self.assigned);
        w.partitions(&self.pending_revocation);
        w.no_tags();
        w.finish()
    }
}

impl MemberState {
    fn of(code: i8) -> Self {
        match code {
            0 => MemberState::Stable,
            1 => MemberState::UnrevokedPartitions,
            2 => MemberState::UnreleasedPartitions,
            _ => MemberState::Unknown,
        }
    }

    fn code(self) -> i8 {
        match self {
            MemberState::Stable => 0,
            MemberState::UnrevokedPartitions => 1,
            MemberState::UnreleasedPartitions => 2,
            MemberState::Unknown => 127,
        }
    }
}

impl ResolvedRegex {
    pub(super) fn read(version: i16, from: Reader<'_>) -> Result<Self, Flaw> {
        let mut r = flexible(version, from)?;
        let regex = Self {
            topics: r.list("topics", |r| r.string("topics"))?,
            version: r.i64("version")?,
            resolved_at_ms: r.i64("timestamp")?,
        };
        r.no_tags("tagged fields")?;
        r.end()?;
        Ok(regex)
    }

    pub(super) fn write(&self) -> Bytes {
        let mut w = Writer::new(0, true);
        w.list(&self.topics, |w, topic| w.string(topic));
        w.i64(self.version);
        w.i64(self.resolved_at_ms);
        w.no_tags();
        w.finish()
    }
}

use std::collections::{BTreeMap, BTreeSet};

use assign::Partitions;
use bytes::Bytes;
use domain::{Offset, PartitionIndex, TopicId};

use super::{
    Flaw,
    primitives::{Reader, Writer},
};

/// A REST consumer, as it is kept. Kafka has no such record: its key has a version that Kafka does not use, which its
/// coordinators and tools pass over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionRecord {
    /// Its id among the group's members, whenever it is one.
    pub member: String,
    pub options: SessionOptions,
    pub wanted: Wanted,
    /// Where it reads on, by topic's name and partition: what it was told by a seek, and where it began for want of a commit.
    /// A later commit takes the place of it.
    pub positions: BTreeMap<(String, PartitionIndex), KeptPosition>,
}

/// How a REST consumer was asked to be when it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionOptions {
    pub format: RecordFormat,
    pub reset: OffsetReset,
    /// Whether a poll commits what the one before it delivered.
    pub auto_commit: bool,
    /// A poll waits for so many bytes, as long as it may.
    pub fetch_bytes_min: i32,
    /// The most that a poll may wait.
    pub request_timeout_ms: i32,
}

/// How keys and values are embedded in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecordFormat {
    #[default]
    Binary,
    Json,
}

/// Where to begin if nothing is committed, or what is committed is not there any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OffsetReset {
    Earliest,
    #[default]
    Latest,
    /// Nowhere: it is an error.
    None,
}

/// What a REST consumer reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    #[default]
    Nothing,
    /// As a member of the group.
    Topics(BTreeSet<String>),
    /// As a member of the group: all topics whose whole name the regular expression matches.
    Pattern(String),
    /// By itself, beside the group.
    Partitions(Partitions),
}

/// A position of one incarnation of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptPosition {
    pub topic: TopicId,
    pub offset: Offset,
}

impl SessionRecord {
    pub(super) fn read(version: i16, from: Reader<'_>) -> Result<Self, Flaw> {
        if version != 0 {
            return Err(Flaw::Version(version));
        }
        let mut r = from.flexible(true);
        let member = r.string("memberId")?;
        let options = SessionOptions::read(&mut r)?;
        let wanted = Wanted::read(&mut r)?;
        let positions = r.list("positions", |r| {
            let key = (r.string("topic")?, PartitionIndex(r.i32("partition")?));
            let topic = TopicId(r.uuid("topicId")?);
            let offset = Offset(r.i64("offset")?);
            r.no_tags("a position's tagged fields")?;
            Ok((key, KeptPosition { topic, offset }))
        })?;
        r.no_tags("tagged fields")?;
        r.end()?;
        Ok(Self { member, options, wanted, positions })
    }

    pub(super) fn write(&self) -> Bytes {
        let mut w = Writer::new(0, true);
        w.string(&self.member);
        self.options.write(&mut w);
        self.wanted.write(&mut w);
        w.list(&self.positions, |w, ((topic, partition), position)| {
            w.string(topic);
            w.i32(partition.0);
            w.uuid(position.topic.0);
            w.i64(position.offset.0);
            w.no_tags();
        });
        w.no_tags();
        w.finish()
    }
}

impl SessionOptions {
    fn read(r: &mut Reader<'_>) -> Result<Self, Flaw> {
        Ok(Self {
            format: match r.i8("format")? {
                1 => RecordFormat::Json,
                _ => RecordFormat::Binary,
            },
            reset: match r.i8("reset")? {
                0 => OffsetReset::Earliest,
                2 => OffsetReset::None,
                _ => OffsetReset::Latest,
            },
            auto_commit: r.i8("autoCommit")? != 0,
            fetch_bytes_min: r.i32("fetchMinBytes")?,
            request_timeout_ms: r.i32("requestTimeoutMs")?,
        })
    }

    fn write(&self, w: &mut Writer) {
        w.i8(match self.format {
            RecordFormat::Binary => 0,
            RecordFormat::Json => 1,
        });
        w.i8(match self.reset {
            OffsetReset::Earliest => 0,
            OffsetReset::Latest => 1,
            OffsetReset::None => 2,
        });
        w.i8(self.auto_commit.into());
        w.i32(self.fetch_bytes_min);
        w.i32(self.request_timeout_ms);
    }
}

impl Wanted {
    fn read(r: &mut Reader<'_>) -> Result<Self, Flaw> {
        Ok(match r.i8("wanted")? {
            1 => Wanted::Topics(r.list("topics", |r| r.string("topics"))?),
            2 => Wanted::Pattern(r.string("pattern")?),
            3 => Wanted::Partitions(r.partitions("partitions")?),
            _ => Wanted::Nothing,
        })
    }

    fn write(&self, w: &mut Writer) {
        match self {
            Wanted::Nothing => w.i8(0),
            Wanted::Topics(topics) => {
                w.i8(1);
                w.list(topics, |w, topic| w.string(topic));
            }
            Wanted::Pattern(pattern) => {
                w.i8(2);
                w.string(pattern);
            }
            Wanted::Partitions(partitions) => {
                w.i8(3);
                w.partitions(partitions);
            }
        }
    }
}

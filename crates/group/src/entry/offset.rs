use bytes::Bytes;
use domain::{LeaderEpoch, Offset, TopicId};
use uuid::Uuid;

use super::{
    Flaw,
    primitives::{Reader, Writer},
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
    /// Of which topic of that name; not written where there is a time of expiry.
    pub topic_id: Option<TopicId>,
}

/// The tagged field of the topic's id.
const TOPIC_ID: u32 = 0;

impl CommittedOffset {
    pub(super) fn read(version: i16, from: Reader<'_>) -> Result<Self, Flaw> {
        if !(0..=4).contains(&version) {
            return Err(Flaw::Version(version));
        }
        let mut r = from.flexible(version >= 4);
        let offset = Offset(r.i64("offset")?);
        let leader_epoch = match version {
            3.. => LeaderEpoch(r.i32("leaderEpoch")?),
            _ => LeaderEpoch::UNKNOWN,
        };
        let metadata = r.string("metadata")?;
        let committed_at_ms = r.i64("commitTimestamp")?;
        let expires_at_ms = match version {
            1 => Some(r.i64("expireTimestamp")?).filter(|at_ms| *at_ms != -1),
            _ => None,
        };
        let mut topic_id = None;
        r.tags("tagged fields", |tag, field| {
            if tag == TOPIC_ID {
                topic_id = Some(field.uuid("topicId")?).filter(|id| !id.is_nil()).map(TopicId);
            }
            Ok(())
        })?;
        r.end()?;
        Ok(Self { offset, leader_epoch, metadata, committed_at_ms, expires_at_ms, topic_id })
    }

    /// As Kafka 4.1: version 4, or 1 where there is a time of expiry.
    pub(super) fn write(&self) -> Bytes {
        let mut w = match self.expires_at_ms {
            Some(_) => Writer::new(1, false),
            None => Writer::new(4, true),
        };
        w.i64(self.offset.0);
        if self.expires_at_ms.is_none() {
            w.i32(self.leader_epoch.0);
        }
        w.string(&self.metadata);
        w.i64(self.committed_at_ms);
        if let Some(at_ms) = self.expires_at_ms {
            w.i64(at_ms);
        }
        match self.topic_id.map_or(Uuid::nil(), |id| id.0) {
            id if id.is_nil() => w.no_tags(),
            _ if self.expires_at_ms.is_some() => {}
            id => w.one_tag(TOPIC_ID as usize, |w| w.uuid(id)),
        }
        w.finish()
    }
}

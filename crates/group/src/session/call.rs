use std::collections::BTreeSet;

use assign::Partitions;
use domain::{Offset, PartitionIndex, TopicId};
use wire::ResponseError;

use crate::{RecordFormat, SessionOptions, Wanted};

/// What a gateway asks for a REST consumer. All but [`SessionOp::Create`] need it to be there, and renew its lease.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionCall {
    pub group: String,
    /// The consumer's name, unique in its group.
    pub instance: String,
    pub op: SessionOp,
}

#[derive(Clone, Debug, PartialEq)]
pub enum SessionOp {
    Create {
        options: SessionOptions,
        /// Made by who asks, and the same if it asks again: so its id among the group's members.
        member: String,
    },
    Delete,
    Describe,
    /// Becomes a member of the group, or changes what it wants as one.
    Subscribe(Subscribed),
    /// Wants nothing any more, whether it subscribed or was assigned.
    Unsubscribe,
    /// Reads these beside the group.
    Assign(Partitions),
    Seek(Vec<(TopicPlace, Offset)>),
    BeginPoll(BeginPoll),
    EndPoll(EndPoll),
    /// What this poll delivered did not reach the client, which is certain: it is delivered again.
    Undelivered {
        poll: u64,
    },
    Commit(Commit),
    /// What the group has committed of these.
    Committed(BTreeSet<TopicPlace>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subscribed {
    Topics(BTreeSet<String>),
    Pattern(String),
}

/// A partition of one incarnation of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPlace {
    pub topic: TopicId,
    pub partition: PartitionIndex,
}

/// A client asks for records. That acknowledges what the poll before it delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BeginPoll {
    /// The client's `X-Request-Id`. If it is that of the last poll, that one's records are wanted again.
    pub request: Option<String>,
    /// The form that the records are wanted in; `None`: the consumer's own, whatever it is.
    pub format: Option<RecordFormat>,
    /// The same poll has begun before, under this number, and could not be ended: it acknowledges nothing.
    pub again: Option<u64>,
}

/// Records were read, and are about to be handed to the client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndPoll {
    pub poll: u64,
    /// Where reading began that had no position.
    pub began: Vec<(TopicPlace, Offset)>,
    pub delivered: Vec<Range>,
}

/// Offsets of one partition, in the order in which the client gets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub place: TopicPlace,
    pub from: Offset,
    /// The one after the last.
    pub to: Offset,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Commit {
    /// All that was delivered.
    Delivered,
    These(Vec<(TopicPlace, Offset, String)>),
}

#[derive(Clone, Debug, PartialEq)]
pub enum SessionReply {
    Done,
    Described(Box<Described>),
    PollBegun(PollBegun),
    Committed(Vec<(TopicPlace, Offset, String)>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Described {
    pub options: SessionOptions,
    pub wanted: Wanted,
    /// What it may read, with its positions as far as it has any.
    pub positions: Vec<(TopicPlace, Option<Offset>)>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct PollBegun {
    pub poll: u64,
    pub options: SessionOptions,
    pub positions: Vec<(TopicPlace, Option<Offset>)>,
    /// What this poll delivered before, to be delivered again, just so. Then nothing else is, and it need not be ended.
    pub replay: Vec<Range>,
}

/// Why a session's call came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    #[error("the group has no consumer instance of this name; it may have been idle for too long")]
    Unknown,
    #[error("the group has a consumer instance of this name already")]
    Exists,
    #[error("the consumer subscribes to topics, so that partitions cannot be assigned to it by hand")]
    Subscribed,
    #[error("partitions are assigned to the consumer by hand, so that it cannot subscribe to topics")]
    Assigned,
    #[error("partition {partition} of topic {topic} is not assigned to the consumer")]
    NotOwned { topic: String, partition: PartitionIndex },
    #[error("the group has members, so that a consumer whose partitions are assigned by hand cannot commit")]
    GroupHasMembers,
    #[error("another poll of the same consumer has begun since")]
    Superseded,
    #[error("partitions were taken away while the consumer was polled")]
    Moved,
    #[error("the consumer was made for records in {} form", if *.0 == RecordFormat::Json { "json" } else { "binary" })]
    OtherFormat(RecordFormat),
    #[error("{message}")]
    Refused { code: ResponseError, message: String },
}

impl SessionError {
    pub(crate) fn refused(code: ResponseError, message: impl Into<String>) -> Self {
        Self::Refused { code, message: message.into() }
    }
}

#![doc = include_str!("../README.md")]

mod call;
mod calls;
mod classic;
mod config;
mod consumer;
mod counts;
mod entry;
mod failed;
mod group;
mod groups;
mod home;
mod kept;
mod list;
mod migrate;
pub mod offset_fetch;
mod offsets;
mod refuse;
mod session;
mod step;
#[cfg(test)]
mod tests;
mod text;
mod topics;
mod turn;

pub use call::{Answer, Call, Caller, Token};
pub use config::GroupConfig;
pub use consumer::matching;
pub use counts::Counts;
pub use domain::OFFSETS_TOPIC;
pub use entry::{
    ClassicMember, ClassicMetadata, ClassicProtocol, ClassicProtocols, CommittedOffset, CurrentAssignment,
    Entry, EntryError, EntryKind, Flaw, GroupEpoch, KeptPosition, MemberState, MemberSubscription,
    OffsetReset, RecordFormat, ResolvedRegex, SessionOptions, SessionRecord, TargetEpoch, Wanted,
};
pub use groups::Groups;
pub use home::partition_of;
pub use session::{
    BeginPoll, Commit, Described, EndPoll, PollBegun, Range, SessionCall, SessionError, SessionOp,
    SessionReply, Subscribed, TopicPlace,
};
pub use step::Step;
pub use topics::Topics;
pub use turn::Moment;

use group::Kept;

/// The partitions that a member of the classic protocol has, by topic, as its group's leader has put it; `None` if that is not
/// how consumers put it.
pub fn assigned_partitions(bytes: &[u8]) -> Option<Vec<(String, Vec<i32>)>> {
    migrate::Embedded::assignment(bytes).ok()
}

/// Whether a member of the classic protocol may have said this of what it wants, and of what it has: for fuzzing.
#[doc(hidden)]
pub fn reads_embedded(bytes: &[u8]) -> (bool, bool) {
    (migrate::Embedded::subscription(bytes).is_ok(), migrate::Embedded::assignment(bytes).is_ok())
}

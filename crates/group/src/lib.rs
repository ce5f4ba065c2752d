#![doc = include_str!("../README.md")]

mod call;
mod entry;
mod home;
mod refuse;
mod step;

pub use call::{Answer, Call, Caller, Token};
pub use entry::{
    ClassicMember, ClassicMetadata, ClassicProtocol, ClassicProtocols, CommittedOffset, CurrentAssignment, Entry,
    EntryError, EntryKind, Flaw, GroupEpoch, MemberState, MemberSubscription, ResolvedRegex, TargetEpoch,
};
pub use home::{OFFSETS_TOPIC, partition_of};
pub use step::Step;

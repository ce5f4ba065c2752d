use metadata::{Applied, Command, Refusal};
use serde::{Deserialize, Serialize};

/// A member's id in the raft group: random, written when its folder is formatted.
pub type RaftId = u64;

/// The version of everything that is stored or sent here as JSON.
pub(crate) const FORMAT: u32 = 3;

/// A controller as the group knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its place in the seed list.
    pub ordinal: u32,
    /// `host:port` of its gRPC.
    pub address: String,
}

/// One raft entry: every command that was waiting when it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Batch(pub(crate) Vec<Command>);

/// What each command of a batch came to, and the image's version behind them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BatchOutcome {
    pub(crate) results: Vec<Result<Applied, Refusal>>,
    pub(crate) version: u64,
}

openraft::declare_raft_types!(
    pub(crate) Types:
        D = Batch,
        R = BatchOutcome,
        NodeId = RaftId,
        Node = Member,
        SnapshotData = Vec<u8>,
);

pub(crate) type Raft = openraft::Raft<Types>;
pub(crate) type Entry = openraft::Entry<Types>;
pub(crate) type LogId = openraft::LogId<RaftId>;
pub(crate) type Vote = openraft::Vote<RaftId>;
pub(crate) type StorageError = openraft::StorageError<RaftId>;
pub(crate) type SnapshotMeta = openraft::SnapshotMeta<RaftId, Member>;
pub(crate) type StoredMembership = openraft::StoredMembership<RaftId, Member>;

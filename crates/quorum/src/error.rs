use std::path::PathBuf;

/// Why a controller's store could not be opened or its group not be formed.
#[derive(Debug, thiserror::Error)]
pub enum QuorumError {
    #[error("controller store {path}: {reason}")]
    Store { path: PathBuf, reason: String },
    #[error("controller store {path} belongs to controller {found}, this is controller {expected}")]
    OtherOrdinal { path: PathBuf, found: u32, expected: u32 },
    #[error("controller store {path} is in use by another process")]
    InUse { path: PathBuf },
    #[error("controller store {path} has format {found}, this build knows {known}")]
    UnknownFormat { path: PathBuf, found: i64, known: u32 },
    #[error("raft: {0}")]
    Raft(String),
    #[error("not the leader")]
    NotLeader(Option<String>),
}

/// Why a command was not carried out, or not known to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Nothing happened; ask the leader, if one is known.
    #[error("not the leader")]
    NotLeader(Option<String>),
    /// It may or may not be carried out.
    #[error("the outcome is unknown: {0}")]
    Unknown(String),
    #[error("the controller is shutting down")]
    Stopped,
}

use bytes::Bytes;

use super::{
    EntryError,
    bytes::{Reader, Writer},
};

/// A group of the classic protocol (`GroupMetadataValue`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicMetadata {
    pub protocol_type: String,
    pub generation: i32,
    pub protocol: Option<String>,
    pub leader: Option<String>,
    /// Since when the group has its state; -1 where an old record does not say.
    pub state_since_ms: i64,
    pub members: Vec<ClassicMember>,
}

/// A member of a classic group, with its part of the chosen protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicMember {
    pub member: String,
    pub instance: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub rebalance_timeout_ms: i32,
    pub session_timeout_ms: i32,
    pub subscription: Bytes,
    pub assignment: Bytes,
}

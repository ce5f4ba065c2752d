#![doc = include_str!("../README.md")]

mod error;
mod log_store;
mod machine;
mod network;
mod propose;
mod quorum;
mod sqlite;
#[cfg(test)]
mod suite;
mod types;

pub use error::{ProposeError, QuorumError};
pub use network::{PeerError, Peers, RaftRpc};
pub use propose::Proposed;
pub use quorum::{Leadership, Quorum, QuorumConfig};
pub use types::{Member, RaftId};

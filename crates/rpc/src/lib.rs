#![doc = include_str!("../README.md")]

pub mod pb {
    //! Generated from `proto/controller/v1`.
    #![allow(clippy::all, unreachable_pub, missing_docs)]
    tonic::include_proto!("anabranch.controller.v1");
}

pub mod storage_pb {
    //! Generated from `proto/storage/v1`.
    #![allow(clippy::all, unreachable_pub, missing_docs)]
    tonic::include_proto!("anabranch.storage.v1");
}

mod client;
mod convert;
mod isr;
mod items;
mod partition;
mod sessions;
mod status;
mod watch;

pub use client::{ControllerClient, ControllerError, SessionCallError, SessionClient};
pub use convert::{
    ConversionError, assignments_from_pb, config_change_from_pb, config_change_to_pb, decode_delta,
    encode_delta, registration_from_pb, registration_to_pb, topic_from_pb, topic_spec_from_pb,
    topic_spec_to_pb, topic_to_pb,
};
pub use isr::{
    altered_from_pb, altered_to_pb, isr_change_from_pb, isr_change_to_pb, log_end_from_pb, log_end_to_pb,
};
pub use items::{
    Items, election_from_pb, election_to_pb, items_to_pb, reassignment_from_pb, reassignment_to_pb,
};
pub use sessions::{
    session_call_from_pb, session_call_to_pb, session_outcome_from_pb, session_outcome_to_pb,
};
pub use status::{leader_hint, not_leader, refusal_of, refusal_status};
pub use tonic::Status;
pub use watch::{MetadataWatch, SetImage, WatchedImage};

/// The version of every encoded payload in these messages.
pub const FORMAT: u32 = 3;

/// A snapshot of a large cluster's metadata is one message; gRPC's 4 MiB default would refuse it.
pub const MESSAGE_BYTES_MAX: usize = 1 << 30;

/// How often a node heartbeats.
pub const HEARTBEAT_INTERVAL_MS: u64 = 100;

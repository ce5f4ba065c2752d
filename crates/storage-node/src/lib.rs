#![doc = include_str!("../README.md")]

mod api;
mod broker;
mod clock;
mod errors;
mod folder;
mod partition;
mod producer_ids;
mod service;
mod session;
mod store;
mod upkeep;

pub use service::{StorageNodeConfig, StorageNodeError, StorageNodeHandle, start};

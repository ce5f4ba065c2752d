#![doc = include_str!("../README.md")]

mod api;
mod assurance;
mod broker;
mod cleaner;
mod clock;
mod departed;
mod departure;
mod disk;
mod doubts;
mod errors;
mod folder;
mod groups;
mod home;
mod pace;
mod partition;
mod producer_ids;
mod replication;
mod rest_consumers;
mod scrub;
mod service;
mod session;
mod store;
mod upkeep;
mod usage;
mod waits;
mod watchers;

pub use departure::MAY_STOP;
pub use service::{StorageNodeConfig, StorageNodeError, StorageNodeHandle, start};

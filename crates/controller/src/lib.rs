#![doc = include_str!("../README.md")]

mod admin;
mod alarm;
mod bootstrap;
mod hub;
mod leaving;
mod node;
mod office;
mod orders;
mod peers;
mod raft;
mod rebalance;
mod service;
mod status;
mod usage;

pub use rebalance::RebalanceConfig;
pub use service::{ControllerConfig, ControllerError, ControllerHandle, start};

#![doc = include_str!("../README.md")]

mod admin;
mod alarm;
mod bootstrap;
mod hub;
mod node;
mod office;
mod peers;
mod raft;
mod service;
mod status;

pub use service::{ControllerConfig, ControllerError, ControllerHandle, start};

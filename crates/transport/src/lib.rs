#![doc = include_str!("../README.md")]

mod client;
mod connection;
mod incoming;
mod low_water;
mod outgoing;
mod pool;
mod server;

pub use client::{CallError, Client, Pending, PendingFrame};
pub use incoming::{Incoming, LengthError};
pub use outgoing::{FileSlice, Response};
pub use pool::ClientPool;
pub use server::{Handler, Reply, ServerConfig, Service, serve};

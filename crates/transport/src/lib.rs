#![doc = include_str!("../README.md")]

mod client;
mod connection;
mod low_water;
mod outgoing;
mod server;

pub use client::{CallError, ClientPool};
pub use outgoing::{FileSlice, Response};
pub use server::{Handler, Reply, ServerConfig, serve};

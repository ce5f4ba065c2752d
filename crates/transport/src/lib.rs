#![doc = include_str!("../README.md")]

mod client;
mod connection;
mod incoming;
mod intake;
mod low_water;
mod open_files;
mod outgoing;
mod places;
mod pool;
mod room;
mod seldom;
mod server;
mod turns;

pub use client::{CallError, Client, Pending, PendingFrame};
pub use incoming::{Incoming, LengthError};
pub use open_files::fit_open_files;
pub use outgoing::{FileSlice, Response};
pub use places::Reserved;
pub use pool::ClientPool;
pub use server::{Handler, Reply, ServerConfig, Service, serve};

//! Against an API server of our own on a real port, which answers as Kubernetes does and can be made to lag, to forget, to
//! refuse and to vanish.

#![allow(clippy::unwrap_used)]

mod access;
mod confirm;
mod events;
mod fixture;
mod logs;
mod loss;
mod server;
mod state;
mod watch;
mod zone;

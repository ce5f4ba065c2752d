//! Settings: those of a topic, those that hold for all topics, and those that a broker was started with.

pub(super) mod brokers;
mod change;
pub(super) mod cluster;
pub(super) mod topics;
mod view;

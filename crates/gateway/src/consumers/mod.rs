//! REST consumers. Nothing of them is kept here: their sessions live with the coordinators of their groups, and what happens
//! between two of a client's requests happens there.

mod coordinator;
mod delivery;
mod error;
mod fetch;
mod poll;
mod positions;

pub(crate) use self::{
    coordinator::Coordinators,
    error::ConsumerError,
    poll::{Poll, Polled, poll},
    positions::{at_time, ends},
};

/// A consumer, as requests name it, and where they come from.
#[derive(Clone, Debug)]
pub(crate) struct Consumer {
    pub(crate) group: String,
    pub(crate) instance: String,
    /// As Kafka writes it: `/10.0.0.1`.
    pub(crate) client_host: String,
}

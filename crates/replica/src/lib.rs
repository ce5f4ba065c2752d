#![doc = include_str!("../README.md")]

mod epochs;
mod leader;
mod producers;
mod refused;
mod replica;
mod state;
#[cfg(test)]
mod tests;

pub use epochs::{EpochCache, UnknownEpoch};
pub use producers::{
    KEYED_BATCHES_MAX, KEYED_WINDOW_MS, PRODUCER_BATCHES_KEPT, PRODUCER_EXPIRATION_MS, ProducerBatch,
    ProducerRefusal, ProducerState, Producers, SequenceCheck,
};
pub use refused::Refused;
pub use replica::{Adopted, Fetched, Replica};
pub use state::{FollowerFetch, LogEnd, PartitionState, Proposal, ReplicaRefusal};

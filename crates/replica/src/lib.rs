#![doc = include_str!("../README.md")]

mod epochs;
mod producers;

pub use epochs::EpochCache;
pub use producers::{
    PRODUCER_BATCHES_KEPT, PRODUCER_EXPIRATION_MS, ProducerBatch, ProducerRefusal, ProducerState, Producers,
    SequenceCheck,
};

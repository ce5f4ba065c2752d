#![doc = include_str!("../README.md")]

mod murmur2;
mod partitioner;
mod partitions;
mod sticky;

pub use murmur2::murmur2;
pub use partitioner::{PartitionError, Partitioner, partition_for_key};
pub use partitions::Partitions;
pub use sticky::{StickyLimits, StickyRoundRobin};

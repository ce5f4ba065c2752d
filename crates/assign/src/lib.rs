#![doc = include_str!("../README.md")]

mod assignor;
#[cfg(test)]
mod fixture;
mod murmur2;
mod partitioner;
mod partitions;
#[cfg(test)]
mod properties;
mod range;
mod round_robin;
mod sticky;
mod uniform;

pub use assignor::{Assignor, Subscription, assign};
pub use murmur2::murmur2;
pub use partitioner::{PartitionError, Partitioner, partition_for_key};
pub use partitions::Partitions;
pub use sticky::{StickyLimits, StickyRoundRobin};

#![doc = include_str!("../README.md")]

pub mod bench;
pub mod clients;
mod cluster;
pub mod consumer;
pub mod faults;
mod kafka;
mod process;
pub mod replicated;
mod rest;
pub mod rest_consumer;
pub mod rest_proof;
pub mod scale_proof;

pub use cluster::{Cluster, ClusterSpec};
pub use kafka::{KafkaClient, batch_of, sequenced_batch};
pub use process::{
    Process, binary, cpu_seconds, free_port, peak_resident_bytes, resident_bytes, touch_memory,
};
pub use rest::Rest;

use std::time::{Duration, Instant};

/// Asks until the condition holds; panics, naming it, when it does not within the time.
pub async fn wait_until<F: Future<Output = bool>>(what: &str, within: Duration, condition: impl Fn() -> F) {
    let deadline = Instant::now() + within;
    while !condition().await {
        assert!(Instant::now() < deadline, "{what}: not within {within:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::bench::figures::percentile;

/// How long records waited for their acknowledgement, in milliseconds.
#[derive(Default)]
pub(super) struct Waits {
    ms: Vec<f64>,
    bytes: u64,
}

/// What was acknowledged: the numbers of the records, by partition.
#[derive(Default)]
pub(super) struct Ledger {
    acknowledged: BTreeMap<i32, Vec<u64>>,
    refused: u64,
    waits: Waits,
}

impl Waits {
    pub(super) fn percentile(&self, part: f64) -> f64 {
        percentile(&self.ms, part)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Ledger {
    pub(super) fn acknowledge(&mut self, partition: i32, number: u64, sent: Instant, bytes: usize) {
        self.acknowledged.entry(partition).or_default().push(number);
        self.waits.ms.push(milliseconds(sent.elapsed()));
        self.waits.bytes += bytes as u64;
    }

    pub(super) fn refuse(&mut self) {
        self.refused += 1;
    }

    pub(super) fn take_waits(&mut self) -> Waits {
        std::mem::take(&mut self.waits)
    }

    pub(super) fn acknowledged(&self) -> usize {
        self.acknowledged.values().map(Vec::len).sum()
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    pub(super) fn of(&self, partition: i32) -> &[u64] {
        self.acknowledged.get(&partition).map_or(&[], Vec::as_slice)
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

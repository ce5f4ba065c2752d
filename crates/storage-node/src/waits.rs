//! How long producers wait for their acknowledgement, lately.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

/// Counts waits in steps of a quarter of a power of two, so that a percentile is known within an eighth.
pub(crate) struct CommitWaits([AtomicU32; STEPS]);

/// The shortest wait that is told from a shorter one is 2^6 µs, the longest 2^26 (a minute).
const FIRST_BIT: u32 = 6;
const LAST_BIT: u32 = 26;
const STEPS: usize = ((LAST_BIT - FIRST_BIT) * 4 + 1) as usize;

impl CommitWaits {
    pub(crate) fn new() -> Self {
        Self([const { AtomicU32::new(0) }; STEPS])
    }

    pub(crate) fn record(&self, waited: Duration) {
        let us = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        if let Some(count) = self.0.get(step(us)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// In microseconds: 99 of 100 waits since the last call were no longer; `None`: there were none.
    pub(crate) fn take_p99(&self) -> Option<u64> {
        let counts: Vec<u64> = self.0.iter().map(|c| c.swap(0, Ordering::Relaxed).into()).collect();
        let all: u64 = counts.iter().sum();
        let mut longer = all / 100;
        for (step, count) in counts.iter().enumerate().rev().filter(|(_, count)| **count > 0) {
            if *count > longer {
                return Some(longest(step));
            }
            longer -= count;
        }
        None
    }
}

fn step(us: u64) -> usize {
    let bit = us.max(1).ilog2();
    if bit < FIRST_BIT {
        return 0;
    }
    let quarter = (us >> (bit - 2)) & 3;
    let step = u64::from(bit - FIRST_BIT) * 4 + quarter;
    usize::try_from(step).unwrap_or(STEPS).min(STEPS - 1)
}

/// The longest wait that is counted in this step, in microseconds.
fn longest(step: usize) -> u64 {
    let step = u32::try_from(step).unwrap_or(0);
    let (bit, quarter) = (FIRST_BIT + step / 4, u64::from(step % 4));
    (5 + quarter) << (bit - 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_known_within_a_quarter() {
        let waits = CommitWaits::new();
        assert_eq!(waits.take_p99(), None);
        for n in 1..=1_000u64 {
            waits.record(Duration::from_micros(n * 10));
        }
        let p99 = waits.take_p99().unwrap();
        assert!((9_900..=9_900 * 5 / 4).contains(&p99), "{p99}");
        assert_eq!(waits.take_p99(), None, "counted once");
    }

    #[test]
    fn one_wait_is_its_own_percentile_and_none_is_too_long_or_too_short() {
        let waits = CommitWaits::new();
        for (us, least, most) in [(0, 0, 80), (300, 300, 375), (u64::MAX, 60_000_000, 100_000_000)] {
            waits.record(Duration::from_micros(us));
            let p99 = waits.take_p99().unwrap();
            assert!((least..=most).contains(&p99), "{us}: {p99}");
        }
    }
}

use std::collections::BTreeMap;

use super::checker::{Anomaly, Kind};

/// How a client came to see a high watermark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Through {
    Fetch,
    ListOffsets,
}

/// The highest watermark that one client has seen of each partition, and where it was shown a lower one later.
///
/// The client knows leader epochs and never goes back to an older one, as real clients do (KIP-320): a deposed leader may
/// well answer with less.
#[derive(Debug, Default)]
pub struct HighWatermarks {
    highest: BTreeMap<(i32, Through), (i64, i32)>,
    pub regressions: Vec<Anomaly>,
    pub observations: usize,
}

impl HighWatermarks {
    /// An answer to a request that was sent after the answer before had come.
    pub fn observe(&mut self, partition: i32, through: Through, leader_epoch: i32, high_watermark: i64) {
        self.observations += 1;
        let highest = self.highest.entry((partition, through)).or_insert((high_watermark, leader_epoch));
        if high_watermark < highest.0 {
            let (before, epoch) = *highest;
            let detail = format!(
                "partition {partition}, {through:?}: {high_watermark} in leader epoch {leader_epoch} after {before} in {epoch}"
            );
            self.regressions.push(Anomaly::new(Kind::HighWatermarkRegression, detail));
        }
        // Each step back counts once.
        *highest = (high_watermark, leader_epoch);
    }

    /// The last one seen, by either way.
    pub fn last(&self, partition: i32) -> Option<i64> {
        let of = |through| self.highest.get(&(partition, through)).map(|(hw, _)| *hw);
        of(Through::Fetch).max(of(Through::ListOffsets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_high_watermark_that_goes_back_is_a_regression_once() {
        let mut seen = HighWatermarks::default();
        for (epoch, hw) in [(1, 5), (1, 9), (2, 7), (2, 7), (2, 9)] {
            seen.observe(0, Through::ListOffsets, epoch, hw);
        }
        assert_eq!(seen.regressions.len(), 1);
        assert!(seen.regressions[0].detail.contains("7 in leader epoch 2 after 9 in 1"));
    }

    #[test]
    fn partitions_and_ways_are_apart() {
        let mut seen = HighWatermarks::default();
        seen.observe(0, Through::ListOffsets, 1, 9);
        seen.observe(1, Through::ListOffsets, 1, 3);
        seen.observe(0, Through::Fetch, 1, 3);
        assert_eq!(seen.regressions, []);
        assert_eq!((seen.last(0), seen.last(1), seen.last(2)), (Some(9), Some(3), None));
    }
}

//! How fast replicas move: as fast as may be while producers do not notice.

/// Bytes in a second that a node takes in of what moves to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PaceConfig {
    pub bytes_per_second_min: u64,
    pub bytes_per_second_max: u64,
}

/// Follows how long producers wait: additive increase while they wait as long as before, multiplicative decrease when they wait
/// longer (as TCP Reno's congestion avoidance, RFC 5681).
#[derive(Clone, Debug, PartialEq)]
pub struct Pace {
    bytes_per_second: u64,
    /// How long producers wait when nothing moves, in microseconds.
    calm_us: Option<u64>,
}

/// Longer than this many times the calm wait, and so much more, is too long.
const TOO_LONG_PERCENT: u64 = 150;
const TOO_LONG_MORE_US: u64 = 2_000;
/// A new look counts for this part of the calm wait.
const CALM_PART: u64 = 8;
/// What is left of the pace when producers wait too long.
const SLOWER_PERCENT: u64 = 70;
/// The pace grows by this part of the most there may be.
const FASTER_PART: u64 = 20;
/// It begins at this part.
const BEGIN_PART: u64 = 4;

impl Pace {
    pub fn new(config: PaceConfig) -> Self {
        Self { bytes_per_second: begin(config), calm_us: None }
    }

    pub fn bytes_per_second(&self) -> u64 {
        self.bytes_per_second
    }

    /// What a second of looking on came to: the longest that any node's producers waited (99 of 100 of them), if there were any,
    /// and whether anything moves.
    pub fn look(&mut self, wait_us: Option<u64>, moves: bool, config: PaceConfig) {
        if !moves {
            self.calm_us = match (self.calm_us, wait_us) {
                (Some(calm), Some(wait)) => Some(calm - calm / CALM_PART + wait / CALM_PART),
                (calm, wait) => wait.or(calm),
            };
            self.bytes_per_second = begin(config);
            return;
        }
        // Who took over in the middle of moves takes the shortest wait for the calm one.
        if let Some(wait) = wait_us {
            self.calm_us =
                Some(self.calm_us.map_or(wait, |calm| calm.min(wait).max(calm - calm / CALM_PART)));
        }
        let limit = self.calm_us.unwrap_or(0).saturating_mul(TOO_LONG_PERCENT) / 100 + TOO_LONG_MORE_US;
        let next = match wait_us {
            Some(wait) if wait > limit => self.bytes_per_second / 100 * SLOWER_PERCENT,
            _ => self.bytes_per_second.saturating_add(config.bytes_per_second_max / FASTER_PART),
        };
        self.bytes_per_second = within(next, config);
    }
}

fn begin(config: PaceConfig) -> u64 {
    within(config.bytes_per_second_max / BEGIN_PART, config)
}

fn within(bytes: u64, config: PaceConfig) -> u64 {
    bytes.max(config.bytes_per_second_min).min(config.bytes_per_second_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: PaceConfig = PaceConfig { bytes_per_second_min: 1 << 20, bytes_per_second_max: 100 << 20 };

    fn calm(wait_us: u64) -> Pace {
        let mut pace = Pace::new(CONFIG);
        (0..20).for_each(|_| pace.look(Some(wait_us), false, CONFIG));
        pace
    }

    #[test]
    fn it_grows_to_the_most_while_producers_do_not_notice() {
        let mut pace = calm(3_000);
        assert_eq!(pace.bytes_per_second(), 25 << 20);
        (0..15).for_each(|_| pace.look(Some(3_500), true, CONFIG));
        assert_eq!(pace.bytes_per_second(), 100 << 20);
    }

    #[test]
    fn it_shrinks_while_producers_wait_too_long_and_not_below_the_least() {
        let mut pace = calm(3_000);
        pace.look(Some(20_000), true, CONFIG);
        assert!(pace.bytes_per_second() < 18 << 20);
        (0..40).for_each(|_| pace.look(Some(20_000), true, CONFIG));
        assert_eq!(pace.bytes_per_second(), 1 << 20);
        (0..200).for_each(|_| pace.look(None, true, CONFIG));
        assert_eq!(pace.bytes_per_second(), 100 << 20, "nobody writes, nobody waits");
    }

    #[test]
    fn a_lower_limit_counts_at_once() {
        let mut pace = calm(3_000);
        let config = PaceConfig { bytes_per_second_max: 2 << 20, ..CONFIG };
        pace.look(Some(3_000), true, config);
        assert_eq!(pace.bytes_per_second(), 2 << 20);
    }
}

//! How fast this node takes in what moves to it.

use std::time::{Duration, Instant};

use metrics::Counter;
use parking_lot::Mutex;

/// A limit on bytes in a second, with debts: what came is never refused, but the next has to wait until it is paid for (the generic
/// cell rate algorithm, ITU-T I.371).
pub(crate) struct MovePace {
    state: Mutex<State>,
    came: Counter,
}

struct State {
    /// `None`: no limit.
    bytes_per_second: Option<u64>,
    /// What came until now is paid for at this time.
    paid_at: Instant,
}

/// So much may come at once.
const BURST: Duration = Duration::from_millis(100);
/// The longest that anything waits: the limit may have been raised meanwhile.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// What is asked for at once comes within about this part of a second, and is no less than this.
const ASK_PART: u64 = 4;
const ASK_BYTES_MIN: u64 = 64 << 10;

impl MovePace {
    pub(crate) fn new() -> Self {
        let state = State { bytes_per_second: None, paid_at: Instant::now() };
        let came = metrics::counter!("anabranch_storage_move_bytes_total", "direction" => "in");
        Self { state: Mutex::new(state), came }
    }

    /// 0: no limit.
    pub(crate) fn set(&self, bytes_per_second: u64) {
        let mut state = self.state.lock();
        let limit = Some(bytes_per_second).filter(|limit| *limit > 0);
        if state.bytes_per_second != limit {
            state.bytes_per_second = limit;
            metrics::gauge!("anabranch_storage_move_rate_bytes").set(bytes_per_second as f64);
        }
    }

    /// How much to ask of one partition at once, if `bytes` are the most.
    pub(crate) fn ask(&self, bytes: i32) -> i32 {
        let limit = self
            .state
            .lock()
            .bytes_per_second
            .map_or(u64::MAX, |limit| (limit / ASK_PART).max(ASK_BYTES_MIN));
        i32::try_from(limit).unwrap_or(i32::MAX).min(bytes)
    }

    /// So many bytes came; the next may be asked for after the pause.
    pub(crate) fn take(&self, bytes: u64, now: Instant) -> Duration {
        self.came.increment(bytes);
        self.state.lock().take(bytes, now)
    }
}

impl State {
    fn take(&mut self, bytes: u64, now: Instant) -> Duration {
        let Some(limit) = self.bytes_per_second else { return Duration::ZERO };
        let cost = Duration::from_micros(bytes.saturating_mul(1_000_000) / limit);
        self.paid_at = (self.paid_at.max(now) + cost.min(WAIT_MAX)).min(now + WAIT_MAX);
        let debt = self.paid_at.saturating_duration_since(now);
        debt.saturating_sub(BURST).min(WAIT_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_keeps_to_the_limit() {
        let begun = Instant::now();
        let mut state = State { bytes_per_second: Some(1 << 20), paid_at: begun };
        let (mut now, mut bytes) = (begun, 0u64);
        while now < begun + Duration::from_secs(10) {
            bytes += 64 << 10;
            now += state.take(64 << 10, now) + Duration::from_micros(10);
        }
        let rate = bytes / 10;
        assert!(((1 << 20)..(1 << 20) * 104 / 100).contains(&rate), "{rate}");
    }

    #[test]
    fn without_a_limit_nothing_waits() {
        let now = Instant::now();
        let mut state = State { bytes_per_second: None, paid_at: now };
        assert_eq!(state.take(u64::MAX, now), Duration::ZERO);
    }

    #[test]
    fn nothing_waits_long_for_what_came_before() {
        let now = Instant::now();
        let mut state = State { bytes_per_second: Some(1), paid_at: now };
        assert_eq!(state.take(1 << 30, now), WAIT_MAX - BURST);
        assert!(state.paid_at <= now + WAIT_MAX);
    }
}

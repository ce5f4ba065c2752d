use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Pauses between attempts: growing, and different for each controller, so that an API server that comes back is not met
/// by all of them at once.
#[derive(Debug, Default)]
pub(crate) struct Pauses {
    failures: u32,
}

impl Pauses {
    /// The next pause begins small again.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    pub(crate) async fn wait(&mut self) {
        tokio::time::sleep(pause(self.failures, RandomState::new().hash_one(0))).await;
        self.failures = self.failures.saturating_add(1);
    }
}

/// Between a half and the whole of what doubles with each failure in a row, as chance will have it.
fn pause(failures: u32, chance: u64) -> Duration {
    let whole = PAUSE_MIN.saturating_mul(1 << failures.min(16)).min(PAUSE_MAX);
    whole.mul_f64(0.5 + 0.5 * (chance as f64 / u64::MAX as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_ten_seconds_and_chance_takes_up_to_a_half() {
        let whole: Vec<u128> = (0..8).map(|failures| pause(failures, u64::MAX).as_millis()).collect();
        assert_eq!(whole, [200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000]);
        assert_eq!(pause(3, 0).as_millis(), 800);
        assert_eq!(pause(u32::MAX, 0).as_millis(), 5_000);
    }
}

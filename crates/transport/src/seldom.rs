use std::time::{Duration, Instant};

/// What happens often and is told seldom: one line in a while, with how often it happened since the last.
#[derive(Debug, Default)]
pub(crate) struct Seldom {
    told: Option<Instant>,
    since: u64,
}

const WHILE: Duration = Duration::from_secs(5);

impl Seldom {
    /// It happened; how often since the last line, if it is time for the next.
    pub(crate) fn count(&mut self, now: Instant) -> Option<u64> {
        self.since += 1;
        if self.told.is_some_and(|told| now.saturating_duration_since(told) < WHILE) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_refusals_make_one_line_in_five_seconds_which_counts_them() {
        let begun = Instant::now();
        let mut seldom = Seldom::default();
        assert_eq!(seldom.count(begun), Some(1), "the first is told at once");
        for ms in 0..4_999 {
            assert_eq!(seldom.count(begun + Duration::from_millis(ms)), None);
        }
        assert_eq!(seldom.count(begun + WHILE), Some(5_000));
        assert_eq!(seldom.count(begun + WHILE), None);
    }
}

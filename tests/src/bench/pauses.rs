//! How long a partition's records stayed away.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of a clock that all processes of this machine share.
pub fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// The longest time between two deliveries that touches the interval, one that has not ended at its end included.
/// Deliveries need no order.
pub fn longest(deliveries: &[u64], from: u64, to: u64) -> Duration {
    let mut times = deliveries.to_vec();
    times.sort_unstable();
    let first = times.partition_point(|t| *t <= from).saturating_sub(1);
    let last = (times.partition_point(|t| *t < to) + 1).min(times.len());
    let within = times.get(first..last).unwrap_or_default();
    let longest = within.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
    let open = times.last().map_or(to - from, |last| to.saturating_sub(*last));
    Duration::from_nanos(longest.max(open))
}

/// The last delivery before a pause of that length; 0 if there is none.
pub fn began(deliveries: &[u64], pause: Duration) -> u64 {
    let mut times = deliveries.to_vec();
    times.sort_unstable();
    let pair = times.windows(2).find(|pair| u128::from(pair[1] - pair[0]) == pause.as_nanos());
    pair.map_or(0, |pair| pair[0])
}

/// What is told of many partitions: half of them paused no longer than the first, none longer than the second.
pub fn median_and_longest(mut pauses: Vec<Duration>) -> String {
    pauses.sort();
    let ms = |pause: &Duration| pause.as_secs_f64() * 1e3;
    match pauses.last() {
        Some(longest) => format!("{:.0} / {:.0}", ms(&pauses[pauses.len() / 2]), ms(longest)),
        None => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_pause_is_the_longest_silence_that_touches_the_interval() {
        // Several members deliver one partition, so that times come in any order.
        let times = [520, 0, 10, 2000, 20, 530].map(|ms| ms * MS);
        let pause = |from, to| longest(&times, from * MS, to * MS).as_millis();
        assert_eq!(pause(25, 600), 1470, "it began within");
        assert_eq!(pause(25, 525), 500);
        assert_eq!(pause(0, 15), 10);
        assert_eq!(pause(1990, 5000), 3000, "it has not ended");
        assert_eq!(longest(&[], 5 * MS, 9 * MS).as_millis(), 4, "nothing came at all");
    }

    #[test]
    fn the_middle_and_the_longest_are_told() {
        assert_eq!(median_and_longest([30, 10, 20].map(Duration::from_millis).to_vec()), "20 / 30");
        assert_eq!(median_and_longest(Vec::new()), "-");
    }
}

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::{About, Notice, Reason};

/// Which notices are told: a loop that says the same in each round must not fill the API server with Events.
#[derive(Debug, Default)]
pub(crate) struct Limit {
    objects: BTreeMap<About, Object>,
}

#[derive(Debug)]
struct Object {
    /// How many may still be told now.
    left: u32,
    refilled_at: Instant,
    last: BTreeMap<Reason, Last>,
}

#[derive(Debug)]
struct Last {
    note: String,
    at: Instant,
    /// It did not reach the API server, or something else happened since, so the same note is news again.
    is_over: bool,
}

/// So many at once about one object.
const BURST: u32 = 10;
const REFILL: Duration = Duration::from_secs(30);
/// After that the same is told again, since Kubernetes forgets Events after an hour.
const REPEAT: Duration = Duration::from_secs(1_800);

impl Limit {
    /// Whether it is told; if so, it counts as told.
    pub(crate) fn admit(&mut self, notice: &Notice, now: Instant) -> bool {
        let fresh = || Object { left: BURST, refilled_at: now, last: BTreeMap::new() };
        let object = self.objects.entry(notice.about).or_insert_with(fresh);
        object.refill(now);
        if object.left == 0 || object.last.get(&notice.reason).is_some_and(|last| last.covers(notice, now)) {
            return false;
        }
        object.left -= 1;
        if notice.reason != Reason::DrainProgress {
            object.last.values_mut().for_each(|last| last.is_over = true);
        }
        object.last.insert(notice.reason, Last { note: notice.note.clone(), at: now, is_over: false });
        true
    }

    /// It was not heard: the same may be told again.
    pub(crate) fn failed(&mut self, notice: &Notice) {
        let object = self.objects.get_mut(&notice.about);
        if let Some(last) = object.and_then(|object| object.last.get_mut(&notice.reason)) {
            last.is_over = true;
        }
    }
}

impl Object {
    fn refill(&mut self, now: Instant) {
        let periods = now.saturating_duration_since(self.refilled_at).as_secs() / REFILL.as_secs();
        self.refilled_at += REFILL * u32::try_from(periods).unwrap_or(u32::MAX);
        self.left = BURST.min(self.left.saturating_add(u32::try_from(periods).unwrap_or(BURST)));
    }
}

impl Last {
    /// Whether this one makes another needless.
    fn covers(&self, notice: &Notice, now: Instant) -> bool {
        let age = now.saturating_duration_since(self.at);
        let same = self.note == notice.note && !self.is_over;
        age < notice.reason.gap() || (same && age < REPEAT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(reason: Reason, note: &str) -> Notice {
        Notice { about: About::Pod { ordinal: 4 }, reason, note: note.to_owned() }
    }

    /// How many of those, one every 100 ms, are told.
    fn told(limit: &mut Limit, start: Instant, notices: impl Iterator<Item = Notice>) -> usize {
        let at = |i: usize| start + Duration::from_millis(100) * i as u32;
        notices.enumerate().filter(|(i, notice)| limit.admit(notice, at(*i))).count()
    }

    #[test]
    fn the_same_is_told_once_in_half_an_hour() {
        let (mut limit, start) = (Limit::default(), Instant::now());
        let same = || std::iter::repeat_n(notice(Reason::DrainStarted, "5 to 3"), 1_000);
        assert_eq!(told(&mut limit, start, same()), 1);
        assert_eq!(told(&mut limit, start + REPEAT, same()), 1);
    }

    #[test]
    fn numbers_that_change_in_each_round_are_told_sparingly() {
        let (mut limit, start) = (Limit::default(), Instant::now());
        let bytes = |reason| (0..1_200).map(move |i| notice(reason, &format!("{i} bytes")));
        assert_eq!(told(&mut limit, start, bytes(Reason::DrainProgress)), 2, "in two minutes");
        assert_eq!(told(&mut limit, start, bytes(Reason::DrainRefused)), 4, "in two minutes");
    }

    #[test]
    fn a_drain_that_starts_again_is_told_again() {
        let (mut limit, now) = (Limit::default(), Instant::now());
        for reason in [Reason::DrainStarted, Reason::DrainCancelled, Reason::DrainStarted] {
            assert!(limit.admit(&notice(reason, "same"), now), "{reason:?}");
        }
        assert!(!limit.admit(&notice(Reason::DrainStarted, "same"), now));
    }

    #[test]
    fn what_goes_to_and_fro_is_told_ten_times_and_then_twice_a_minute() {
        let (mut limit, start) = (Limit::default(), Instant::now());
        let reasons = [Reason::DrainStarted, Reason::DrainCancelled].into_iter().cycle();
        let flood = |rounds| reasons.clone().map(|reason| notice(reason, "same")).take(rounds);
        assert_eq!(told(&mut limit, start, flood(290)), 10, "in 29 seconds");
        assert_eq!(told(&mut limit, start + Duration::from_secs(29), flood(610)), 2, "in the minute after");
        let other = Notice { about: About::StatefulSet, ..notice(Reason::DrainStarted, "same") };
        assert!(limit.admit(&other, start), "another object is not silenced by it");
    }

    #[test]
    fn what_was_not_heard_may_be_told_again() {
        let (mut limit, now) = (Limit::default(), Instant::now());
        let refused = notice(Reason::DrainRefused, "two replicas would be on one node");
        assert!(limit.admit(&refused, now));
        limit.failed(&refused);
        assert!(!limit.admit(&refused, now + Duration::from_secs(29)), "but not at once");
        assert!(limit.admit(&refused, now + Duration::from_secs(30)));
    }
}

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use crate::set::{ResourceVersion, SetState, Told};

/// The newest that is known of the StatefulSet, from the watch and from what was asked beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub set: SetSeen,
    /// Since when there is no watch, so that `set` may be old; `None` while there is one.
    pub unwatched_since: Option<Instant>,
    /// The newest StatefulSet that was ever seen: nothing older is believed. Once it is gone, its version is the one at
    /// which it was told to be gone.
    newest: Option<SetState>,
    /// The uids of those that were there before it.
    replaced: BTreeSet<String>,
}

/// A StatefulSet as the API server told of it last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetSeen {
    /// The API server has not told yet.
    Never,
    /// It was deleted, or there never was one of that name.
    Absent,
    Present(SetState),
}

/// What became of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    Changed,
    Unchanged,
    /// It is older than what is known, and was passed over.
    Stale,
}

impl Seen {
    pub(crate) fn nothing(now: Instant) -> Self {
        Self { set: SetSeen::Never, unwatched_since: Some(now), newest: None, replaced: BTreeSet::new() }
    }

    /// How long there has been no watch.
    pub fn unwatched_for(&self, now: Instant) -> Option<Duration> {
        self.unwatched_since.map(|since| now.saturating_duration_since(since))
    }

    /// As of what version something is known.
    pub(crate) fn version(&self) -> ResourceVersion {
        self.newest.as_ref().map(|set| set.resource_version).unwrap_or_default()
    }

    /// Takes an answer in, unless it is older than what is known.
    pub(crate) fn take(&mut self, told: Told) -> Taken {
        if self.is_stale(&told) {
            return Taken::Stale;
        }
        let before = self.set.clone();
        match told {
            Told::Absent(at) => {
                if let Some(newest) = &mut self.newest {
                    newest.resource_version = newest.resource_version.max(at);
                }
                self.set = SetSeen::Absent;
            }
            Told::Present(mut set) => {
                match self.newest.replace(set.clone()) {
                    Some(last) if last.uid != set.uid => _ = self.replaced.insert(last.uid),
                    Some(last) => set.resource_version = set.resource_version.max(last.resource_version),
                    None => {}
                }
                self.newest = Some(set.clone());
                self.set = SetSeen::Present(set);
            }
        }
        if self.set == before { Taken::Unchanged } else { Taken::Changed }
    }

    /// An API server that lags behind, or was restored from a backup, tells what was true once.
    fn is_stale(&self, told: &Told) -> bool {
        let Some(newest) = &self.newest else { return false };
        match told {
            Told::Absent(at) => self.set != SetSeen::Absent && *at < newest.resource_version,
            Told::Present(set) if set.uid != newest.uid => {
                self.replaced.contains(&set.uid) || set.resource_version <= newest.resource_version
            }
            Told::Present(set) if set.generation != newest.generation => set.generation < newest.generation,
            // A lower version of the same spec decides the same. One that was told to be gone is back only if it changed since.
            Told::Present(set) => {
                let known = self.set != SetSeen::Absent && set.says_the_same(newest);
                !known && set.resource_version <= newest.resource_version
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::set::Generation;

    fn set(generation: i64, version: u64, replicas: u32) -> SetState {
        SetState {
            uid: "a".to_owned(),
            generation: Generation(generation),
            resource_version: ResourceVersion(version),
            replicas,
            first_ordinal: 0,
            deleting: false,
        }
    }

    fn having_seen(state: &SetState) -> Seen {
        let mut seen = Seen::nothing(Instant::now());
        assert_eq!(seen.take(Told::Present(state.clone())), Taken::Changed);
        seen
    }

    #[test]
    fn a_lower_generation_is_never_believed() {
        let mut seen = having_seen(&set(5, 50, 3));
        assert_eq!(seen.take(Told::Present(set(4, 40, 5))), Taken::Stale);
        assert_eq!(seen.take(Told::Present(set(4, 99, 5))), Taken::Stale, "whatever its version says");
        assert_eq!(seen, Seen { unwatched_since: seen.unwatched_since, ..having_seen(&set(5, 50, 3)) });
        assert_eq!(seen.take(Told::Present(set(6, 60, 5))), Taken::Changed);
        assert_eq!(seen.set, SetSeen::Present(set(6, 60, 5)));
    }

    #[test]
    fn a_lower_version_that_says_the_same_is_no_step_back() {
        let mut seen = having_seen(&set(5, 50, 3));
        assert_eq!(seen.take(Told::Present(set(5, 48, 3))), Taken::Unchanged);
        assert_eq!(seen.take(Told::Present(set(5, 48, 4))), Taken::Stale, "one that says something else is");
        assert_eq!(
            seen.take(Told::Present(set(5, 51, 4))),
            Taken::Changed,
            "a store that was restored, and went on"
        );
    }

    #[test]
    fn a_set_that_was_created_again_replaces_the_old_one_and_not_the_reverse() {
        let mut seen = having_seen(&set(5, 50, 3));
        let again = SetState { uid: "b".to_owned(), ..set(1, 70, 5) };
        assert_eq!(seen.take(Told::Present(again.clone())), Taken::Changed);
        assert_eq!(seen.take(Told::Present(set(6, 60, 2))), Taken::Stale);
        assert_eq!(seen.set, SetSeen::Present(again));
    }

    #[test]
    fn a_set_that_is_gone_comes_back_only_with_a_later_version() {
        let mut seen = having_seen(&set(5, 50, 3));
        assert_eq!(seen.take(Told::Absent(ResourceVersion(49))), Taken::Stale, "a list that lags behind");
        assert_eq!(seen.take(Told::Absent(ResourceVersion(60))), Taken::Changed);
        assert_eq!(seen.take(Told::Present(set(5, 55, 3))), Taken::Stale);
        assert_eq!(seen.set, SetSeen::Absent);
        assert_eq!(
            seen.take(Told::Present(set(5, 61, 3))),
            Taken::Changed,
            "the answer that it is gone was wrong"
        );
    }

    #[test]
    fn a_set_that_is_gone_as_of_the_version_that_was_seen_last_is_gone() {
        let mut seen = having_seen(&set(5, 50, 3));
        assert_eq!(seen.take(Told::Absent(seen.version())), Taken::Changed);
        assert_eq!(seen.take(Told::Present(set(5, 50, 3))), Taken::Stale);
        assert_eq!(
            seen.take(Told::Absent(ResourceVersion(40))),
            Taken::Unchanged,
            "which is no contradiction"
        );
    }

    #[test]
    fn how_long_there_was_no_watch_is_counted_from_the_start() {
        let start = Instant::now();
        let seen = Seen::nothing(start);
        assert_eq!(seen.unwatched_for(start + Duration::from_secs(7)), Some(Duration::from_secs(7)));
        assert_eq!(Seen { unwatched_since: None, ..seen }.unwatched_for(start), None);
    }
}

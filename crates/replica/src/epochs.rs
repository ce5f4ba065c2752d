use domain::{LeaderEpoch, Offset};

/// Where each leader epoch of a partition begins (KIP-101): what two replicas compare to find where they diverge.
///
/// Epochs and start offsets both rise strictly, so an epoch in which nothing was appended gives way to the next one
/// that starts at the same offset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EpochCache {
    starts: Vec<(LeaderEpoch, Offset)>,
}

/// A follower's last epoch that the leader does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("leader epoch {0} is newer than all of this log's")]
pub struct UnknownEpoch(pub LeaderEpoch);

impl EpochCache {
    pub const fn new() -> Self {
        Self { starts: Vec::new() }
    }

    /// From stored entries; `None` if they are not strictly rising, so that the caller rebuilds them.
    pub fn from_entries(starts: Vec<(LeaderEpoch, Offset)>) -> Option<Self> {
        let rising = starts.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1);
        let valid = starts.iter().all(|(epoch, start)| epoch.0 >= 0 && start.0 >= 0);
        (rising && valid).then_some(Self { starts })
    }

    pub fn entries(&self) -> &[(LeaderEpoch, Offset)] {
        &self.starts
    }

    /// The newest epoch and its start.
    pub fn latest(&self) -> Option<(LeaderEpoch, Offset)> {
        self.starts.last().copied()
    }

    /// The epoch of the record at `offset`, if that is known.
    pub fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self.starts.partition_point(|(_, start)| *start <= offset);
        after.checked_sub(1).map(|index| self.starts[index].0)
    }

    /// Where the first epoch above `newest` begins. If `newest` is the partition's own, no leader ever wrote what is there.
    pub fn first_above(&self, newest: LeaderEpoch) -> Option<Offset> {
        let above = self.starts.partition_point(|(known, _)| *known <= newest);
        self.starts.get(above).map(|(_, start)| *start)
    }

    /// A log that begins at `start`, without records, behind one of epoch `before`; `None`: nobody knows which.
    pub fn beginning_at(start: Offset, before: Option<LeaderEpoch>) -> Self {
        let starts = before.filter(|epoch| epoch.0 >= 0 && start.0 > 0);
        Self { starts: starts.map(|epoch| (epoch, start.plus(-1))).into_iter().collect() }
    }

    /// The epoch of the last record below `start`, if that is known: where a log begins, what it was begun behind.
    pub fn before(&self, start: Offset) -> Option<LeaderEpoch> {
        self.epoch_at(start.plus(-1))
    }

    /// Notes that `epoch` starts at `start`, and says whether that is news. A leader calls it when it becomes leader,
    /// before it appends anything (KAFKA-7415); entries that the new one contradicts go.
    pub fn assign(&mut self, epoch: LeaderEpoch, start: Offset) -> bool {
        if epoch.0 < 0 || start.0 < 0 {
            return false;
        }
        if self.latest().is_some_and(|(latest, first)| latest == epoch && first <= start) {
            return false;
        }
        self.starts.retain(|(known, first)| *known < epoch && *first < start);
        self.starts.push((epoch, start));
        true
    }

    /// What a record of `epoch` at `start` says of entries that may be older than the log: those of later epochs speak of
    /// records that were cut since, for epochs only rise. Whether anything was to be corrected.
    pub fn correct(&mut self, epoch: LeaderEpoch, start: Offset) -> bool {
        if self.epoch_at(start) == Some(epoch) {
            return false;
        }
        self.starts.retain(|(known, _)| *known <= epoch);
        if self.epoch_at(start) != Some(epoch) {
            self.assign(epoch, start);
        }
        true
    }

    /// The largest epoch not above `epoch` that this replica knows, and the offset at which it ends here (KIP-279).
    /// `None` if `epoch` is newer than all that are known: then this replica cannot tell.
    pub fn end_offset_for(&self, epoch: LeaderEpoch, log_end: Offset) -> Option<(LeaderEpoch, Offset)> {
        let (latest, _) = self.latest()?;
        if epoch.0 < 0 || epoch > latest {
            return None;
        }
        if epoch == latest {
            return Some((epoch, log_end));
        }
        let above = self.starts.partition_point(|(known, _)| *known <= epoch);
        let end = self.starts[above].1;
        // An epoch before the first known one ends, at the latest, where that begins.
        let floor = above.checked_sub(1).map_or(epoch, |index| self.starts[index].0);
        Some((floor, end))
    }

    /// What a leader tells a follower whose log ends at `offset` with a record of epoch `last`: nothing if the two agree up
    /// to there, else the largest epoch not above `last` that the leader has, and where that ends (KIP-595's diverging
    /// epoch). A follower without any record has no `last` and agrees.
    ///
    /// # Errors
    /// The follower's epoch is newer than all that the leader has: it is not its follower, or knows another history.
    pub fn divergence(
        &self,
        last: LeaderEpoch,
        offset: Offset,
        log_end: Offset,
    ) -> Result<Option<(LeaderEpoch, Offset)>, UnknownEpoch> {
        if last.0 < 0 {
            return Ok(None);
        }
        let (epoch, end) = self.end_offset_for(last, log_end).ok_or(UnknownEpoch(last))?;
        Ok((epoch < last || end < offset).then_some((epoch, end)))
    }

    /// Whether this log, which begins at `start`, still tells if a follower that ends at `offset` with a record of epoch
    /// `last` agrees with it. Once retention has removed that epoch and all older ones it does not: a follower that ends
    /// just where this log starts may have come by other records. And one that knows no epoch at all may have removed
    /// records that this log never had, unless there is nothing below `offset` here either. To be asked when there is no
    /// [`EpochCache::divergence`]; where it is false, the follower begins anew at the log's start, as one does that lies
    /// below it, and until then its fetch does not count.
    pub fn vouches_for(&self, last: LeaderEpoch, offset: Offset, start: Offset) -> bool {
        match last.0 < 0 {
            true => offset <= start,
            false => self.starts.first().is_some_and(|(first, _)| *first <= last),
        }
    }

    /// Where a follower cuts its log when the leader names a diverging epoch: at the smaller of the two ends of the last
    /// epoch that both have (KIP-279). One answer may not be enough; the next fetch shows.
    pub fn truncation(&self, diverging: (LeaderEpoch, Offset), log_end: Offset) -> Offset {
        let (epoch, theirs) = diverging;
        let own = self.end_offset_for(epoch, log_end).map_or(log_end, |(_, end)| end);
        own.min(theirs).min(log_end)
    }

    /// Forgets epochs that start at or after `end`, and says whether there were any. To be called for every truncation,
    /// one that cuts no record too: an epoch without records may stand at the log's end (KAFKA-10706).
    pub fn truncate_from_end(&mut self, end: Offset) -> bool {
        let kept = self.starts.partition_point(|(_, start)| *start < end);
        let changed = kept < self.starts.len();
        self.starts.truncate(kept);
        changed
    }

    /// Forgets epochs that end below the last record before the log's new `start`. That record's epoch stays, from its
    /// offset on: it is what a log without records is known by, and no truncation of what comes later takes it.
    pub fn truncate_from_start(&mut self, start: Offset) -> bool {
        let last = start.plus(-1);
        let before = self.starts.partition_point(|(_, first)| *first <= last);
        let Some(in_force) =
            before.checked_sub(1).filter(|index| self.starts[*index].1 != last || *index > 0)
        else {
            return false;
        };
        self.starts.drain(..in_force);
        self.starts[0].1 = last;
        true
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.starts.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cache(entries: &[(i32, i64)]) -> EpochCache {
        EpochCache::from_entries(entries.iter().map(|(e, o)| (LeaderEpoch(*e), Offset(*o))).collect())
            .unwrap()
    }

    /// A follower cut what it had written in epoch 7, took in more of epoch 5, and a power cut brought the older entries
    /// back; were all of epoch 5 said to begin there, a healthy log would look damaged.
    #[test]
    fn entries_older_than_the_log_give_way_to_its_records_and_no_others_do() {
        let stale = [(3, 0), (5, 100), (7, 150)];
        for (epoch, start, corrected) in [
            (5, 150, &[(3, 0), (5, 100)][..]),
            (6, 150, &[(3, 0), (5, 100), (6, 150)]),
            (5, 60, &[(3, 0), (5, 60)]),
            (7, 130, &[(3, 0), (5, 100), (7, 130)]),
            (8, 160, &[(3, 0), (5, 100), (7, 150), (8, 160)]),
        ] {
            let mut corrects = cache(&stale);
            assert!(corrects.correct(LeaderEpoch(epoch), Offset(start)), "{epoch}@{start}");
            assert_eq!(corrects, cache(corrected), "{epoch}@{start}");
            assert!(!corrects.correct(LeaderEpoch(epoch), Offset(start)));
        }
    }

    fn end_of(cache: &EpochCache, epoch: i32) -> Option<(i32, i64)> {
        cache.end_offset_for(LeaderEpoch(epoch), Offset(100)).map(|(e, o)| (e.0, o.0))
    }

    #[test]
    fn an_epoch_ends_where_the_next_known_one_begins() {
        let cache = cache(&[(2, 10), (4, 20), (7, 30)]);
        assert_eq!(end_of(&cache, 7), Some((7, 100)), "the latest ends at the log's end");
        assert_eq!(end_of(&cache, 4), Some((4, 30)));
        assert_eq!(end_of(&cache, 6), Some((4, 30)), "not known: the largest below it");
        assert_eq!(end_of(&cache, 1), Some((1, 10)), "older than all");
        assert_eq!(end_of(&cache, 8), None, "newer than all");
        assert_eq!(end_of(&cache, -1), None);
        assert_eq!(end_of(&EpochCache::new(), 0), None);
    }

    #[test]
    fn an_epoch_without_records_is_known_from_the_moment_of_leadership() {
        let mut cache = cache(&[(2, 10)]);
        assert!(cache.assign(LeaderEpoch(3), Offset(100)));
        assert_eq!(end_of(&cache, 2), Some((2, 100)));
        assert_eq!(end_of(&cache, 3), Some((3, 100)));
        assert!(!cache.assign(LeaderEpoch(3), Offset(105)), "appends in the same epoch are no news");
        assert!(cache.assign(LeaderEpoch(4), Offset(100)));
        assert_eq!(cache.entries(), [(LeaderEpoch(2), Offset(10)), (LeaderEpoch(4), Offset(100))]);
    }

    #[test]
    fn a_truncation_that_cuts_nothing_still_forgets_an_epoch_at_the_log_end() {
        let mut cache = cache(&[(2, 10), (3, 100)]);
        assert!(cache.truncate_from_end(Offset(100)), "KAFKA-10706");
        assert_eq!(cache.latest(), Some((LeaderEpoch(2), Offset(10))));
        assert!(!cache.truncate_from_end(Offset(100)));
    }

    #[test]
    fn who_ends_where_the_log_starts_with_an_older_epoch_may_have_other_records() {
        let mut cache = cache(&[(0, 0), (3, 2), (5, 9)]);
        let (last, end) = (LeaderEpoch(0), Offset(9));
        assert_eq!(cache.divergence(last, end, end), Ok(Some((last, Offset(2)))));
        cache.truncate_from_start(end);
        assert_eq!(cache.divergence(last, end, end), Ok(Some((last, Offset(8)))), "epoch 3 was before");
        assert_eq!(cache.divergence(LeaderEpoch(3), end, end), Ok(None));
        assert!(cache.vouches_for(LeaderEpoch(3), end, end));
        let begun = EpochCache::beginning_at(end, Some(LeaderEpoch(5)));
        assert!(!begun.vouches_for(last, Offset(8), Offset(8)), "nobody knows where epoch 0 ended");
    }

    /// A follower had removed all of its records and knew no epoch any more; what the leader had at those offsets since a
    /// power cut was other records, and it joined the ISR without them (seed 1101740).
    #[test]
    fn who_knows_no_epoch_agrees_only_where_there_is_nothing() {
        let cache = cache(&[(0, 0), (2, 2)]);
        let vouches = |offset, start| cache.vouches_for(LeaderEpoch::UNKNOWN, Offset(offset), Offset(start));
        assert!(vouches(0, 0) && vouches(5, 5));
        assert!(!vouches(5, 0));
    }

    #[test]
    fn the_epoch_before_a_new_log_start_is_kept() {
        let mut first = cache(&[(2, 10), (4, 20), (7, 30)]);
        assert!(first.truncate_from_start(Offset(25)));
        assert_eq!(first, cache(&[(4, 24), (7, 30)]));
        assert!(!first.truncate_from_start(Offset(25)));
        assert!(first.truncate_from_start(Offset(30)));
        assert_eq!(first, cache(&[(4, 29), (7, 30)]));
        assert!(!first.truncate_from_start(Offset(5)), "before the first");
        assert!(first.truncate_from_end(Offset(30)));
        assert_eq!(
            (first.latest(), first.before(Offset(30))),
            (Some((LeaderEpoch(4), Offset(29))), Some(LeaderEpoch(4)))
        );
        assert_eq!(first, EpochCache::beginning_at(Offset(30), Some(LeaderEpoch(4))));
        assert_eq!(EpochCache::beginning_at(Offset(0), Some(LeaderEpoch(4))), EpochCache::new());
    }

    #[test]
    fn stored_entries_that_do_not_rise_are_refused() {
        let entries =
            |pairs: &[(i32, i64)]| pairs.iter().map(|(e, o)| (LeaderEpoch(*e), Offset(*o))).collect();
        assert_eq!(EpochCache::from_entries(entries(&[(2, 10), (1, 20)])), None);
        assert_eq!(EpochCache::from_entries(entries(&[(1, 20), (2, 20)])), None);
        assert_eq!(EpochCache::from_entries(entries(&[(-1, 20)])), None);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Lead(i32),
        Append(i64),
        TruncateEnd(prop::sample::Index),
        TruncateStart(prop::sample::Index),
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (1..4i32).prop_map(Step::Lead),
            (1..6i64).prop_map(Step::Append),
            any::<prop::sample::Index>().prop_map(Step::TruncateEnd),
            any::<prop::sample::Index>().prop_map(Step::TruncateStart),
        ]
    }

    proptest! {
        /// Against a model that keeps the epoch of every single record.
        #[test]
        fn the_cache_tells_every_records_epoch(steps in proptest::collection::vec(any_step(), 1..40)) {
            let (mut cache, mut epoch) = (EpochCache::new(), 0);
            let (mut start, mut records) = (0i64, Vec::<i32>::new());
            let mut before = None;
            for step in steps {
                let end = start + records.len() as i64;
                match step {
                    Step::Lead(more) => {
                        epoch += more;
                        cache.assign(LeaderEpoch(epoch), Offset(end));
                    }
                    Step::Append(count) => {
                        cache.assign(LeaderEpoch(epoch), Offset(end));
                        records.extend(std::iter::repeat_n(epoch, count as usize));
                    }
                    Step::TruncateEnd(index) => {
                        let kept = index.index(records.len() + 1);
                        records.truncate(kept);
                        cache.truncate_from_end(Offset(start + kept as i64));
                    }
                    Step::TruncateStart(index) => {
                        let gone = index.index(records.len() + 1);
                        before = records.drain(..gone).next_back().or(before);
                        start += gone as i64;
                        cache.truncate_from_start(Offset(start));
                    }
                }
                let end = Offset(start + records.len() as i64);
                prop_assert_eq!(EpochCache::from_entries(cache.entries().to_vec()), Some(cache.clone()));
                for (index, epoch) in records.iter().enumerate() {
                    prop_assert_eq!(cache.epoch_at(Offset(start + index as i64)), Some(LeaderEpoch(*epoch)));
                }
                prop_assert_eq!(cache.before(Offset(start)), before.map(LeaderEpoch));
                for asked in 0..=epoch {
                    let Some((found, found_end)) = cache.end_offset_for(LeaderEpoch(asked), end) else { continue };
                    prop_assert!(found.0 <= asked && found_end <= end);
                    // All records up to the end are of that epoch or older, all behind it are newer.
                    for (index, epoch) in records.iter().enumerate() {
                        prop_assert_eq!(*epoch <= asked, start + (index as i64) < found_end.0);
                    }
                }
            }
        }
    }
}

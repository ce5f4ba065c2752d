use std::{cell::RefCell, collections::HashSet, fs::File, path::PathBuf, sync::Arc};

use domain::{Offset, TopicConfig};

use crate::{
    Log, LogError,
    error::At,
    rewrite::{Round, Source},
    walk::HeaderWalk,
};

/// How much of a log compaction has not seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dirtiness {
    /// Of the sealed segments that may be compacted, those not seen.
    pub dirty_bytes: u64,
    /// Of all sealed segments that may be compacted.
    pub bytes: u64,
    /// A record has waited for `max.compaction.lag.ms`.
    pub is_overdue: bool,
    /// Where what may be compacted ends.
    pub until: Offset,
}

impl Dirtiness {
    /// How dirty it is, in millionths.
    pub fn ppm(&self) -> u32 {
        (u128::from(self.dirty_bytes) * 1_000_000 / u128::from(self.bytes.max(1))) as u32
    }

    /// Whether the topic's settings want it compacted now.
    pub fn is_due(&self, config: &TopicConfig) -> bool {
        self.is_overdue || self.ppm() > config.min_cleanable_dirty_ppm
    }
}

/// What a compaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Segments that were replaced, and their bytes.
    pub segments: usize,
    pub bytes: u64,
    /// What took their place.
    pub segments_after: usize,
    pub bytes_after: u64,
    pub records_removed: u64,
    /// Compaction has seen everything below: to be checkpointed.
    pub until: Offset,
}

/// Why a compaction ended early. The log holds what it did, or has it compacted in part; the next one begins where this
/// one began.
#[derive(Debug, thiserror::Error)]
pub enum CompactionError {
    #[error("the compaction was told to stop")]
    Stopped,
    #[error("the log was changed or closed meanwhile")]
    Changed,
    /// Nothing of the log was changed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// New segments are there and not in place: the log must be opened again, which finishes that.
    #[error("a compacted segment is only half in place: {0}")]
    Swap(LogError),
}

/// A log behind its lock, which compaction takes for moments only.
pub trait SharedLog {
    /// `None` once the log was closed.
    fn with_log<T>(&self, keep: impl FnOnce(&mut Log) -> T) -> Option<T>;
}

/// What a compaction may take.
#[derive(Clone, Copy, Debug)]
pub struct CompactionLimits {
    /// Memory for keys; past it a compaction takes several rounds.
    pub map_bytes_max: usize,
}

impl Default for CompactionLimits {
    fn default() -> Self {
        Self { map_bytes_max: 64 << 20 }
    }
}

/// Compacts the sealed segments of a log that lie below `upper`, which is not above its high watermark: of the records
/// with one key the last one stays. Reads and writes without the log's lock. `pace` is told of the bytes that were read;
/// once it returns false, the compaction stops.
///
/// # Errors
/// After [`CompactionError::Swap`] the log must not be used any more.
pub fn compact(
    log: &impl SharedLog,
    upper: Offset,
    now_ms: i64,
    limits: CompactionLimits,
    pace: &mut dyn FnMut(u64) -> bool,
) -> Result<Compacted, CompactionError> {
    let mut done = Compacted::default();
    loop {
        let plan = log.with_log(|log| log.plan(upper, now_ms)).ok_or(CompactionError::Changed)??;
        let Some(plan) = plan else { return Ok(done) };
        let (folder, until, truncations) = (plan.folder.clone(), plan.until, plan.truncations);
        let mut round = Round::begin(plan, limits, pace)?;
        while let Some(segment) = round.next(pace)? {
            let (segments, bytes, bytes_after) = (segment.sources(), segment.source_bytes(), segment.bytes());
            log.with_log(|log| log.swap_in(segment, truncations)).ok_or(CompactionError::Changed)??;
            // Before the next one: what deletes must not go before what it deletes.
            let synced =
                folder.sync_all().map_err(|source| LogError::Io { path: round.dir().to_owned(), source });
            synced.map_err(CompactionError::Swap)?;
            done.segments += segments;
            done.bytes += bytes;
            done.segments_after += 1;
            done.bytes_after += bytes_after;
        }
        done.records_removed += round.records_removed();
        done.until = round.seen_until();
        let seen = |log: &mut Log| log.compacted_until(round.seen_until(), truncations);
        log.with_log(seen).filter(|seen| *seen).ok_or(CompactionError::Changed)?;
        if round.seen_until() >= until {
            return Ok(done);
        }
    }
}

/// What one round of compaction works on, as it was when it began.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) dir: PathBuf,
    /// Open, so that it can be synced whatever its name is by then.
    folder: Arc<File>,
    pub(crate) config: Arc<TopicConfig>,
    /// Sealed segments, from the oldest one on.
    pub(crate) sources: Vec<Source>,
    pub(crate) first_dirty: Offset,
    pub(crate) until: Offset,
    /// The last offsets of the batches that are remembered of producers.
    pub(crate) remembered: HashSet<Offset>,
    pub(crate) now_ms: i64,
    truncations: u32,
}

impl Log {
    /// Compaction has seen everything below; to be checkpointed. What is not known to be seen is compacted again.
    pub fn first_dirty(&self) -> Offset {
        self.first_dirty
    }

    /// As the checkpoint has it, when the log was opened. One above the log's end is of another log.
    pub fn set_first_dirty(&mut self, checkpointed: Offset) {
        self.first_dirty = if checkpointed > self.end { self.segments[0].base } else { checkpointed };
    }

    /// Seals the active segment of a compacted topic once it is old (`segment.ms`, `max.compaction.lag.ms`): until then
    /// nothing in it is compacted, and an append that would do it may never come. Whether it did.
    pub fn roll_for_compaction(&mut self, now_ms: i64) -> Result<bool, LogError> {
        let active = self.active();
        let began_ms = active.first_timestamp.filter(|first| (0..=now_ms).contains(first));
        let age_ms = now_ms.saturating_sub(began_ms.unwrap_or(active.created_ms));
        let config = &self.config;
        if !config.cleanup_policy.compact || active.size == 0 || age_ms <= config.segment_age_ms_max() {
            return Ok(false);
        }
        self.roll(now_ms)?;
        Ok(true)
    }

    /// How much compaction has to do below `upper`; `None` if there is nothing, or the topic is not compacted.
    pub fn dirtiness(&mut self, upper: Offset, now_ms: i64) -> Result<Option<Dirtiness>, LogError> {
        if !self.config.cleanup_policy.compact {
            return Ok(None);
        }
        let (first, until) = self.cleanable(upper, now_ms)?;
        let bytes = |of: std::ops::Range<usize>| self.segments[of].iter().map(|s| u64::from(s.size)).sum();
        let (dirty_bytes, bytes) = (bytes(first..until), bytes(0..until));
        if dirty_bytes == 0 {
            return Ok(None);
        }
        let is_overdue = self.is_overdue(first..until, now_ms)?;
        Ok(Some(Dirtiness { dirty_bytes, bytes, is_overdue, until: self.segments[until].base }))
    }

    /// Compacts this log; see [`compact`]. For those who share it with nobody.
    pub fn compact(
        &mut self,
        upper: Offset,
        now_ms: i64,
        limits: CompactionLimits,
    ) -> Result<Compacted, CompactionError> {
        struct Own<'l>(RefCell<&'l mut Log>);
        impl SharedLog for Own<'_> {
            fn with_log<T>(&self, keep: impl FnOnce(&mut Log) -> T) -> Option<T> {
                Some(keep(&mut self.0.borrow_mut()))
            }
        }
        compact(&Own(RefCell::new(self)), upper, now_ms, limits, &mut |_| true)
    }

    fn plan(&mut self, upper: Offset, now_ms: i64) -> Result<Option<Plan>, LogError> {
        let (first, until) = self.cleanable(upper, now_ms)?;
        if first >= until || !self.config.cleanup_policy.compact {
            return Ok(None);
        }
        let source = |index: usize| {
            let (base, size) = (self.segments[index].base, self.segments[index].size);
            Source { base, size, next_base: self.next_base(index) }
        };
        // All that is remembered, not only the last: a replica that fetches the compacted log tells duplicates, too.
        let mut remembered = HashSet::new();
        for (_, producer) in self.producers.iter() {
            remembered.extend(producer.batches().iter().map(|batch| batch.last_offset));
        }
        Ok(Some(Plan {
            dir: self.dir.clone(),
            folder: Arc::new(File::open(&self.dir).at(&self.dir)?),
            config: self.config.clone(),
            sources: (0..until).map(source).collect(),
            first_dirty: self.first_dirty.max(self.segments[0].base),
            until: self.segments[until].base,
            remembered,
            now_ms,
            truncations: self.dirt.truncations,
        }))
    }

    /// The first dirty segment, and the first one that must not be compacted: active, above `upper` or too young.
    fn cleanable(&mut self, upper: Offset, now_ms: i64) -> Result<(usize, usize), LogError> {
        let first = self.segment_of(self.first_dirty);
        let mut until = first;
        while !self.is_active(until) && self.next_base(until) <= upper && !self.is_young(until, now_ms)? {
            until += 1;
        }
        Ok((first, until))
    }

    fn is_young(&mut self, index: usize, now_ms: i64) -> Result<bool, LogError> {
        let lag_ms = self.config.min_compaction_lag_ms;
        Ok(lag_ms > 0 && now_ms.saturating_sub(self.newest_ms(index, now_ms)?) < lag_ms)
    }

    fn is_overdue(&self, dirty: std::ops::Range<usize>, now_ms: i64) -> Result<bool, LogError> {
        let lag_ms = self.config.max_compaction_lag_ms;
        if lag_ms == i64::MAX {
            return Ok(false);
        }
        for segment in &self.segments[dirty] {
            let (path, file) = (segment.log_path(&self.dir), segment.log_file(&self.dir)?);
            let first = HeaderWalk::new(&file, 0, segment.size).next();
            let first = first.map_err(|error| error.into_log_error(&path))?.map(|f| f.header.max_timestamp);
            let first_ms = match first.filter(|first| (0..=now_ms).contains(first)) {
                Some(first) => first,
                None => segment.modified_ms(&self.dir)?,
            };
            if now_ms.saturating_sub(first_ms) > lag_ms {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes note that compaction has seen everything below `offset`, unless the log was truncated meanwhile.
    fn compacted_until(&mut self, offset: Offset, truncations: u32) -> bool {
        let unchanged = truncations == self.dirt.truncations;
        if unchanged {
            self.first_dirty = self.first_dirty.max(offset);
        }
        unchanged
    }
}

use std::{fs, path::PathBuf};

use domain::Offset;

use crate::{
    Log, LogError, crashsafe,
    error::At,
    producer_snapshot,
    segment::{DELETED, INDEX, LOG, TIME_INDEX, file_path},
};

/// What retention did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retained {
    /// Segments that went, and their bytes.
    pub segments: usize,
    pub bytes: u64,
    /// The log's start now, to be checkpointed.
    pub log_start: Offset,
}

/// A segment that is out of the log; its files are renamed and wait for their removal.
#[derive(Debug)]
pub(crate) struct DeletedSegment {
    pub(crate) base: Offset,
    pub(crate) due_ms: i64,
}

impl Log {
    /// Moves the log's start up to `offset` (Kafka's DeleteRecords), never down and never past the end; returns it.
    /// Segments that lie below it as a whole go with the next [`Log::apply_retention`].
    pub fn advance_start(&mut self, offset: Offset) -> Offset {
        self.start = offset.min(self.end).max(self.start);
        self.dirt.epochs |= self.epochs.truncate_from_start(self.start);
        self.start
    }

    /// Takes out of the log, oldest first, the segments that lie below its start, are too old (`retention.ms`, by
    /// their newest record) or too many (`retention.bytes`); none that reaches the high watermark. If even the active
    /// one is due, a new one is begun. A topic that is only compacted keeps its segments.
    pub fn apply_retention(&mut self, now_ms: i64, high_watermark: Offset) -> Result<Retained, LogError> {
        let due = self.due_segments(now_ms, high_watermark)?;
        self.remove_oldest(due, now_ms)
    }

    /// Follows the leader, whose log starts at `leader_start` now: moves the start up as [`Log::advance_start`] does, and
    /// takes the segments that lie below it as a whole out of the log at once. The active one stays.
    pub fn follow_start(&mut self, leader_start: Offset, now_ms: i64) -> Result<Retained, LogError> {
        self.advance_start(leader_start);
        let is_below_start = |index: &usize| self.next_base(*index) <= self.start;
        let due = (0..self.segments.len() - 1).take_while(is_below_start).count();
        self.remove_oldest(due, now_ms)
    }

    /// Takes the oldest segments out of the log; if these are all, a new one is begun.
    fn remove_oldest(&mut self, due: usize, now_ms: i64) -> Result<Retained, LogError> {
        let mut retained = Retained { log_start: self.start, ..Retained::default() };
        if due == 0 {
            return Ok(retained);
        }
        if due == self.segments.len() {
            self.roll(now_ms)?;
            // The new segment's name remembers the log's end: it must be there before the others go.
            crashsafe::sync_dir(&self.dir).at(&self.dir)?;
        }
        for _ in 0..due {
            let segment = &self.segments[0];
            let (base, size) = (segment.base, segment.size);
            self.rename_deleted(base)?;
            self.segments.remove(0);
            let due_ms = now_ms.saturating_add(self.config.file_delete_delay_ms);
            self.deleted.push(DeletedSegment { base, due_ms });
            self.dirt.folder = true;
            retained.segments += 1;
            retained.bytes += u64::from(size);
        }
        retained.log_start = self.advance_start(self.segments[0].base);
        self.recovery_point = self.recovery_point.max(self.segments[0].base);
        Ok(retained)
    }

    /// How many of the oldest segments go.
    fn due_segments(&mut self, now_ms: i64, high_watermark: Offset) -> Result<usize, LogError> {
        let policy = self.config.cleanup_policy;
        let mut excess = match self.config.retention_bytes.filter(|_| policy.delete) {
            Some(limit) => self.size_bytes().saturating_sub(limit as u64),
            None => 0,
        };
        let mut due = 0;
        while due < self.segments.len() {
            let (size, next_base) = (self.segments[due].size, self.next_base(due));
            if next_base > high_watermark || (size == 0 && self.is_active(due)) {
                break;
            }
            let is_below_start = next_base <= self.start && !self.is_active(due);
            let is_too_much = excess > 0 && excess >= u64::from(size);
            if !(is_below_start || is_too_much || (policy.delete && self.is_expired(due, now_ms)?)) {
                break;
            }
            excess = excess.saturating_sub(size.into());
            due += 1;
        }
        Ok(due)
    }

    /// A segment is as old as its newest record. A record from the future, or without a time, would keep it for good:
    /// then the time of the file's last write counts.
    fn is_expired(&mut self, index: usize, now_ms: i64) -> Result<bool, LogError> {
        match self.config.retention_ms {
            Some(retention_ms) => Ok(now_ms.saturating_sub(self.newest_ms(index, now_ms)?) > retention_ms),
            None => Ok(false),
        }
    }

    /// When a segment's newest record was made, or else when the file was last written.
    pub(crate) fn newest_ms(&mut self, index: usize, now_ms: i64) -> Result<i64, LogError> {
        match self.newest_of(index)?.map(|newest| newest.timestamp).filter(|newest| *newest <= now_ms) {
            Some(newest) => Ok(newest),
            None => self.segments[index].modified_ms(&self.dir),
        }
    }

    /// Removes the files of segments that were deleted `file.delete.delay.ms` ago; how many segments.
    pub fn remove_deleted(&mut self, now_ms: i64) -> Result<usize, LogError> {
        let mut removed = 0;
        while let Some(first) = self.deleted.first().filter(|first| first.due_ms <= now_ms) {
            for suffix in [LOG, INDEX, TIME_INDEX] {
                let path = deleted_path(self, first.base, suffix);
                crashsafe::remove_if_there(&path).at(&path)?;
            }
            self.deleted.remove(0);
            removed += 1;
        }
        Ok(removed)
    }

    /// Whether [`Log::remove_deleted`] has, or will have, something to do.
    pub fn has_deleted(&self) -> bool {
        !self.deleted.is_empty()
    }

    pub(crate) fn rename_deleted(&self, base: Offset) -> Result<(), LogError> {
        for suffix in [LOG, INDEX, TIME_INDEX] {
            let from = file_path(&self.dir, base, suffix);
            match fs::rename(&from, deleted_path(self, base, suffix)) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                other => other.at(&from)?,
            }
        }
        producer_snapshot::remove(&self.dir, base).at(&self.dir)
    }
}

fn deleted_path(log: &Log, base: Offset, suffix: &str) -> PathBuf {
    file_path(&log.dir, base, &format!("{suffix}.{DELETED}"))
}

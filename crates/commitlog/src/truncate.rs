use std::{collections::BTreeSet, fs};

use domain::{LeaderEpoch, Offset};
use replica::EpochCache;

use crate::{
    Log, LogError, crashsafe,
    error::At,
    producer_snapshot,
    recovery::StoredIndexes,
    removed_tombstones::RemovedTombstones,
    segment::{SNAPSHOT, Segment, parse_file_name},
};

impl Log {
    /// Cuts everything at and above `offset`, as a follower does whose log left the leader's. A batch that holds the
    /// offset goes as a whole, so the end may come to lie below it. Epochs that start at or above it are forgotten even
    /// if no record is cut (KAFKA-10706). Below the log's start it empties the log and begins anew at `offset`.
    ///
    /// Returns the new log end: not in a gap that compaction left, but where the last batch before it ends. A recovery
    /// point above that must be out of its checkpoint *before*: a crash afterwards would look like lost records
    /// ([`LogError::Shortened`]), or have unflushed ones trusted.
    pub fn truncate_to(&mut self, offset: Offset) -> Result<Offset, LogError> {
        if offset < self.segments[0].base {
            self.begin_anew_at(offset, None)?;
            return Ok(self.end);
        }
        let mut forgotten_from = offset;
        if offset < self.end {
            self.cut_dirty_tail()?;
            self.cut_at(offset)?;
            forgotten_from = self.end;
        }
        if self.epochs.truncate_from_end(forgotten_from) {
            self.rewrite_epochs()?;
        }
        self.start = self.start.min(self.end);
        self.first_dirty = self.first_dirty.min(self.end);
        self.removed_tombstones.truncate_to(self.end);
        Ok(self.end)
    }

    fn cut_at(&mut self, offset: Offset) -> Result<(), LogError> {
        // At a segment's base the segment itself stays, empty: its name remembers the end.
        let index = self.segment_of(offset);
        let was_active = self.is_active(index);
        let position = self.position_of(index, offset)?.unwrap_or(self.segments[index].size);
        self.dirt.truncations = self.dirt.truncations.wrapping_add(1);
        (self.dirt.folder, self.dirt.contents) = (true, true);
        self.recovery_point = self.recovery_point.min(offset);
        self.boundaries.clear();
        for segment in self.segments.drain(index + 1..).rev() {
            segment.remove_indexes(&self.dir)?;
            let path = segment.log_path(&self.dir);
            crashsafe::remove_if_there(&path).at(&path)?;
        }
        let stored = match was_active {
            true => Some((self.tail.encode_offsets(), self.tail.encode_times())),
            false => self.stored_indexes(index)?,
        };
        let segment = &mut self.segments[index];
        segment.remove_indexes(&self.dir)?;
        if segment.has_file {
            let path = segment.log_path(&self.dir);
            segment.log_file(&self.dir)?.set_len(position.into()).at(&path)?;
        }
        (segment.size, segment.newest) = (position, None);
        self.end = self.derive_tail(stored)?;
        self.recovery_point = self.recovery_point.min(self.end);
        // A crash before this is fine: opening the log removes snapshots above its end, too.
        for offset in self.snapshots_on_disk()?.range(self.end.plus(1)..) {
            producer_snapshot::remove(&self.dir, *offset).at(&self.dir)?;
        }
        if self.producers.truncate_to(self.end) {
            let snapshots = self.snapshots_on_disk()?;
            let from = self.load_snapshot(&snapshots)?;
            self.replay(from, self.end)?;
        }
        Ok(())
    }

    /// Derives the indexes of the active segment from its log, as far as the stored ones do not tell them. Returns where
    /// its last batch ends, or its base.
    pub(crate) fn derive_tail(&mut self, stored: Option<StoredIndexes>) -> Result<Offset, LogError> {
        let index = self.segments.len() - 1;
        let scanned = self.scan_segment(index, stored, Offset(i64::MAX), LeaderEpoch::UNKNOWN)?;
        if let Some(stop) = scanned.stop {
            let path = self.segments[index].log_path(&self.dir);
            return Err(LogError::Corrupt {
                path,
                position: scanned.good.into(),
                reason: stop.reason.to_string(),
            });
        }
        self.tail = scanned.tail;
        self.segments[index].first_timestamp = scanned.first_timestamp;
        Ok(scanned.next_offset)
    }

    pub(crate) fn snapshots_on_disk(&self) -> Result<BTreeSet<Offset>, LogError> {
        let mut found = BTreeSet::new();
        for entry in fs::read_dir(&self.dir).at(&self.dir)? {
            let name = entry.at(&self.dir)?.file_name();
            if let Some((offset, SNAPSHOT)) = name.to_str().and_then(parse_file_name) {
                found.insert(offset);
            }
        }
        Ok(found)
    }

    /// Removes everything and begins at an offset: for a follower whose log ends below the leader's log start, so that it
    /// fetches again from there. `before` is the epoch of the record before that offset, if the leader knows it. A crash on the way leaves some of the old records, and they lie below the leader's start.
    pub fn begin_anew_at(&mut self, offset: Offset, before: Option<LeaderEpoch>) -> Result<(), LogError> {
        self.dirt.truncations = self.dirt.truncations.wrapping_add(1);
        (self.dirt.folder, self.dirt.contents, self.dirt.tail) = (true, true, false);
        // First the file that remembers the new end: a crash in between must not leave an empty folder.
        let mut fresh = Segment::new(offset, &self.files, 0);
        let is_reused = self.segments.iter().any(|segment| segment.base == offset);
        if !is_reused {
            fresh.log_file(&self.dir)?;
            fresh.has_file = true;
            crashsafe::sync_dir(&self.dir).at(&self.dir)?;
        }
        for snapshot in self.snapshots_on_disk()? {
            producer_snapshot::remove(&self.dir, snapshot).at(&self.dir)?;
        }
        for segment in std::mem::take(&mut self.segments) {
            segment.remove_indexes(&self.dir)?;
            let path = segment.log_path(&self.dir);
            if segment.base == offset {
                let file = segment.log_file(&self.dir)?;
                file.set_len(0).at(&path)?;
                fresh.has_file = true;
            } else {
                crashsafe::remove_if_there(&path).at(&path)?;
            }
        }
        self.segments = vec![fresh];
        self.tail = Default::default();
        (self.start, self.end, self.recovery_point) = (offset, offset, offset);
        self.first_dirty = offset;
        self.removed_tombstones = RemovedTombstones::changed();
        self.producers.clear();
        self.epochs = EpochCache::beginning_at(offset, before);
        self.dirt.epochs |= before.is_some();
        self.boundaries.clear();
        self.rewrite_epochs()
    }
}

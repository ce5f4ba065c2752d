use std::{collections::BTreeSet, fs};

use domain::{LeaderEpoch, Offset};
use records::BatchError;
use replica::EpochCache;

use crate::{
    Log, LogError, OpenMode, checkpoint, crashsafe,
    error::At,
    index::{self, TailIndex, relative},
    producer_snapshot,
    segment::{INDEX, Segment, TIME_INDEX, file_path},
    walk::{HeaderWalk, scan},
};

/// What opening a log had to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Batches whose CRC was checked.
    pub batches_scanned: u64,
    /// Bytes that were cut off, with those of segments behind the cut.
    pub truncated_bytes: u64,
    pub torn: Torn,
    /// Segments whose indexes were derived anew.
    pub indexes_rebuilt: usize,
}

/// How the end of the log looked; the worst is the largest.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Torn {
    #[default]
    No,
    /// The last thing in the log was the beginning of one batch: a crash during an append, no loss of what was there.
    IncompleteFinalBatch,
    /// Something else: bytes were damaged, or more followed the cut.
    Damaged { reason: String },
}

/// The content of a segment's `.index` and `.timeindex`.
pub(crate) type StoredIndexes = (Vec<u8>, Vec<u8>);

/// What a scan of a segment found out.
pub(crate) struct Scanned {
    pub(crate) tail: TailIndex,
    pub(crate) next_offset: Offset,
    pub(crate) first_timestamp: Option<i64>,
    /// The leader epoch of the last batch that was checked, or what it went on from.
    epoch: LeaderEpoch,
    pub(crate) good: u32,
    pub(crate) stop: Option<crate::walk::Stop>,
    checked: u64,
    rebuilt: bool,
}

impl Log {
    /// Finds the log's end and the active segment's indexes; checks and cuts what lies above the recovery point.
    pub(crate) fn recover_segments(
        &mut self,
        mode: OpenMode,
        log_start: Offset,
        recovery: &mut Recovery,
    ) -> Result<(), LogError> {
        let recovery_point = match mode {
            OpenMode::Clean => None,
            OpenMode::Recover { recovery_point } => Some(recovery_point.max(log_start)),
        };
        let checked_from = recovery_point.unwrap_or(Offset(i64::MAX));
        let (mut index, mut epoch) = (0, LeaderEpoch::UNKNOWN);
        loop {
            let is_last = self.is_active(index);
            if !is_last && self.next_base(index) <= checked_from {
                self.trust_sealed(index, mode, recovery)?;
                index += 1;
                continue;
            }
            let scanned = self.scan_segment(index, self.stored_indexes(index)?, checked_from, epoch)?;
            epoch = scanned.epoch;
            recovery.batches_scanned += scanned.checked;
            recovery.indexes_rebuilt += usize::from(scanned.rebuilt);
            if let Some(stop) = &scanned.stop {
                if scanned.next_offset < checked_from {
                    let path = self.segments[index].log_path(&self.dir);
                    let reason = stop.reason.to_string();
                    return Err(LogError::Corrupt { path, position: scanned.good.into(), reason });
                }
                recovery.torn = match stop.is_incomplete && is_last {
                    true => Torn::IncompleteFinalBatch,
                    false => Torn::Damaged { reason: stop.reason.to_string() },
                };
                self.cut_behind(index, scanned.good, recovery)?;
            }
            if self.is_active(index) {
                self.end = scanned.next_offset;
                self.segments[index].first_timestamp = scanned.first_timestamp;
                self.tail = scanned.tail;
                break;
            }
            let (offsets, times) = (scanned.tail.encode_offsets(), scanned.tail.encode_times());
            self.segments[index].write_indexes(&self.dir, &offsets, &times)?;
            self.segments[index].newest = Some(scanned.tail.newest);
            self.dirt.folder = true;
            index += 1;
        }
        match recovery_point {
            Some(recovery_point) if self.end.max(log_start) < recovery_point => {
                Err(LogError::Shortened { dir: self.dir.clone(), end: self.end, recovery_point })
            }
            _ => Ok(()),
        }
    }

    /// A sealed segment below the recovery point: its log is right, its indexes must look right.
    fn trust_sealed(
        &mut self,
        index: usize,
        mode: OpenMode,
        recovery: &mut Recovery,
    ) -> Result<(), LogError> {
        if mode == OpenMode::Clean {
            return Ok(());
        }
        let (segment, interval) = (&self.segments[index], self.config.index_interval_bytes);
        let sane = match (segment.index_file(&self.dir), segment.time_index_file(&self.dir)) {
            (Ok(offsets), Ok(times)) => {
                index::look_sane(&offsets, &times, segment.size, interval).unwrap_or(false)
            }
            _ => false,
        };
        if !sane {
            self.rebuild_sealed_index(index)?;
            recovery.indexes_rebuilt += 1;
        }
        Ok(())
    }

    /// The content of a segment's index files, if both are there.
    pub(crate) fn stored_indexes(&self, index: usize) -> Result<Option<StoredIndexes>, LogError> {
        let base = self.segments[index].base;
        let stored = |suffix| crashsafe::read_if_there(&file_path(&self.dir, base, suffix)).at(&self.dir);
        Ok(stored(INDEX)?.zip(stored(TIME_INDEX)?))
    }

    /// Scans what the stored indexes of a segment do not tell, and everything from `checked_from` on with its CRC. `after` is
    /// the leader epoch that it goes on from.
    pub(crate) fn scan_segment(
        &self,
        index: usize,
        stored: Option<StoredIndexes>,
        checked_from: Offset,
        after: LeaderEpoch,
    ) -> Result<Scanned, LogError> {
        let segment = &self.segments[index];
        let below = relative(checked_from, segment.base);
        let indexed =
            stored.and_then(|(offsets, times)| TailIndex::decode(&offsets, &times, segment.size, below));
        let mut rebuilt = indexed.is_none() && segment.size > 0;
        if let Some(tail) = indexed.filter(|tail| !tail.offsets.is_empty()) {
            let scanned = self.scan_from(segment, tail, checked_from, after)?;
            if scanned.stop.is_none() || scanned.next_offset >= checked_from {
                return Ok(scanned);
            }
            // An index that leads to no batch misleads; without it the log decides.
            rebuilt = true;
        }
        let scanned = self.scan_from(segment, TailIndex::default(), checked_from, after)?;
        Ok(Scanned { rebuilt, ..scanned })
    }

    fn scan_from(
        &self,
        segment: &Segment,
        mut tail: TailIndex,
        checked_from: Offset,
        after: LeaderEpoch,
    ) -> Result<Scanned, LogError> {
        if segment.size == 0 {
            let (next_offset, tail) = (segment.base, TailIndex::default());
            return Ok(Scanned {
                tail,
                next_offset,
                first_timestamp: None,
                epoch: after,
                good: 0,
                stop: None,
                checked: 0,
                rebuilt: false,
            });
        }
        let path = segment.log_path(&self.dir);
        let file = segment.log_file(&self.dir)?;
        let entry = tail.offsets.last().copied();
        let from = entry.map_or(0, |entry| entry.position);
        let mut expected_last = entry.map(|entry| segment.base.plus(entry.offset.into()));
        let (mut next_offset, mut epoch) = (segment.base, after);
        let (mut checked, interval) = (0, self.config.index_interval_bytes);
        let visit = |found: &crate::walk::Found| {
            let header = &found.header;
            let last = header.last_offset();
            let fits = header.base_offset >= next_offset
                && last.0 - segment.base.0 <= i64::from(i32::MAX)
                && expected_last.take().is_none_or(|expected| expected == last);
            if !fits {
                return Err(BatchError::InvalidField { field: "base offset", value: header.base_offset.0 });
            }
            // No CRC covers it, but it never falls. A scrub looks at what is trusted.
            let is_checked = header.next_offset() > checked_from;
            if is_checked && header.leader_epoch < epoch {
                let value = header.leader_epoch.0.into();
                return Err(BatchError::InvalidField { field: "leader epoch", value });
            }
            if is_checked {
                epoch = header.leader_epoch;
            }
            tail.note(header, segment.base, found.position, interval);
            next_offset = header.next_offset();
            checked += u64::from(is_checked);
            Ok(())
        };
        let (good, stop) = scan(&file, &path, (from, segment.size), checked_from, visit)?;
        let first = HeaderWalk::new(&file, 0, segment.size).next().ok().flatten();
        let first_timestamp = first.filter(|_| good > 0).map(|found| found.header.max_timestamp);
        Ok(Scanned { tail, next_offset, first_timestamp, epoch, good, stop, checked, rebuilt: false })
    }

    /// Cuts a segment at `good` and removes those behind it.
    fn cut_behind(&mut self, index: usize, good: u32, recovery: &mut Recovery) -> Result<(), LogError> {
        for segment in self.segments.drain(index + 1..) {
            recovery.truncated_bytes += u64::from(segment.size);
            segment.remove_indexes(&self.dir)?;
            let path = segment.log_path(&self.dir);
            fs::remove_file(&path).at(&path)?;
        }
        let segment = &mut self.segments[index];
        recovery.truncated_bytes += u64::from(segment.size - good);
        segment.size = good;
        let path = segment.log_path(&self.dir);
        tracing::warn!(path = %path.display(), at = good, bytes = recovery.truncated_bytes, "cut the log's torn tail");
        segment.log_file(&self.dir)?.set_len(good.into()).at(&path)?;
        segment.remove_indexes(&self.dir)?;
        (self.dirt.folder, self.dirt.contents) = (true, true);
        Ok(())
    }

    /// Restores epochs and producers: from their files, and from the batches that those do not cover.
    pub(crate) fn restore(
        &mut self,
        snapshots: BTreeSet<Offset>,
        stored_epochs: Option<EpochCache>,
    ) -> Result<(), LogError> {
        // Snapshots from before the cut may count batches that are gone.
        for offset in snapshots.range(self.end.plus(1)..) {
            producer_snapshot::remove(&self.dir, *offset).at(&self.dir)?;
        }
        let epochs_from = match stored_epochs {
            Some(stored) => {
                self.epochs = stored;
                // One that starts at the log's end is an epoch without records, and true.
                let cut = self.epochs.truncate_from_end(self.end.plus(1));
                let moved = self.epochs.truncate_from_start(self.start);
                self.dirt.epochs = cut || moved;
                self.recovery_point
            }
            None => self.segments[0].base,
        };
        let producers_from = self.load_snapshot(&snapshots)?;
        self.replay(producers_from, epochs_from)?;
        self.remove_stray_snapshots(&snapshots)
    }

    /// Loads the newest snapshot that can be read and is not above the log's end; returns where it stands.
    pub(crate) fn load_snapshot(&mut self, snapshots: &BTreeSet<Offset>) -> Result<Offset, LogError> {
        self.producers.clear();
        for offset in snapshots.range(..=self.end).rev() {
            if let Some(producers) = producer_snapshot::read(&self.dir, *offset).at(&self.dir)? {
                self.producers = producers;
                return Ok(*offset);
            }
        }
        Ok(self.segments[0].base)
    }

    /// Takes note of the batches from both offsets on.
    pub(crate) fn replay(&mut self, producers_from: Offset, epochs_from: Offset) -> Result<(), LogError> {
        let from = producers_from.min(epochs_from).max(self.segments[0].base);
        let mut expected = from;
        // Below it the epochs are trusted; one that is older is damaged, and a scrub's to find.
        let oldest = self.epochs.before(epochs_from);
        for index in self.segment_of(from)..self.segments.len() {
            if from >= self.end {
                break;
            }
            let Some(position) = self.position_of(index, from)? else {
                continue;
            };
            let segment = &self.segments[index];
            // Nobody can say when a batch was appended; not later than its file was written.
            let seen_ms = segment.modified_ms(&self.dir)?;
            let (path, file) = (segment.log_path(&self.dir), segment.log_file(&self.dir)?);
            let mut walk = HeaderWalk::new(&file, position, segment.size);
            while let Some(found) = walk.next().map_err(|error| error.into_log_error(&path))? {
                let header = &found.header;
                if header.base_offset >= epochs_from {
                    self.removed_tombstones.note_gaps(expected, header);
                }
                expected = header.next_offset();
                // The file may be older than the log, and speak of what was cut since.
                if header.base_offset >= epochs_from
                    && oldest.is_none_or(|oldest| oldest <= header.leader_epoch)
                {
                    self.dirt.epochs |= self.epochs.correct(header.leader_epoch, header.base_offset);
                }
                if header.base_offset >= producers_from {
                    self.producers.record(header, seen_ms);
                }
            }
        }
        Ok(())
    }

    /// Keeps the snapshots where segments begin, and the newest.
    fn remove_stray_snapshots(&self, snapshots: &BTreeSet<Offset>) -> Result<(), LogError> {
        let newest = snapshots.range(..=self.end).next_back().copied();
        for offset in snapshots {
            let begins_segment = self.segments.binary_search_by_key(offset, |segment| segment.base).is_ok();
            if !begins_segment && Some(*offset) != newest {
                producer_snapshot::remove(&self.dir, *offset).at(&self.dir)?;
            }
        }
        Ok(())
    }

    /// Writes the epoch checkpoint at once, because what stands in the file is wrong. On a full disk the file goes: the next
    /// flush makes it anew, and a start before that derives the epochs from the log.
    pub(crate) fn rewrite_epochs(&mut self) -> Result<(), LogError> {
        let path = self.dir.join(checkpoint::EPOCHS_FILE_NAME);
        self.dirt.epochs |= path.exists();
        match self.write_epochs() {
            Err(error) if error.is_no_space() => {
                crashsafe::remove_if_there(&path).at(&path)?;
                self.dirt.folder = true;
                Ok(())
            }
            written => written,
        }
    }
}

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use domain::{LeaderEpoch, Offset, TopicConfig, TopicId};
use records::BatchHeader;
use replica::{EpochCache, Producers};

use crate::{
    FileCache, LogError,
    boundaries::Boundaries,
    checkpoint,
    crashsafe::{self, Durability},
    error::At,
    index::{self, OffsetEntry, TailIndex, TimeEntry, relative},
    partition_metadata, producer_snapshot,
    removed_tombstones::RemovedTombstones,
    retention::DeletedSegment,
    segment::Segment,
    walk::{HeaderWalk, WalkError, scan},
};

/// One partition's log: its segments, and what follows from them.
///
/// Made to be used from behind a mutex. It has no thread, no timer and, while idle, no open file.
#[derive(Debug)]
pub struct Log {
    pub(crate) dir: PathBuf,
    topic_id: TopicId,
    pub(crate) config: Arc<TopicConfig>,
    pub(crate) files: Arc<FileCache>,
    /// Oldest first and never empty; the last one is active, the others are sealed.
    pub(crate) segments: Vec<Segment>,
    /// The indexes of the active segment.
    pub(crate) tail: TailIndex,
    pub(crate) start: Offset,
    pub(crate) end: Offset,
    /// Everything below it was flushed.
    pub(crate) recovery_point: Offset,
    pub(crate) producers: Producers,
    pub(crate) epochs: EpochCache,
    pub(crate) boundaries: Boundaries,
    /// Compaction has seen everything below it.
    pub(crate) first_dirty: Offset,
    pub(crate) removed_tombstones: RemovedTombstones,
    /// Segments whose files wait for their removal.
    pub(crate) deleted: Vec<DeletedSegment>,
    pub(crate) dirt: Dirt,
}

/// What is not on disk as it should be.
#[derive(Debug, Default)]
pub(crate) struct Dirt {
    /// The epochs differ from their checkpoint.
    pub(crate) epochs: bool,
    /// The epoch checkpoint was written and not synced.
    pub(crate) epochs_file: bool,
    /// What is said of removed tombstones was written and not synced.
    pub(crate) tombstones_file: bool,
    /// Files were made, renamed or removed since the folder was synced.
    pub(crate) folder: bool,
    /// Bytes of a failed append may stand behind the active segment's end.
    pub(crate) tail: bool,
    /// Appended, rolled or truncated since the log was opened or closed.
    pub(crate) contents: bool,
    /// Counts truncations, so that a flush that began before one does not speak for what came after.
    pub(crate) truncations: u32,
}

impl Log {
    /// Makes the folder of a new partition. Nothing is synced: the first flush does that, and an empty folder that a
    /// power cut takes away can be made again.
    pub fn create(
        dir: PathBuf,
        topic_id: TopicId,
        config: Arc<TopicConfig>,
        files: Arc<FileCache>,
    ) -> Result<Log, LogError> {
        match fs::create_dir(&dir) {
            // A crash may have come between the folder and its files; one with records in it is not taken over.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let holds_records = fs::read_dir(&dir).at(&dir)?.any(|entry| {
                    entry.is_ok_and(|entry| entry.path().extension().is_some_and(|suffix| suffix == "log"))
                });
                if holds_records {
                    return Err(error).at(&dir);
                }
            }
            other => other.at(&dir)?,
        }
        partition_metadata::write(&dir, topic_id)?;
        let active = Segment::new(Offset(0), &files, 0);
        let mut log = Self::with_segments(dir, topic_id, config, files, vec![active]);
        log.dirt.folder = true;
        Ok(log)
    }

    pub(crate) fn with_segments(
        dir: PathBuf,
        topic_id: TopicId,
        config: Arc<TopicConfig>,
        files: Arc<FileCache>,
        segments: Vec<Segment>,
    ) -> Log {
        let start = segments[0].base;
        Log {
            dir,
            topic_id,
            config,
            files,
            segments,
            tail: TailIndex::default(),
            start,
            end: start,
            recovery_point: start,
            producers: Producers::new(),
            epochs: EpochCache::new(),
            boundaries: Boundaries::new(),
            first_dirty: start,
            removed_tombstones: RemovedTombstones::default(),
            deleted: Vec::new(),
            dirt: Dirt::default(),
        }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn topic_id(&self) -> TopicId {
        self.topic_id
    }

    pub fn config(&self) -> &Arc<TopicConfig> {
        &self.config
    }

    /// Takes effect with the next append, roll or retention.
    pub fn set_config(&mut self, config: Arc<TopicConfig>) {
        self.config = config;
    }

    /// The first offset that is still wanted.
    pub fn start_offset(&self) -> Offset {
        self.start
    }

    /// The offset that the next record gets.
    pub fn end_offset(&self) -> Offset {
        self.end
    }

    /// Everything below it was flushed; to be checkpointed for recovery.
    pub fn recovery_point(&self) -> Offset {
        self.recovery_point
    }

    /// Bytes of all segments.
    pub fn size_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| u64::from(segment.size)).sum()
    }

    /// How many segments there are, the active one included.
    pub fn segments(&self) -> usize {
        self.segments.len()
    }

    pub fn producers(&self) -> &Producers {
        &self.producers
    }

    /// Forgets producers that were silent for too long; how many.
    pub fn expire_producers(&mut self, now_ms: i64, expiration_ms: i64) -> usize {
        self.producers.expire(now_ms, expiration_ms)
    }

    pub fn epochs(&self) -> &EpochCache {
        &self.epochs
    }

    /// Notes that a leader epoch starts at the log's end: for a new leader, before it appends (KAFKA-7415). It reaches
    /// the disk with the next roll, flush or close; what a crash takes away is an epoch without records.
    pub fn assign_epoch(&mut self, epoch: LeaderEpoch) {
        self.dirt.epochs |= self.epochs.assign(epoch, self.end);
    }

    pub(crate) fn active(&self) -> &Segment {
        &self.segments[self.segments.len() - 1]
    }

    pub(crate) fn active_mut(&mut self) -> &mut Segment {
        let last = self.segments.len() - 1;
        &mut self.segments[last]
    }

    pub(crate) fn is_active(&self, index: usize) -> bool {
        index + 1 == self.segments.len()
    }

    /// The segment that covers an offset.
    pub(crate) fn segment_of(&self, offset: Offset) -> usize {
        self.segments.partition_point(|segment| segment.base <= offset).saturating_sub(1)
    }

    /// The offset at which the segment after this one begins, or would begin.
    pub(crate) fn next_base(&self, index: usize) -> Offset {
        self.segments.get(index + 1).map_or(self.end, |next| next.base)
    }

    /// Begins a new segment if the active one cannot take the batch that comes next.
    pub(crate) fn roll_if_needed(&mut self, header: &BatchHeader, now_ms: i64) -> Result<(), LogError> {
        match self.active().fill().is_full_for(header, &self.config, now_ms) {
            true => self.begin_segment(header.base_offset, now_ms),
            false => Ok(()),
        }
    }

    /// Seals the active segment, if there is anything in it, and begins a new one at the log's end.
    pub fn roll(&mut self, now_ms: i64) -> Result<(), LogError> {
        match self.active().size {
            0 => Ok(()),
            _ => self.begin_segment(self.end, now_ms),
        }
    }

    /// Seals the active segment and begins a new one at `base`, which is not below the log's end and becomes it: nothing
    /// will ever lie between. After an error the active segment goes on.
    fn begin_segment(&mut self, base: Offset, now_ms: i64) -> Result<(), LogError> {
        self.cut_dirty_tail()?;
        if !self.active().has_file {
            self.active().log_file(&self.dir)?;
            self.active_mut().has_file = true;
        }
        self.write_tail_index()?;
        producer_snapshot::write(&self.dir, base, &self.producers).at(&self.dir)?;
        self.write_epochs()?;
        self.removed_tombstones.skip(self.end, base);
        let mut next = Segment::new(base, &self.files, now_ms);
        // Made at once: if the older segments go, this file's name is what remembers the log's end.
        next.log_file(&self.dir)?;
        next.has_file = true;
        let newest = self.tail.newest;
        self.active_mut().newest = Some(newest);
        self.segments.push(next);
        self.tail = TailIndex::default();
        self.end = base;
        (self.dirt.folder, self.dirt.contents) = (true, true);
        Ok(())
    }

    pub(crate) fn write_tail_index(&self) -> Result<(), LogError> {
        self.active().write_indexes(&self.dir, &self.tail.encode_offsets(), &self.tail.encode_times())
    }

    /// Writes the epoch checkpoint if it is not up to date. A flush syncs it.
    pub(crate) fn write_epochs(&mut self) -> Result<(), LogError> {
        if self.dirt.epochs {
            let path = self.dir.join(checkpoint::EPOCHS_FILE_NAME);
            let text = checkpoint::encode_epochs(&self.epochs);
            crashsafe::replace(&path, text.as_bytes(), Durability::Crash).at(&path)?;
            (self.dirt.epochs, self.dirt.epochs_file, self.dirt.folder) = (false, true, true);
        }
        Ok(())
    }

    /// Cuts off what a failed append may have left behind the log's end.
    pub(crate) fn cut_dirty_tail(&mut self) -> Result<(), LogError> {
        if self.dirt.tail {
            let active = self.active();
            let path = active.log_path(&self.dir);
            active.log_file(&self.dir)?.set_len(active.size.into()).at(&path)?;
            self.dirt.tail = false;
        }
        Ok(())
    }

    /// The last entry of a segment's index for which `holds`.
    pub(crate) fn index_floor(
        &mut self,
        index: usize,
        holds: impl Fn(&OffsetEntry) -> bool,
    ) -> Result<Option<OffsetEntry>, LogError> {
        if self.is_active(index) {
            let after = self.tail.offsets.partition_point(holds);
            return Ok(after.checked_sub(1).map(|entry| self.tail.offsets[entry]));
        }
        let file = self.sealed_index(index, Segment::index_file)?;
        let path = || self.segments[index].log_path(&self.dir);
        let found =
            index::last_where(&file, holds).map_err(|source| LogError::Io { path: path(), source })?;
        // An entry that points behind the segment is none.
        Ok(found.filter(|entry| entry.position < self.segments[index].size))
    }

    /// An index file of a sealed segment, rebuilt if it is missing.
    pub(crate) fn sealed_index(
        &mut self,
        index: usize,
        open: impl Fn(&Segment, &Path) -> io::Result<Arc<File>>,
    ) -> Result<Arc<File>, LogError> {
        match open(&self.segments[index], &self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.rebuild_sealed_index(index)?,
            other => return other.at(&self.segments[index].log_path(&self.dir)),
        }
        open(&self.segments[index], &self.dir).at(&self.segments[index].log_path(&self.dir))
    }

    /// Derives the indexes of a sealed segment from its log.
    pub(crate) fn rebuild_sealed_index(&mut self, index: usize) -> Result<(), LogError> {
        let segment = &self.segments[index];
        let path = segment.log_path(&self.dir);
        tracing::warn!(path = %path.display(), "rebuilding the segment's indexes");
        let file = segment.log_file(&self.dir)?;
        let mut tail = TailIndex::default();
        let interval = self.config.index_interval_bytes;
        let (good, stop) = scan(&file, &path, (0, segment.size), Offset(i64::MAX), |found| {
            tail.note(&found.header, segment.base, found.position, interval);
            Ok(())
        })?;
        if let Some(stop) = stop {
            return Err(LogError::Corrupt { path, position: good.into(), reason: stop.reason.to_string() });
        }
        segment.write_indexes(&self.dir, &tail.encode_offsets(), &tail.encode_times())?;
        self.segments[index].newest = Some(tail.newest);
        self.dirt.folder = true;
        Ok(())
    }

    /// The newest timestamp of a segment, if its batches have any.
    pub(crate) fn newest_of(&mut self, index: usize) -> Result<Option<TimeEntry>, LogError> {
        if self.is_active(index) {
            return Ok(self.tail.newest);
        }
        if let Some(known) = self.segments[index].newest {
            return Ok(known);
        }
        let file = self.sealed_index(index, Segment::time_index_file)?;
        let newest = index::last(&file).at(&self.segments[index].log_path(&self.dir))?;
        self.segments[index].newest = Some(newest);
        Ok(newest)
    }

    /// Where the first batch of a segment starts that reaches `offset`; `None` if all end before it.
    pub(crate) fn position_of(&mut self, index: usize, offset: Offset) -> Result<Option<u32>, LogError> {
        let (base, size) = (self.segments[index].base, self.segments[index].size);
        if offset <= base {
            return Ok((size > 0).then_some(0));
        }
        if let Some(position) = self.boundaries.get(offset).filter(|position| *position <= size) {
            return Ok(Some(position).filter(|position| *position < size));
        }
        let wanted = relative(offset, base);
        let hint = self.index_floor(index, |entry| entry.offset <= wanted)?;
        let path = self.segments[index].log_path(&self.dir);
        match self.walk_to(index, hint, offset) {
            // The index misleads; the log decides.
            Err(WalkError::Bad { .. }) if hint.is_some() => {
                self.rebuild_index(index)?;
                self.walk_to(index, None, offset)
            }
            other => other,
        }
        .map_err(|error| error.into_log_error(&path))
    }

    /// Derives a segment's indexes anew.
    pub(crate) fn rebuild_index(&mut self, index: usize) -> Result<(), LogError> {
        match self.is_active(index) {
            true => self.derive_tail(None).map(drop),
            false => self.rebuild_sealed_index(index),
        }
    }

    /// Walks from an index entry, or from the segment's beginning.
    fn walk_to(
        &self,
        index: usize,
        hint: Option<OffsetEntry>,
        offset: Offset,
    ) -> Result<Option<u32>, WalkError> {
        let segment = &self.segments[index];
        let file = segment.log_file(&self.dir).map_err(|error| WalkError::Io(io::Error::other(error)))?;
        let mut walk = HeaderWalk::from_entry(&file, hint, segment.base, segment.size)?;
        while let Some(found) = walk.next()? {
            if found.header.last_offset() >= offset {
                return Ok(Some(found.position));
            }
        }
        Ok(None)
    }
}

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use domain::Offset;
use records::{BatchError, BatchHeader, HEADER_BYTES, Record, check_crc, decode_records, rewritten};

use crate::{
    CompactionError, CompactionLimits, LogError,
    cleaned::{Cleaned, Output},
    compaction::Plan,
    error::At,
    offset_map::OffsetMap,
    segment::{LOG, file_path},
    timestamps::DECOMPRESSED_BYTES_MAX,
    walk::{Found, WalkError},
};

/// A sealed segment as compaction found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) base: Offset,
    pub(crate) size: u32,
    pub(crate) next_base: Offset,
}

/// One round of a compaction: learns the keys of what is dirty, as far as memory goes, and writes the segments below that
/// anew. Touches nothing that is in the log.
pub(crate) struct Round {
    plan: Plan,
    map: OffsetMap,
    /// The map has all keys from the first dirty offset up to here, where a batch begins.
    seen_until: Offset,
    /// The next source to be written anew.
    next: usize,
    records_removed: u64,
}

/// What becomes of a batch.
enum Fate {
    Stays,
    Goes,
    Replaced(Bytes),
}

/// Told of the bytes that were read; false ends the round.
type Pace<'p> = &'p mut dyn FnMut(u64) -> bool;

impl Round {
    /// Learns the keys.
    pub(crate) fn begin(
        plan: Plan,
        limits: CompactionLimits,
        pace: Pace<'_>,
    ) -> Result<Self, CompactionError> {
        let map = OffsetMap::new(limits.map_bytes_max);
        let seen_until = plan.until;
        let mut round = Self { plan, map, seen_until, next: 0, records_removed: 0 };
        round.learn(pace)?;
        Ok(round)
    }

    pub(crate) fn seen_until(&self) -> Offset {
        self.seen_until
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.plan.dir
    }

    pub(crate) fn records_removed(&self) -> u64 {
        self.records_removed
    }

    fn learn(&mut self, pace: Pace<'_>) -> Result<(), CompactionError> {
        let first_dirty = self.plan.first_dirty;
        let dirty = self.plan.sources.iter().filter(|source| source.next_base > first_dirty);
        for source in dirty.copied().collect::<Vec<_>>() {
            let mut reader = Reader::open(&self.plan, source)?;
            while let Some(found) = reader.next()? {
                if found.header.next_offset() <= first_dirty {
                    continue;
                }
                if self.map.is_full() {
                    self.seen_until = found.header.base_offset;
                    return Ok(());
                }
                let batch = reader.read(&found)?;
                for record in reader.records(&found, &batch)?.unwrap_or_default() {
                    if let Some(key) = &record.key {
                        self.map.note(key, record.offset);
                    }
                }
                go_on(pace, &found)?;
            }
        }
        Ok(())
    }

    /// Writes the next segment anew, together with those behind it that fit; `None` when all are done. Those in which
    /// nothing changes are passed over.
    pub(crate) fn next(&mut self, pace: Pace<'_>) -> Result<Option<Cleaned>, CompactionError> {
        while let Some(first) = self.source(self.next) {
            let begin = self.next;
            let mut output = Output::create(&self.plan.dir, first.base, &self.plan.config)?;
            while let Some(source) = self.source(self.next) {
                if self.next > begin && !output.has_room_for(&source) {
                    break;
                }
                self.write_anew(source, &mut output, pace)?;
                self.next += 1;
            }
            let sources = &self.plan.sources[begin..self.next];
            if sources.len() > 1 || output.differs() {
                return Ok(Some(output.finish(sources.to_vec(), self.plan.now_ms)?));
            }
        }
        Ok(None)
    }

    /// A source in which there is something whose key is known.
    fn source(&self, index: usize) -> Option<Source> {
        self.plan.sources.get(index).filter(|source| source.base < self.seen_until).copied()
    }

    fn write_anew(
        &mut self,
        source: Source,
        output: &mut Output,
        pace: Pace<'_>,
    ) -> Result<(), CompactionError> {
        let mut reader = Reader::open(&self.plan, source)?;
        output.is_as_old_as(reader.file.get_ref())?;
        while let Some(found) = reader.next()? {
            let batch = reader.read(&found)?;
            // Nothing may be left behind it: then it tells followers and consumers where the log ends.
            let is_last = found.end() == source.size && source.next_base == self.plan.until;
            match self.fate(&reader, &found, &batch, is_last, output)? {
                Fate::Stays => output.write(&found.header, &batch)?,
                Fate::Goes => output.leave_out(),
                Fate::Replaced(batch) => {
                    let header = BatchHeader::parse(&batch)
                        .map_err(|reason| reader.corrupt(found.position, &reason))?;
                    output.leave_out();
                    output.write(&header, &batch)?;
                }
            }
            go_on(pace, &found)?;
        }
        Ok(())
    }

    fn fate(
        &mut self,
        reader: &Reader,
        found: &Found,
        batch: &Bytes,
        is_last: bool,
        output: &mut Output,
    ) -> Result<Fate, LogError> {
        let header = &found.header;
        let Some(records) = reader.records(found, batch)? else {
            return Ok(Fate::Stays);
        };
        if header.base_offset >= self.seen_until {
            return Ok(Fate::Stays);
        }
        let is_remembered = header.has_producer_id() && self.plan.remembered.contains(&header.last_offset());
        let may_be_empty = is_last || is_remembered;
        let (count, now_ms) = (records.len(), self.plan.now_ms);
        if count == 0 {
            return Ok(if may_be_empty { Fate::Stays } else { Fate::Goes });
        }
        let tombstones_go = header.delete_horizon_ms().is_some_and(|horizon| horizon <= now_ms);
        let mut kept = Vec::with_capacity(count);
        for record in records {
            match (self.is_wanted(&record), &record.value) {
                (false, _) => {}
                (true, None) if tombstones_go => output.tombstone_went(record.offset),
                (true, _) => kept.push(record),
            }
        }
        self.records_removed += (count - kept.len()) as u64;
        // Their time begins now that the records that they delete are gone (KIP-534).
        let begins = header.delete_horizon_ms().is_none() && kept.iter().any(|record| record.value.is_none());
        let horizon = begins.then(|| now_ms.saturating_add(self.plan.config.delete_retention_ms));
        Ok(match kept.is_empty() {
            true if !may_be_empty => Fate::Goes,
            false if kept.len() == count && horizon.is_none() => Fate::Stays,
            _ => Fate::Replaced(rewritten(header, &kept, horizon)),
        })
    }

    fn is_wanted(&self, record: &Record) -> bool {
        record.key.as_ref().is_some_and(|key| self.map.is_last(key, record.offset))
    }
}

fn go_on(pace: Pace<'_>, found: &Found) -> Result<(), CompactionError> {
    match pace(found.header.total_bytes() as u64) {
        true => Ok(()),
        false => Err(CompactionError::Stopped),
    }
}

/// Reads a source's batches, one after the other, past the log's lock and its open files.
struct Reader {
    path: PathBuf,
    file: BufReader<File>,
    /// Where the next batch begins, and where the file's last one ends.
    position: u32,
    size: u32,
    /// Of the last batch that was found.
    head: [u8; HEADER_BYTES],
    unread: usize,
}

const BUFFER_BYTES: usize = 256 * 1024;

impl Reader {
    fn open(plan: &Plan, source: Source) -> Result<Self, CompactionError> {
        let path = file_path(&plan.dir, source.base, LOG);
        let file = match File::open(&path) {
            Ok(file) => BufReader::with_capacity(BUFFER_BYTES, file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(CompactionError::Changed),
            Err(error) => return Err(LogError::Io { path, source: error }.into()),
        };
        Ok(Self { path, file, position: 0, size: source.size, head: [0; HEADER_BYTES], unread: 0 })
    }

    /// The next batch's header; its length is known to be within the file.
    fn next(&mut self) -> Result<Option<Found>, LogError> {
        self.file.seek_relative(self.unread as i64).at(&self.path)?;
        (self.unread, self.head) = (0, [0; HEADER_BYTES]);
        let (position, left) = (self.position, (self.size - self.position) as usize);
        if left == 0 {
            return Ok(None);
        }
        let head = &mut self.head[..left.min(HEADER_BYTES)];
        self.file.read_exact(head).at(&self.path)?;
        let header = BatchHeader::parse(head).and_then(|header| match header.total_bytes() <= left {
            true => Ok(header),
            false => Err(BatchError::Truncated { needed: header.total_bytes(), there: left }),
        });
        let header = header.map_err(|reason| self.corrupt(position, &reason))?;
        self.unread = header.total_bytes() - HEADER_BYTES;
        self.position += header.total_bytes() as u32;
        Ok(Some(Found { position, header }))
    }

    /// The whole of the batch that was found last.
    fn read(&mut self, found: &Found) -> Result<Bytes, LogError> {
        let mut batch = vec![0; found.header.total_bytes()];
        let (head, rest) = batch.split_at_mut(HEADER_BYTES);
        head.copy_from_slice(&self.head);
        self.file.read_exact(rest).at(&self.path)?;
        self.unread = 0;
        Ok(Bytes::from(batch))
    }

    /// The records of a batch that compaction looks into; `None`: it stays as it is. Those are control batches and what
    /// belongs to a transaction, because nobody here knows yet how that ended, and batches that are not damaged and still
    /// cannot be read: nobody looked into them when they were appended.
    fn records(&self, found: &Found, batch: &Bytes) -> Result<Option<Vec<Record>>, LogError> {
        let header = &found.header;
        if header.is_control() || header.is_transactional() {
            check_crc(header, batch).map_err(|reason| self.corrupt(found.position, &reason))?;
            return Ok(None);
        }
        match decode_records(batch, DECOMPRESSED_BYTES_MAX) {
            Ok(records) => Ok(Some(records)),
            Err(reason @ BatchError::CrcMismatch { .. }) => Err(self.corrupt(found.position, &reason)),
            Err(reason) => {
                let (path, base) = (self.path.display(), header.base_offset);
                tracing::debug!(%path, %base, %reason, "a batch cannot be read and stays as it is");
                Ok(None)
            }
        }
    }

    fn corrupt(&self, position: u32, reason: &BatchError) -> LogError {
        WalkError::Bad { position: position.into(), reason: reason.clone() }.into_log_error(&self.path)
    }
}

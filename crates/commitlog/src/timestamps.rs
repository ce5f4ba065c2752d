use std::os::unix::fs::FileExt;

use bytes::Bytes;
use domain::{LeaderEpoch, Offset};
use records::decode_records;

use crate::{
    Log, LogError,
    error::At,
    index::{self, TimeEntry},
    segment::Segment,
    walk::{Found, HeaderWalk},
};

/// A record found by its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampOffset {
    pub timestamp: i64,
    pub offset: Offset,
    pub leader_epoch: LeaderEpoch,
}

/// What one batch may decompress to while its records are looked at.
pub(crate) const DECOMPRESSED_BYTES_MAX: usize = 128 * 1024 * 1024;

impl Log {
    /// The first record, in the order of offsets, that is not older than `timestamp`. It may lie above the high
    /// watermark: the caller knows that.
    pub fn offset_for_timestamp(&mut self, timestamp: i64) -> Result<Option<TimestampOffset>, LogError> {
        let timestamp = timestamp.max(0);
        for index in self.segment_of(self.start)..self.segments.len() {
            if self.newest_of(index)?.is_none_or(|newest| newest.timestamp < timestamp) {
                continue;
            }
            // Everything up to this entry's offset is older.
            let floor = self.time_floor(index, timestamp)?;
            let from = floor.map_or(self.segments[index].base, |entry| {
                self.segments[index].base.plus(i64::from(entry.offset) + 1)
            });
            if let Some(found) = self.search(index, from.max(self.start), timestamp)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The first record with the largest timestamp of the log (ListOffsets with −3).
    pub fn max_timestamp_offset(&mut self) -> Result<Option<TimestampOffset>, LogError> {
        let mut newest = None;
        for index in self.segment_of(self.start)..self.segments.len() {
            newest = newest.max(self.newest_of(index)?.map(|entry| entry.timestamp));
        }
        match newest {
            Some(timestamp) => self.offset_for_timestamp(timestamp),
            None => Ok(None),
        }
    }

    /// The last entry of a segment's time index that is older than `timestamp`.
    fn time_floor(&mut self, index: usize, timestamp: i64) -> Result<Option<TimeEntry>, LogError> {
        let is_older = |entry: &TimeEntry| entry.timestamp < timestamp;
        if self.is_active(index) {
            let after = self.tail.times.partition_point(is_older);
            return Ok(after.checked_sub(1).map(|entry| self.tail.times[entry]));
        }
        let file = self.sealed_index(index, Segment::time_index_file)?;
        index::last_where(&file, is_older).at(&self.segments[index].log_path(&self.dir))
    }

    fn search(
        &mut self,
        index: usize,
        from: Offset,
        timestamp: i64,
    ) -> Result<Option<TimestampOffset>, LogError> {
        let Some(position) = self.position_of(index, from)? else {
            return Ok(None);
        };
        let segment = &self.segments[index];
        let (path, file) = (segment.log_path(&self.dir), segment.log_file(&self.dir)?);
        let mut walk = HeaderWalk::new(&file, position, segment.size);
        while let Some(found) = walk.next().map_err(|error| error.into_log_error(&path))? {
            if found.header.max_timestamp < timestamp {
                continue;
            }
            let mut batch = vec![0; found.header.total_bytes()];
            file.read_exact_at(&mut batch, found.position.into()).at(&path)?;
            if let Some(record) = first_in(&found, Bytes::from(batch), from, timestamp) {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }
}

/// The first record of a batch at or behind `from` and not older than `timestamp`. Nobody looked into the batch when it
/// was appended; if its records cannot be read, the batch as a whole is the answer.
fn first_in(found: &Found, batch: Bytes, from: Offset, timestamp: i64) -> Option<TimestampOffset> {
    let header = &found.header;
    let answer = |timestamp, offset| TimestampOffset { timestamp, offset, leader_epoch: header.leader_epoch };
    match decode_records(&batch, DECOMPRESSED_BYTES_MAX) {
        Ok(records) => records
            .iter()
            .find(|record| record.offset >= from && record.timestamp >= timestamp)
            .map(|record| answer(record.timestamp, record.offset)),
        Err(_) => Some(answer(header.max_timestamp, header.base_offset.max(from))),
    }
}

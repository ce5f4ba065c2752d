use std::{
    fs::File,
    io::{self, IoSlice},
};

use bytes::Bytes;
use domain::{LeaderEpoch, Offset, TimestampType};
use records::{
    BatchError, BatchHeader, HEADER_BYTES, PREFIX_BYTES, check_crc, decode_records, patched_prefix,
    stamped_header,
};
use replica::SequenceCheck;

use crate::{AppendError, Log, LogError, segment::SEGMENT_BYTES_MAX, timestamps::DECOMPRESSED_BYTES_MAX};

/// Where a batch went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    pub base_offset: Offset,
    pub last_offset: Offset,
    /// The time that the broker stamped on it, or −1 for `CreateTime`.
    pub log_append_time_ms: i64,
    pub log_start_offset: Offset,
    /// It was in the log already; the offsets are the first append's.
    pub duplicate: bool,
}

/// One write is not larger: bigger ones are slower, because every page is touched for the first time.
const WRITE_BYTES_MAX: usize = 256 * 1024;
const NOT_STAMPED: i64 = -1;

impl Log {
    /// Appends the one batch in `batches` as this partition's leader: checks header, CRC, size, time and sequence, and
    /// gives it the next offsets. Looks into no record, unless the topic is compacted: then each needs a key. After an error nothing of it is in the log.
    pub fn append_as_leader(
        &mut self,
        batches: &Bytes,
        leader_epoch: LeaderEpoch,
        now_ms: i64,
    ) -> Result<Appended, AppendError> {
        let header = self.check_batch(batches, now_ms)?;
        if let Some((current, _)) = self.epochs.latest().filter(|(latest, _)| *latest > leader_epoch) {
            return Err(AppendError::StaleLeaderEpoch { got: leader_epoch, current });
        }
        let log_start_offset = self.start;
        if let SequenceCheck::Duplicate { base_offset, last_offset, timestamp } =
            self.producers.check(&header, now_ms)?
        {
            let log_append_time_ms = match self.config.timestamp_type {
                TimestampType::CreateTime => NOT_STAMPED,
                TimestampType::LogAppendTime => timestamp,
            };
            return Ok(Appended {
                base_offset,
                last_offset,
                log_append_time_ms,
                log_start_offset,
                duplicate: true,
            });
        }
        let base_offset = self.end;
        let log_append_time_ms = match self.config.timestamp_type {
            TimestampType::CreateTime => {
                let prefix = patched_prefix(&header, base_offset, leader_epoch);
                let header = BatchHeader { base_offset, leader_epoch, ..header };
                self.roll_if_needed(&header, now_ms)?;
                self.write(&[header], &prefix, &batches[PREFIX_BYTES..], now_ms)?;
                NOT_STAMPED
            }
            TimestampType::LogAppendTime => {
                let records = &batches[HEADER_BYTES..];
                let (header, stamped) = stamped_header(&header, records, base_offset, leader_epoch, now_ms);
                self.roll_if_needed(&header, now_ms)?;
                self.write(&[header], &stamped, records, now_ms)?;
                now_ms
            }
        };
        let last_offset = base_offset.plus(header.last_offset_delta.into());
        Ok(Appended { base_offset, last_offset, log_append_time_ms, log_start_offset, duplicate: false })
    }

    /// What a client may send.
    fn check_batch(&self, batches: &Bytes, now_ms: i64) -> Result<BatchHeader, AppendError> {
        let header = BatchHeader::parse(batches)?;
        let (bytes, config) = (header.total_bytes(), &*self.config);
        if bytes > batches.len() {
            return Err(BatchError::Truncated { needed: bytes, there: batches.len() }.into());
        }
        if bytes < batches.len() {
            return Err(AppendError::InvalidRecord("a partition takes exactly one batch in a request"));
        }
        let max = config.max_message_bytes.min(config.segment_bytes).min(SEGMENT_BYTES_MAX as u32);
        if bytes > max as usize {
            return Err(AppendError::TooLarge { bytes, max });
        }
        check_crc(&header, batches)?;
        header.compression()?;
        let refuse = |reason| Err(AppendError::InvalidRecord(reason));
        if header.is_control() {
            return refuse("a client must not send control records");
        }
        if header.is_transactional() {
            return refuse("transactions are not supported yet");
        }
        if header.timestamp_type() == TimestampType::LogAppendTime {
            return refuse("a client must not set the log append time");
        }
        if header.attributes.has_delete_horizon() {
            return refuse("a client must not say when a record without a value may go");
        }
        if header.record_count == 0 || header.record_count - 1 != header.last_offset_delta {
            return refuse("the batch's record count does not go with its offsets");
        }
        if header.has_producer_id() && (header.base_sequence < 0 || header.producer_epoch.0 < 0) {
            return refuse("a batch with a producer id needs an epoch and a sequence");
        }
        if config.cleanup_policy.compact {
            let records = decode_records(batches, DECOMPRESSED_BYTES_MAX)?;
            if records.iter().any(|record| record.key.is_none()) {
                return refuse("a compacted topic takes no record without a key");
            }
        }
        let latest = now_ms.saturating_add(config.message_timestamp_after_max_ms);
        match header.max_timestamp > latest && config.timestamp_type == TimestampType::CreateTime {
            true => Err(AppendError::InvalidTimestamp { timestamp: header.max_timestamp, max: latest }),
            false => Ok(header),
        }
    }

    /// Writes batches to the active segment, which has room for them, and takes note of them. `headers` are their final
    /// ones, `head` and then `rest` their bytes. After an error nothing of them is in the log.
    pub(crate) fn write(
        &mut self,
        headers: &[BatchHeader],
        head: &[u8],
        rest: &[u8],
        now_ms: i64,
    ) -> Result<(), LogError> {
        self.cut_dirty_tail()?;
        let active = self.active();
        let position = active.size;
        let file = active.log_file(&self.dir)?;
        if !self.active().has_file {
            let active = self.active_mut();
            (active.has_file, active.created_ms) = (true, now_ms);
            self.dirt.folder = true;
        }
        if let Err(source) = write_all_at(&file, head, rest, position.into()) {
            let path = self.active().log_path(&self.dir);
            // If even this fails, the next append, roll or close does it before anything else.
            self.dirt.tail = file.set_len(position.into()).is_err();
            return Err(LogError::Io { path, source });
        }
        self.dirt.contents = true;
        headers.iter().for_each(|header| self.note(header, now_ms));
        Ok(())
    }

    /// Takes note of a batch that was written behind the active segment's end.
    fn note(&mut self, header: &BatchHeader, now_ms: i64) {
        let active = self.active_mut();
        let (base, position) = (active.base, active.size);
        active.size += header.total_bytes() as u32;
        active.first_timestamp.get_or_insert(header.max_timestamp);
        let end_position = active.size;
        self.tail.note(header, base, position, self.config.index_interval_bytes);
        self.dirt.epochs |= self.epochs.assign(header.leader_epoch, header.base_offset);
        self.note_gaps(self.end, header);
        self.producers.record(header, now_ms);
        self.end = header.next_offset();
        self.boundaries.appended_up_to(self.end, end_position);
    }
}

/// Writes `head` and `rest` one after the other, in pieces of at most [`WRITE_BYTES_MAX`].
fn write_all_at(file: &File, mut head: &[u8], mut rest: &[u8], mut position: u64) -> io::Result<()> {
    while !head.is_empty() || !rest.is_empty() {
        let piece = &rest[..rest.len().min(WRITE_BYTES_MAX - head.len())];
        let written = match rustix::io::pwritev(file, &[IoSlice::new(head), IoSlice::new(piece)], position) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => written,
            Err(rustix::io::Errno::INTR) => continue,
            Err(errno) => return Err(errno.into()),
        };
        position += written as u64;
        let of_head = written.min(head.len());
        head = &head[of_head..];
        rest = &rest[written - of_head..];
    }
    Ok(())
}

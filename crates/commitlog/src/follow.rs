use bytes::Bytes;
use domain::{LeaderEpoch, Offset};
use records::{BatchError, BatchHeader, HEADER_BYTES, check_batches};

use crate::{AppendError, Log, segment::SEGMENT_BYTES_MAX};

/// What a follower's append added to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendedAsFollower {
    /// The log's end now: where to fetch next.
    pub end: Offset,
    pub batches: usize,
    /// Without an incomplete batch at the end, which was ignored.
    pub bytes: usize,
}

impl Log {
    /// Appends the leader's batches as they are, with its offsets and epochs: those that a fetch response holds whole.
    /// One that the response cuts off at its end is left out, unless it is the only one.
    ///
    /// All are checked before anything is written: header, CRC, a base offset not below the log's end (one above is
    /// fine, because compaction runs per replica) and a leader epoch not below the latest one. An error of that kind
    /// leaves the log as it was. After [`AppendError::Log`] those of the batches are in the log that went to segments
    /// before the one that failed: [`Log::end_offset`] says where to go on.
    pub fn append_as_follower(
        &mut self,
        batches: &Bytes,
        now_ms: i64,
    ) -> Result<AppendedAsFollower, AppendError> {
        let headers = self.check_leaders_batches(batches)?;
        let (mut rest, mut bytes) = (&headers[..], 0);
        while let Some(first) = rest.first() {
            self.roll_if_needed(first, now_ms)?;
            let (run, behind) = rest.split_at(self.fitting(rest, now_ms));
            let run_bytes: usize = run.iter().map(BatchHeader::total_bytes).sum();
            self.write(run, &[], &batches[bytes..bytes + run_bytes], now_ms)?;
            bytes += run_bytes;
            rest = behind;
        }
        Ok(AppendedAsFollower { end: self.end, batches: headers.len(), bytes })
    }

    /// How many of the batches go into the active segment, with one write: at least the first.
    fn fitting(&self, batches: &[BatchHeader], now_ms: i64) -> usize {
        let mut fill = self.active().fill();
        let fits = |(n, header): &(usize, &BatchHeader)| {
            let fits = *n == 0 || !fill.is_full_for(header, &self.config, now_ms);
            fill.add(header);
            fits
        };
        batches.iter().enumerate().take_while(fits).count()
    }

    /// The headers of the whole batches, of which at least one is there and all may be appended.
    fn check_leaders_batches(&self, batches: &Bytes) -> Result<Vec<BatchHeader>, AppendError> {
        if batches.is_empty() {
            return Err(BatchError::Truncated { needed: HEADER_BYTES, there: 0 }.into());
        }
        let (mut end, mut current) = (self.end, self.epochs.latest().map(|(latest, _)| latest));
        let mut headers = Vec::new();
        for found in check_batches(batches) {
            let header = match found {
                Err(BatchError::Truncated { .. }) if !headers.is_empty() => break,
                found => found?.1,
            };
            self.check_leaders_batch(&header, end, current)?;
            (end, current) = (header.next_offset(), Some(header.leader_epoch));
            headers.push(header);
        }
        Ok(headers)
    }

    fn check_leaders_batch(
        &self,
        header: &BatchHeader,
        end: Offset,
        current: Option<LeaderEpoch>,
    ) -> Result<(), AppendError> {
        let (base, got, bytes) = (header.base_offset, header.leader_epoch, header.total_bytes());
        if base < end {
            return Err(AppendError::Overlap { base, end });
        }
        if let Some(current) = current.filter(|current| got < *current) {
            return Err(AppendError::StaleLeaderEpoch { got, current });
        }
        match bytes as u64 > SEGMENT_BYTES_MAX {
            true => Err(AppendError::TooLarge { bytes, max: SEGMENT_BYTES_MAX as u32 }),
            false => Ok(()),
        }
    }
}

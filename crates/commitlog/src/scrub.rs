use domain::{LeaderEpoch, Offset};
use records::{BatchError, BatchHeader};

use crate::{
    Log, LogError,
    walk::{HeaderWalk, WalkError},
};

/// How far a scrub has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scrubbed {
    /// Where to go on; the log's end when everything was read.
    pub next: Offset,
    pub bytes: u64,
}

impl Log {
    /// Reads the batches from `from` on and checks their CRCs, and what no CRC covers: that offsets rise within the segment,
    /// and that leader epochs are those that the log knows, none above `newest`, the partition's. Goes on up to `bytes_max` or
    /// the end of the segment. What was flushed once is trusted by recovery, so this is what finds bits that flipped on the
    /// disk since.
    ///
    /// # Errors
    /// [`LogError::Corrupt`] names the first bad batch. Nothing was changed.
    pub fn scrub(&mut self, from: Offset, bytes_max: u64, newest: LeaderEpoch) -> Result<Scrubbed, LogError> {
        let from = from.max(self.segments[0].base);
        let index = self.segment_of(from);
        let next_base = self.next_base(index);
        let Some(position) = self.position_of(index, from)? else {
            return Ok(Scrubbed { next: next_base.max(from), bytes: 0 });
        };
        let segment = &self.segments[index];
        let (path, file) = (segment.log_path(&self.dir), segment.log_file(&self.dir)?);
        let mut walk = HeaderWalk::new(&file, position, segment.size);
        let mut checked = Checked { newest, after: segment.base, until: next_base };
        let (mut next, mut bytes, mut buffer) = (from, 0, Vec::new());
        let mut step = || -> Result<Option<(Offset, u64)>, WalkError> {
            let Some(found) = walk.next()? else { return Ok(None) };
            walk.check(&found, &mut buffer)?;
            let fits = checked.check(&found.header, self.epochs.epoch_at(found.header.base_offset));
            fits.map_err(|reason| WalkError::Bad { position: found.position.into(), reason })?;
            Ok(Some((found.header.next_offset(), found.header.total_bytes() as u64)))
        };
        while bytes < bytes_max {
            match step().map_err(|error| error.into_log_error(&path))? {
                Some((after, read)) => (next, bytes) = (after, bytes + read),
                None => return Ok(Scrubbed { next: next_base.max(next), bytes }),
            }
        }
        Ok(Scrubbed { next, bytes })
    }
}

/// What the batches before a batch say about it.
struct Checked {
    newest: LeaderEpoch,
    /// The end of the batch before it.
    after: Offset,
    /// Where the next segment begins.
    until: Offset,
}

impl Checked {
    /// Checks the fields that stand outside a batch's CRC. `known` is the epoch of its first record, as the log's epochs have
    /// it; those of records below the log's start are forgotten.
    fn check(&mut self, header: &BatchHeader, known: Option<LeaderEpoch>) -> Result<(), BatchError> {
        let bad = |field, value| Err(BatchError::InvalidField { field, value });
        if header.base_offset < self.after || header.next_offset() > self.until {
            return bad("base offset", header.base_offset.0);
        }
        if header.leader_epoch > self.newest || known.is_some_and(|known| known != header.leader_epoch) {
            return bad("leader epoch", header.leader_epoch.0.into());
        }
        self.after = header.next_offset();
        Ok(())
    }
}

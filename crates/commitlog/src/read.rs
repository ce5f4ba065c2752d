use std::{fs::File, sync::Arc};

use domain::Offset;

use crate::{
    Log, LogError, ReadError,
    index::{OffsetEntry, relative},
    walk::{HeaderWalk, WalkError},
};

/// Whole batches in one segment file, to be sent with `sendfile` or read with `pread`.
///
/// It stays readable when the segment is deleted; after a truncation there may be fewer bytes than it names.
#[derive(Clone, Debug)]
pub struct LogSlice {
    pub file: Arc<File>,
    pub position: u64,
    pub bytes: u32,
    /// The first batch starts here or below: it is the one that holds the offset that was asked for.
    pub base_offset: Offset,
    /// Where to go on: the offset after the last batch, or one in the gap that compaction left behind it.
    pub next_offset: Offset,
}

impl Log {
    /// The whole batches from the one that holds `from` on: at most `max_bytes` (with `at_least_one`, a first batch that
    /// is larger comes alone), none that reaches `upper`, all of one segment. `None`: there is nothing below `upper`, or
    /// nothing small enough.
    pub fn read(
        &mut self,
        from: Offset,
        max_bytes: u32,
        upper: Offset,
        at_least_one: bool,
    ) -> Result<Option<LogSlice>, ReadError> {
        if from < self.start || from > self.end {
            return Err(ReadError::OutOfRange { from, start: self.start, end: self.end });
        }
        let upper = upper.min(self.end);
        let mut index = self.segment_of(from);
        while from < upper && index < self.segments.len() {
            if let Some(start) = self.position_of(index, from)? {
                return Ok(self.slice_at(index, (start, from), max_bytes, upper, at_least_one)?);
            }
            // Compaction may have left nothing at or behind the offset in this segment.
            index += 1;
        }
        Ok(None)
    }

    fn slice_at(
        &mut self,
        index: usize,
        (start, from): (u32, Offset),
        max_bytes: u32,
        upper: Offset,
        at_least_one: bool,
    ) -> Result<Option<LogSlice>, LogError> {
        let file = self.segments[index].log_file(&self.dir)?;
        let Some((end, next_offset)) = self.slice_end(index, &file, start, max_bytes, upper, at_least_one)?
        else {
            return Ok(None);
        };
        self.boundaries.read_up_to(next_offset, end);
        Ok(Some(LogSlice {
            file,
            position: start.into(),
            bytes: end - start,
            base_offset: from,
            next_offset,
        }))
    }

    /// Where a slice that starts at `start` ends, and the offset there; `None` if not even one batch fits.
    fn slice_end(
        &mut self,
        index: usize,
        file: &File,
        start: u32,
        max_bytes: u32,
        upper: Offset,
        at_least_one: bool,
    ) -> Result<Option<(u32, Offset)>, LogError> {
        let (base, size, next_base) =
            (self.segments[index].base, self.segments[index].size, self.next_base(index));
        let limit = start.saturating_add(max_bytes);
        if upper >= next_base && size <= limit {
            return Ok(Some((size, next_base)));
        }
        let known = self.boundaries.get(upper).filter(|_| upper > base && upper < next_base);
        if let Some(end) = known.filter(|end| *end > start && *end <= limit) {
            return Ok(Some((end, upper)));
        }
        // An index entry is a boundary, too: walk on from the last one inside.
        let below = relative(upper, base);
        let hint = self.index_floor(index, |entry| entry.position <= limit && entry.offset < below)?;
        let hint = hint.filter(|entry| entry.position > start);
        let bounds = Bounds { start, limit, upper, at_least_one };
        let end = match bounds.begin(file, hint, base, size).and_then(|walk| bounds.walk(walk)) {
            // The index misleads; the log decides.
            Err(WalkError::Bad { .. }) if hint.is_some() => {
                self.rebuild_index(index)?;
                bounds.walk(HeaderWalk::new(file, start, size))
            }
            other => other,
        };
        end.map_err(|error| error.into_log_error(&self.segments[index].log_path(&self.dir)))
    }
}

/// What a slice must keep to.
struct Bounds {
    start: u32,
    limit: u32,
    upper: Offset,
    at_least_one: bool,
}

impl Bounds {
    fn begin<'f>(
        &self,
        file: &'f File,
        hint: Option<OffsetEntry>,
        base: Offset,
        size: u32,
    ) -> Result<HeaderWalk<'f>, WalkError> {
        match hint {
            Some(_) => HeaderWalk::from_entry(file, hint, base, size),
            None => Ok(HeaderWalk::new(file, self.start, size)),
        }
    }

    /// Walks to the end of the last batch that is inside.
    fn walk(&self, mut walk: HeaderWalk<'_>) -> Result<Option<(u32, Offset)>, WalkError> {
        let mut end = None;
        while let Some(found) = walk.next()? {
            let fits = found.end() <= self.limit || (found.position == self.start && self.at_least_one);
            if !fits || found.header.next_offset() > self.upper {
                // The walk may have begun at this batch: then what is before it is inside.
                let before =
                    (found.position > self.start).then_some((found.position, found.header.base_offset));
                return Ok(end.or(before));
            }
            end = Some((found.end(), found.header.next_offset()));
        }
        Ok(end)
    }
}

use std::{fs::File, io, os::unix::fs::FileExt, path::Path};

use domain::Offset;
use records::{BatchError, BatchHeader, HEADER_BYTES, check_crc};

use crate::{LogError, error::At, index::OffsetEntry};

/// Bytes fetched at once: one read serves the headers of many small batches, and wastes little on large ones.
const CHUNK_BYTES: usize = 4096;

/// Walks the batch headers of a segment, from a batch's position up to a limit.
pub(crate) struct HeaderWalk<'f> {
    file: &'f File,
    position: u64,
    limit: u64,
    chunk: Vec<u8>,
    chunk_at: u64,
}

/// What a walk meets that is no batch.
#[derive(Debug)]
pub(crate) enum WalkError {
    Io(io::Error),
    Bad { position: u64, reason: BatchError },
}

impl WalkError {
    /// For a walk over bytes that must be right.
    pub(crate) fn into_log_error(self, path: &Path) -> LogError {
        match self {
            WalkError::Io(source) => LogError::Io { path: path.to_owned(), source },
            WalkError::Bad { position, reason } => {
                LogError::Corrupt { path: path.to_owned(), position, reason: reason.to_string() }
            }
        }
    }
}

/// A batch in a segment file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) position: u32,
    pub(crate) header: BatchHeader,
}

impl Found {
    pub(crate) fn end(&self) -> u32 {
        self.position + self.header.total_bytes() as u32
    }
}

impl<'f> HeaderWalk<'f> {
    pub(crate) fn new(file: &'f File, position: u32, limit: u32) -> Self {
        Self { file, position: position.into(), limit: limit.into(), chunk: Vec::new(), chunk_at: 0 }
    }

    /// A walk from the batch that an index entry names, which is compared with what is there; without an entry, from the
    /// beginning.
    pub(crate) fn from_entry(
        file: &'f File,
        entry: Option<OffsetEntry>,
        base: Offset,
        limit: u32,
    ) -> Result<Self, WalkError> {
        let Some(entry) = entry else {
            return Ok(Self::new(file, 0, limit));
        };
        let mut walk = Self::new(file, entry.position, limit);
        let found = walk.next()?.map(|found| found.header.last_offset());
        if found != Some(base.plus(entry.offset.into())) {
            let reason =
                BatchError::InvalidField { field: "last offset", value: found.map_or(-1, |found| found.0) };
            return Err(WalkError::Bad { position: entry.position.into(), reason });
        }
        walk.position = entry.position.into();
        Ok(walk)
    }

    /// The next batch's header; its length is known to be within the limit, its records are not looked at.
    pub(crate) fn next(&mut self) -> Result<Option<Found>, WalkError> {
        let left = self.limit.saturating_sub(self.position);
        if left == 0 {
            return Ok(None);
        }
        let position = self.position;
        let bad = |reason| WalkError::Bad { position, reason };
        let bytes = self.peek(left.min(HEADER_BYTES as u64) as usize).map_err(WalkError::Io)?;
        let header = BatchHeader::parse(bytes).map_err(bad)?;
        let needed = header.total_bytes();
        if needed as u64 > left {
            return Err(bad(BatchError::Truncated { needed, there: left as usize }));
        }
        self.position += needed as u64;
        Ok(Some(Found { position: position as u32, header }))
    }

    /// Checks the CRC of a batch that was found here. `buffer` is memory to use again.
    pub(crate) fn check(&self, found: &Found, buffer: &mut Vec<u8>) -> Result<(), WalkError> {
        let position = u64::from(found.position);
        // Not more than the file holds: the walk has compared the length with its limit.
        buffer.resize(found.header.total_bytes(), 0);
        self.file.read_exact_at(buffer, position).map_err(WalkError::Io)?;
        check_crc(&found.header, buffer).map_err(|reason| WalkError::Bad { position, reason })
    }

    fn peek(&mut self, bytes: usize) -> io::Result<&[u8]> {
        let inside = self.position.checked_sub(self.chunk_at).map(|skip| skip as usize);
        let start = match inside.filter(|start| start + bytes <= self.chunk.len()) {
            Some(start) => start,
            None => {
                let left = self.limit - self.position;
                self.chunk.resize(left.min(CHUNK_BYTES as u64) as usize, 0);
                self.chunk_at = self.position;
                self.file.read_exact_at(&mut self.chunk, self.position)?;
                0
            }
        };
        Ok(&self.chunk[start..start + bytes])
    }
}

/// What a scan of a segment stopped at, if it was not the end.
#[derive(Clone, Debug)]
pub(crate) struct Stop {
    pub(crate) reason: BatchError,
    /// What is left is the beginning of one batch that was not written to its end.
    pub(crate) is_incomplete: bool,
}

/// Walks `file` from `position` to `size` and hands every batch to `visit`, whose result says whether it fits there;
/// batches that reach `checked_from` have their CRC checked. Ends at the first bad one, and returns where the good ones
/// end.
pub(crate) fn scan(
    file: &File,
    path: &Path,
    (position, size): (u32, u32),
    checked_from: Offset,
    mut visit: impl FnMut(&Found) -> Result<(), BatchError>,
) -> Result<(u32, Option<Stop>), LogError> {
    let mut walk = HeaderWalk::new(file, position, size);
    let mut good = position;
    let mut buffer = Vec::new();
    loop {
        let mut found = walk.next();
        if let Ok(Some(batch)) = &found
            && batch.header.next_offset() > checked_from
            && let Err(error) = walk.check(batch, &mut buffer)
        {
            found = Err(error);
        }
        let reason = match found {
            Ok(None) => return Ok((good, None)),
            Ok(Some(found)) => match visit(&found) {
                Ok(()) => {
                    good = found.end();
                    continue;
                }
                Err(reason) => reason,
            },
            Err(WalkError::Io(source)) => return Err(source).at(path),
            Err(WalkError::Bad { reason, .. }) => reason,
        };
        let is_incomplete = matches!(reason, BatchError::Truncated { .. });
        return Ok((good, Some(Stop { reason, is_incomplete })));
    }
}

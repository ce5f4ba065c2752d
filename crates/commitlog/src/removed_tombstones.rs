//! How far tombstones are gone from a log, in a small file of our own beside it: a replica that did not get one keeps what
//! it deleted for good, and is to begin anew.

use std::{io, path::Path};

use domain::Offset;
use records::BatchHeader;

use crate::{
    Log, LogError,
    crashsafe::{self, Durability},
    error::At,
};

pub(crate) const FILE_NAME: &str = "removed-tombstones";
const VERSION: &str = "0";

/// Below which offset tombstones may be missing: those that compaction removed here, and those that were not in what this
/// log was fetched from, which only its gaps tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RemovedTombstones {
    below: Offset,
    /// The file says something else.
    dirty: bool,
}

impl RemovedTombstones {
    /// None, and the file does not say so yet.
    pub(crate) fn changed() -> Self {
        Self { below: Offset(0), dirty: true }
    }

    /// As the file has it. Where it cannot be understood, tombstones may be missing up to the log's `end`.
    pub(crate) fn load(dir: &Path, end: Offset) -> io::Result<Self> {
        let path = dir.join(FILE_NAME);
        let Some(content) = crashsafe::read_if_there(&path)? else {
            return Ok(Self::default());
        };
        let text = String::from_utf8_lossy(&content);
        let stored = text.strip_suffix('\n').and_then(|text| text.split_once('\n'));
        let below =
            stored.filter(|(version, _)| *version == VERSION).and_then(|(_, below)| below.parse().ok());
        if below.is_none() {
            tracing::warn!(path = %path.display(), "is ill-formed: any tombstone may be missing");
        }
        let stored = below.map(Offset);
        let below = stored.unwrap_or(end).min(end);
        Ok(Self { below, dirty: stored != Some(below) })
    }

    /// Tombstones below `offset` are gone.
    pub(crate) fn raise(&mut self, offset: Offset) {
        self.dirty |= offset > self.below;
        self.below = self.below.max(offset);
    }

    /// Nothing lies between the two offsets.
    pub(crate) fn skip(&mut self, end: Offset, base: Offset) {
        if base > end {
            self.raise(base);
        }
    }

    /// What is missing before a batch that comes behind `end`, and from it.
    pub(crate) fn note_gaps(&mut self, end: Offset, header: &BatchHeader) {
        self.skip(end, header.base_offset);
        if header.record_count <= header.last_offset_delta {
            self.raise(header.next_offset());
        }
    }

    pub(crate) fn truncate_to(&mut self, end: Offset) {
        self.dirty |= end < self.below;
        self.below = self.below.min(end);
    }
}

impl Log {
    /// Below which offset tombstones may be missing from this log. A replica that ends below it, and has records, may hold
    /// what they deleted: it begins anew at this log's start.
    pub fn removed_tombstones(&self) -> Offset {
        self.removed_tombstones.below
    }

    pub(crate) fn note_gaps(&mut self, end: Offset, header: &BatchHeader) {
        self.removed_tombstones.note_gaps(end, header);
    }

    /// Writes what the file does not say yet. With [`Durability::Crash`] a flush syncs it: until then a start finds the
    /// gaps above the recovery point again.
    pub(crate) fn write_removed_tombstones(&mut self, durability: Durability) -> Result<(), LogError> {
        if self.removed_tombstones.dirty {
            let path = self.dir.join(FILE_NAME);
            let text = format!("{VERSION}\n{}\n", self.removed_tombstones.below);
            crashsafe::replace(&path, text.as_bytes(), durability).at(&path)?;
            self.removed_tombstones.dirty = false;
            (self.dirt.tombstones_file, self.dirt.folder) = (durability == Durability::Crash, true);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_understood_counts_for_the_whole_log() {
        let dir = tempfile::tempdir().unwrap();
        let load = || RemovedTombstones::load(dir.path(), Offset(50)).unwrap();
        assert_eq!(load(), RemovedTombstones::default());
        for (content, below, dirty) in
            [("0\n17\n", 17, false), ("0\n99\n", 50, true), ("1\n17\n", 50, true), ("", 50, true)]
        {
            std::fs::write(dir.path().join(FILE_NAME), content).unwrap();
            assert_eq!(load(), RemovedTombstones { below: Offset(below), dirty }, "{content:?}");
        }
    }
}

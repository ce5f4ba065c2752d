use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::UNIX_EPOCH,
};

use domain::{Offset, TopicConfig};
use records::BatchHeader;

use crate::{
    FileCache, LogError,
    error::At,
    file_cache::{FileKind, Handle},
    index::TimeEntry,
};

/// One segment of a log: what is known of its file without opening it.
#[derive(Debug)]
pub(crate) struct Segment {
    /// The offset in the file's name: not above its first record's.
    pub(crate) base: Offset,
    /// Bytes that belong to the log. The file is not longer, except while an append is under way.
    pub(crate) size: u32,
    /// Whether the `.log` file was made; the first segment of a log gets its file with the first append.
    pub(crate) has_file: bool,
    /// The largest timestamp of the first batch; `segment.ms` counts from it.
    pub(crate) first_timestamp: Option<i64>,
    /// When this process made the segment, for batches without timestamps.
    pub(crate) created_ms: i64,
    /// Of a sealed segment, once asked for: its newest timestamp, if any.
    pub(crate) newest: Option<Option<TimeEntry>>,
    handle: Handle,
}

/// What decides whether the next batch still goes into a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fill {
    base: Offset,
    bytes: u64,
    first_timestamp: Option<i64>,
    created_ms: i64,
}

impl Fill {
    /// Whether a batch must go into a new segment: by size, by age, or because its offset is out of reach.
    pub(crate) fn is_full_for(&self, header: &BatchHeader, config: &TopicConfig, now_ms: i64) -> bool {
        let room = u64::from(config.segment_bytes).saturating_sub(header.total_bytes() as u64);
        let waited_ms = match self.first_timestamp.filter(|first| *first >= 0 && header.max_timestamp >= 0) {
            Some(first) => header.max_timestamp.saturating_sub(first),
            None => now_ms.saturating_sub(self.created_ms),
        };
        let is_due = self.bytes > room || waited_ms > config.segment_age_ms_max();
        // Indexes hold offsets relative to the base, in 31 bits.
        (self.bytes > 0 && is_due) || header.last_offset().0 - self.base.0 > i64::from(i32::MAX)
    }

    pub(crate) fn add(&mut self, header: &BatchHeader) {
        self.bytes += header.total_bytes() as u64;
        self.first_timestamp.get_or_insert(header.max_timestamp);
    }
}

/// Kafka's segments and their files end at 2 GiB.
pub(crate) const SEGMENT_BYTES_MAX: u64 = i32::MAX as u64;

impl Segment {
    pub(crate) fn new(base: Offset, files: &Arc<FileCache>, now_ms: i64) -> Self {
        Self {
            base,
            size: 0,
            has_file: false,
            first_timestamp: None,
            created_ms: now_ms,
            newest: None,
            handle: Handle::new(files),
        }
    }

    /// A segment whose file was found.
    pub(crate) fn found(base: Offset, size: u32, files: &Arc<FileCache>, now_ms: i64) -> Self {
        Self { size, has_file: true, ..Self::new(base, files, now_ms) }
    }

    pub(crate) fn fill(&self) -> Fill {
        let Self { base, size, first_timestamp, created_ms, .. } = *self;
        Fill { base, bytes: size.into(), first_timestamp, created_ms }
    }

    pub(crate) fn log_path(&self, dir: &Path) -> PathBuf {
        file_path(dir, self.base, LOG)
    }

    /// The `.log` file, open for reading and writing, made if it must be.
    pub(crate) fn log_file(&self, dir: &Path) -> Result<Arc<File>, LogError> {
        let path = || self.log_path(dir);
        let open =
            || File::options().read(true).write(true).create(!self.has_file).truncate(false).open(path());
        self.handle.get(FileKind::Log, open).map_err(|source| LogError::Io { path: path(), source })
    }

    pub(crate) fn index_file(&self, dir: &Path) -> io::Result<Arc<File>> {
        self.handle.get(FileKind::Index, || File::open(file_path(dir, self.base, INDEX)))
    }

    pub(crate) fn time_index_file(&self, dir: &Path) -> io::Result<Arc<File>> {
        self.handle.get(FileKind::TimeIndex, || File::open(file_path(dir, self.base, TIME_INDEX)))
    }

    /// Writes both index files anew; after an error there are none, because half a file may look like a whole one.
    pub(crate) fn write_indexes(&self, dir: &Path, offsets: &[u8], times: &[u8]) -> Result<(), LogError> {
        self.close_indexes();
        let write = |(suffix, content)| {
            let path = file_path(dir, self.base, suffix);
            fs::write(&path, content).at(&path)
        };
        let written = [(INDEX, offsets), (TIME_INDEX, times)].into_iter().try_for_each(write);
        if written.is_err() {
            // The first error tells more; files that cannot be removed are compared with the log when they are read.
            _ = self.remove_indexes(dir);
        }
        written
    }

    /// Removes the index files, because the segment becomes active again or its log changes.
    pub(crate) fn remove_indexes(&self, dir: &Path) -> Result<(), LogError> {
        self.close_indexes();
        for suffix in [INDEX, TIME_INDEX] {
            let path = file_path(dir, self.base, suffix);
            crate::crashsafe::remove_if_there(&path).at(&path)?;
        }
        Ok(())
    }

    fn close_indexes(&self) {
        self.handle.close(FileKind::Index);
        self.handle.close(FileKind::TimeIndex);
    }

    /// When the file was last written: an upper bound for when its batches were appended.
    pub(crate) fn modified_ms(&self, dir: &Path) -> Result<i64, LogError> {
        let path = self.log_path(dir);
        let modified = fs::metadata(&path).and_then(|metadata| metadata.modified()).at(&path)?;
        Ok(modified.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64))
    }
}

pub(crate) const LOG: &str = "log";
pub(crate) const INDEX: &str = "index";
pub(crate) const TIME_INDEX: &str = "timeindex";
pub(crate) const SNAPSHOT: &str = "snapshot";
pub(crate) const SNAPSHOT_BATCHES: &str = "snapshot-batches";
pub(crate) const DELETED: &str = "deleted";
/// A file that compaction is writing; it counts for nothing.
pub(crate) const CLEANED: &str = "cleaned";
/// A segment that compaction has written, in the place of those that it has read.
pub(crate) const SWAP: &str = "swap";

/// `00000000000000000042.log`.
pub(crate) fn file_path(dir: &Path, base: Offset, suffix: &str) -> PathBuf {
    dir.join(format!("{:020}.{suffix}", base.0))
}

/// The offset and the suffix in a file's name; `None` for other files.
pub(crate) fn parse_file_name(name: &str) -> Option<(Offset, &str)> {
    let (digits, suffix) = name.split_once('.')?;
    let valid = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
    Some((Offset(digits.parse().ok().filter(|_| valid)?), suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_kafkas() {
        let path = file_path(Path::new("/d"), Offset(42), LOG);
        assert_eq!(path, Path::new("/d/00000000000000000042.log"));
        assert_eq!(parse_file_name("00000000000000000042.log.deleted"), Some((Offset(42), "log.deleted")));
        for other in
            ["leader-epoch-checkpoint", "42.log", "+0000000000000000042.log", "99999999999999999999.log"]
        {
            assert_eq!(parse_file_name(other), None, "{other}");
        }
    }
}

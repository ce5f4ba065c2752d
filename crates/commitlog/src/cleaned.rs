use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use domain::{Offset, TopicConfig};
use records::BatchHeader;

use crate::{
    LogError, crashsafe,
    error::At,
    index::{TailIndex, TimeEntry},
    rewrite::Source,
    segment::{CLEANED, INDEX, LOG, SEGMENT_BYTES_MAX, TIME_INDEX, file_path},
};

/// A segment that compaction has written and synced, to be put in the place of its sources. Its files go with it.
#[derive(Debug)]
pub(crate) struct Cleaned {
    pub(crate) files: CleanedFiles,
    pub(crate) sources: Vec<Source>,
    pub(crate) size: u32,
    pub(crate) newest: Option<TimeEntry>,
    /// Below this, tombstones went with it.
    pub(crate) tombstones_went_below: Offset,
    pub(crate) now_ms: i64,
}

impl Cleaned {
    /// How many segments it replaces.
    pub(crate) fn sources(&self) -> usize {
        self.sources.len()
    }

    pub(crate) fn source_bytes(&self) -> u64 {
        self.sources.iter().map(|source| u64::from(source.size)).sum()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.size.into()
    }
}

/// The files that compaction writes: those that are still there under these names when it ends are removed.
#[derive(Debug)]
pub(crate) struct CleanedFiles {
    dir: PathBuf,
    pub(crate) base: Offset,
}

impl CleanedFiles {
    pub(crate) fn path(&self, suffix: &str) -> PathBuf {
        file_path(&self.dir, self.base, &format!("{suffix}.{CLEANED}"))
    }
}

impl Drop for CleanedFiles {
    fn drop(&mut self) {
        for suffix in [LOG, INDEX, TIME_INDEX] {
            // Else the next opening of the log does it.
            _ = crashsafe::remove_if_there(&self.path(suffix));
        }
    }
}

/// A segment that compaction is writing.
pub(crate) struct Output {
    files: CleanedFiles,
    path: PathBuf,
    file: BufWriter<File>,
    config: Arc<TopicConfig>,
    size: u32,
    index: TailIndex,
    differs: bool,
    tombstones_went_below: Offset,
    modified: Option<SystemTime>,
}

const BUFFER_BYTES: usize = 256 * 1024;

impl Output {
    pub(crate) fn create(dir: &Path, base: Offset, config: &Arc<TopicConfig>) -> Result<Self, LogError> {
        let files = CleanedFiles { dir: dir.to_owned(), base };
        let path = files.path(LOG);
        let file = BufWriter::with_capacity(BUFFER_BYTES, File::create(&path).at(&path)?);
        Ok(Self {
            files,
            path,
            file,
            config: config.clone(),
            size: 0,
            index: TailIndex::default(),
            differs: false,
            tombstones_went_below: Offset(0),
            modified: None,
        })
    }

    /// Whether another source goes in as well, however little goes from it.
    pub(crate) fn has_room_for(&self, source: &Source) -> bool {
        // Indexes hold offsets relative to the base, in 31 bits.
        let reach = source.next_base.0 - 1 - self.files.base.0;
        self.size.saturating_add(source.size) <= self.config.segment_bytes && reach <= i64::from(i32::MAX)
    }

    pub(crate) fn write(&mut self, header: &BatchHeader, batch: &[u8]) -> Result<(), LogError> {
        if u64::from(self.size) + batch.len() as u64 > SEGMENT_BYTES_MAX {
            // Compressed again, records may take more than before.
            let reason = "what compaction leaves is larger than a segment may be".to_owned();
            return Err(LogError::Corrupt { path: self.path.clone(), position: self.size.into(), reason });
        }
        self.index.note(header, self.files.base, self.size, self.config.index_interval_bytes);
        self.file.write_all(batch).at(&self.path)?;
        self.size += batch.len() as u32;
        Ok(())
    }

    /// A batch does not go in as it was.
    pub(crate) fn leave_out(&mut self) {
        self.differs = true;
    }

    /// Whether something does not go in as it was.
    pub(crate) fn differs(&self) -> bool {
        self.differs
    }

    pub(crate) fn tombstone_went(&mut self, offset: Offset) {
        self.tombstones_went_below = self.tombstones_went_below.max(offset.plus(1));
    }

    /// The new file tells the time of the last append, too: retention and the expiration of producers go by it.
    pub(crate) fn is_as_old_as(&mut self, source: &File) -> Result<(), LogError> {
        let modified = source.metadata().and_then(|metadata| metadata.modified()).at(&self.path)?;
        self.modified = self.modified.max(Some(modified));
        Ok(())
    }

    /// Writes what is left, with indexes, and syncs it.
    pub(crate) fn finish(self, sources: Vec<Source>, now_ms: i64) -> Result<Cleaned, LogError> {
        let Self { files, path, file, size, index, tombstones_went_below, modified, .. } = self;
        let file = file.into_inner().map_err(|error| error.into_error()).at(&path)?;
        if let Some(modified) = modified {
            file.set_modified(modified).at(&path)?;
        }
        file.sync_all().at(&path)?;
        for (suffix, content) in [(INDEX, index.encode_offsets()), (TIME_INDEX, index.encode_times())] {
            let path = files.path(suffix);
            let written = fs::write(&path, content).and_then(|()| File::open(&path)?.sync_all());
            written.at(&path)?;
        }
        Ok(Cleaned { files, sources, size, newest: index.newest, tombstones_went_below, now_ms })
    }
}

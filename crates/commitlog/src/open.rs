use std::{collections::BTreeSet, fs, path::PathBuf, sync::Arc};

use domain::{Offset, TopicConfig};

use crate::{
    FileCache, Log, LogError, Recovery, checkpoint, crashsafe,
    error::At,
    partition_metadata,
    removed_tombstones::RemovedTombstones,
    segment::{
        CLEANED, DELETED, INDEX, LOG, SEGMENT_BYTES_MAX, SNAPSHOT, SWAP, Segment, TIME_INDEX, file_path,
        parse_file_name,
    },
    swap,
};

/// How the log was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// The node shut down cleanly: files and indexes are whole.
    Clean,
    /// It may have crashed: everything above the recovery point is checked, and cut at the first bad batch.
    Recover { recovery_point: Offset },
}

/// What lies in a partition's folder.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) logs: Vec<(Offset, u64)>,
    pub(crate) snapshots: BTreeSet<Offset>,
    indexes: Vec<(Offset, &'static str)>,
    leftovers: Vec<PathBuf>,
}

impl Log {
    /// Opens an existing partition. `log_start` is its checkpointed log start; the first segment's base, if that is
    /// larger, counts instead.
    pub fn open(
        dir: PathBuf,
        config: Arc<TopicConfig>,
        files: Arc<FileCache>,
        mode: OpenMode,
        log_start: Offset,
        now_ms: i64,
    ) -> Result<(Log, Recovery), LogError> {
        let topic_id = partition_metadata::read(&dir)?;
        swap::finish(&dir)?;
        let listing = Listing::read(&dir)?;
        listing.remove_leftovers()?;
        let mut segments = Vec::with_capacity(listing.logs.len().max(1));
        for (base, size) in &listing.logs {
            if *size > SEGMENT_BYTES_MAX {
                let (path, reason) =
                    (file_path(&dir, *base, LOG), format!("{size} bytes are too many for a segment"));
                return Err(LogError::Corrupt { path, position: 0, reason });
            }
            segments.push(Segment::found(*base, *size as u32, &files, now_ms));
        }
        if segments.is_empty() {
            segments.push(Segment::new(log_start, &files, now_ms));
        }
        let stored_epochs = checkpoint::load_epochs(&dir.join(checkpoint::EPOCHS_FILE_NAME)).at(&dir)?;
        let mut log = Log::with_segments(dir, topic_id, config, files, segments);
        let mut recovery = Recovery::default();
        log.recover_segments(mode, log_start, &mut recovery)?;
        if log.end < log_start {
            // Everything that was left lies below what is wanted.
            log.begin_anew_at(log_start, None)?;
        }
        log.recovery_point = match mode {
            OpenMode::Clean => log.end,
            OpenMode::Recover { recovery_point } => recovery_point.clamp(log.segments[0].base, log.end),
        };
        log.start = log.segments[0].base.max(log_start);
        log.removed_tombstones = RemovedTombstones::load(&log.dir, log.end).at(&log.dir)?;
        log.restore(listing.snapshots, stored_epochs)?;
        log.write_removed_tombstones(crashsafe::Durability::Crash)?;
        if log.dirt.epochs {
            // Before anything of it counts as flushed: the next start takes the epochs below that from the file alone.
            log.rewrite_epochs()?;
        }
        Ok((log, recovery))
    }
}

impl Listing {
    fn read(dir: &std::path::Path) -> Result<Self, LogError> {
        let mut listing = Self::default();
        for entry in fs::read_dir(dir).at(dir)? {
            let entry = entry.at(dir)?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            match parse_file_name(name) {
                Some((base, LOG)) => listing.logs.push((base, entry.metadata().at(dir)?.len())),
                Some((offset, SNAPSHOT)) => _ = listing.snapshots.insert(offset),
                Some((base, INDEX)) => listing.indexes.push((base, INDEX)),
                Some((base, TIME_INDEX)) => listing.indexes.push((base, TIME_INDEX)),
                Some((_, suffix)) if [DELETED, CLEANED, SWAP].iter().any(|end| suffix.ends_with(end)) => {
                    listing.leftovers.push(entry.path())
                }
                _ if name.ends_with(".tmp") => listing.leftovers.push(entry.path()),
                _ => {}
            }
        }
        listing.logs.sort_unstable();
        // An index without a log would be taken for that of a later segment with the same base.
        for (base, suffix) in &listing.indexes {
            if listing.logs.binary_search_by_key(base, |(base, _)| *base).is_err() {
                listing.leftovers.push(file_path(dir, *base, suffix));
            }
        }
        Ok(listing)
    }

    fn remove_leftovers(&self) -> Result<(), LogError> {
        self.leftovers.iter().try_for_each(|path| crashsafe::remove_if_there(path).at(path))
    }
}

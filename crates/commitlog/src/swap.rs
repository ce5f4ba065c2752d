//! Puts compacted segments in the place of those that they were made from. A crash leaves the old ones or the new one.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use domain::Offset;

use crate::{
    CompactionError, Log, LogError,
    cleaned::Cleaned,
    crashsafe,
    error::At,
    retention::DeletedSegment,
    segment::{INDEX, LOG, SEGMENT_BYTES_MAX, SWAP, Segment, TIME_INDEX, file_path, parse_file_name},
    walk::scan,
};

impl Log {
    /// Replaces a compacted segment's sources with it. Whoever reads from their files goes on doing so.
    pub(crate) fn swap_in(&mut self, cleaned: Cleaned, truncations: u32) -> Result<(), CompactionError> {
        let at = self.find(&cleaned, truncations).ok_or(CompactionError::Changed)?;
        let base = cleaned.files.base;
        if cleaned.tombstones_went_below > Offset(0) {
            // Before they go: a crash must not leave a log that does not know of it.
            self.removed_tombstones.raise(cleaned.tombstones_went_below);
            self.write_removed_tombstones(crashsafe::Durability::PowerCut)?;
        }
        let (from, to) = (cleaned.files.path(LOG), swap_path(&self.dir, base));
        fs::rename(&from, to).at(&from)?;
        // From here on a restart finishes it.
        self.put_in_place(at, &cleaned).map_err(CompactionError::Swap)
    }

    /// Where its sources are, if all are there as they were.
    fn find(&self, cleaned: &Cleaned, truncations: u32) -> Option<usize> {
        let at = self.segments.binary_search_by_key(&cleaned.files.base, |segment| segment.base).ok()?;
        // The active segment is none of them.
        let there = self.segments[..self.segments.len() - 1].get(at..at + cleaned.sources.len())?;
        let same = there
            .iter()
            .zip(&cleaned.sources)
            .all(|(s, source)| (s.base, s.size) == (source.base, source.size));
        (same && truncations == self.dirt.truncations).then_some(at)
    }

    fn put_in_place(&mut self, at: usize, cleaned: &Cleaned) -> Result<(), LogError> {
        let (base, count) = (cleaned.files.base, cleaned.sources.len());
        (self.dirt.folder, self.dirt.contents) = (true, true);
        // Offsets lie elsewhere now.
        self.boundaries.clear();
        if count > 1 {
            // Each step must be on disk before the next one: else two segments hold the same offsets after a power cut.
            crashsafe::sync_dir(&self.dir).at(&self.dir)?;
            for source in &cleaned.sources[1..] {
                self.rename_deleted(source.base)?;
                let due_ms = cleaned.now_ms.saturating_add(self.config.file_delete_delay_ms);
                self.deleted.push(DeletedSegment { base: source.base, due_ms });
            }
            crashsafe::sync_dir(&self.dir).at(&self.dir)?;
        }
        self.segments[at].remove_indexes(&self.dir)?;
        let log = file_path(&self.dir, base, LOG);
        fs::rename(swap_path(&self.dir, base), &log).at(&log)?;
        for suffix in [INDEX, TIME_INDEX] {
            let to = file_path(&self.dir, base, suffix);
            fs::rename(cleaned.files.path(suffix), &to).at(&to)?;
        }
        let mut segment = Segment::found(base, cleaned.size, &self.files, cleaned.now_ms);
        segment.newest = Some(cleaned.newest);
        self.segments.splice(at..at + count, [segment]);
        Ok(())
    }
}

fn swap_path(dir: &Path, base: Offset) -> std::path::PathBuf {
    file_path(dir, base, &format!("{LOG}.{SWAP}"))
}

/// Finishes what a crash interrupted: a segment that was to be put in the place of others is. Those of them that lie
/// behind its last record stay if they are still there; they are compacted again.
pub(crate) fn finish(dir: &Path) -> Result<(), LogError> {
    let (mut swaps, mut logs) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(dir).at(dir)? {
        let name = entry.at(dir)?.file_name();
        match name.to_str().and_then(parse_file_name) {
            Some((base, "log.swap")) => swaps.push(base),
            Some((base, LOG)) => logs.push(base),
            _ => {}
        }
    }
    swaps.sort_unstable();
    for base in &swaps {
        let from = swap_path(dir, *base);
        let next_offset = next_offset(&from, *base)?;
        tracing::warn!(path = %from.display(), "putting a compacted segment in its place after a crash");
        for other in logs.iter().filter(|other| *base < **other && **other < next_offset) {
            [INDEX, TIME_INDEX, LOG].into_iter().try_for_each(|suffix| remove(dir, *other, suffix))?;
        }
        crashsafe::sync_dir(dir).at(dir)?;
        [INDEX, TIME_INDEX].into_iter().try_for_each(|suffix| remove(dir, *base, suffix))?;
        fs::rename(&from, file_path(dir, *base, LOG)).at(&from)?;
    }
    match swaps.is_empty() {
        true => Ok(()),
        false => crashsafe::sync_dir(dir).at(dir),
    }
}

fn remove(dir: &Path, base: Offset, suffix: &str) -> Result<(), LogError> {
    let path = file_path(dir, base, suffix);
    crashsafe::remove_if_there(&path).at(&path)
}

/// Where a segment's last batch ends. The file was synced before it got its name: what is wrong in it is damage.
fn next_offset(path: &Path, base: Offset) -> Result<Offset, LogError> {
    let file = File::open(path).at(path)?;
    let size = file.metadata().at(path)?.len();
    if size > SEGMENT_BYTES_MAX {
        let source = io::Error::other("too many bytes for a segment");
        return Err(LogError::Io { path: path.to_owned(), source });
    }
    let mut next_offset = base;
    let (good, stop) = scan(&file, path, (0, size as u32), Offset(i64::MAX), |found| {
        next_offset = found.header.next_offset();
        Ok(())
    })?;
    match stop {
        None => Ok(next_offset),
        Some(stop) => Err(LogError::Corrupt {
            path: path.to_owned(),
            position: good.into(),
            reason: stop.reason.to_string(),
        }),
    }
}

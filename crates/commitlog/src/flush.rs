use std::{fs::File, path::PathBuf, sync::Arc};

use domain::Offset;

use crate::{
    Log, LogError, checkpoint, crashsafe::Durability, error::At, partition_metadata, producer_snapshot,
    removed_tombstones, segment::Segment,
};

/// What a log has not flushed yet: to be synced without holding the log's lock, then handed to [`Log::flushed`].
#[derive(Debug)]
pub struct Unflushed {
    dir: PathBuf,
    files: Vec<Arc<File>>,
    end: Offset,
    truncations: u32,
}

impl Unflushed {
    /// The log end that the flush will stand for.
    pub fn end(&self) -> Offset {
        self.end
    }

    /// Whether there is nothing to sync.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Syncs everything. After an error it must not be tried again: see [`LogError::Flush`].
    pub fn sync(&self) -> Result<(), LogError> {
        for file in &self.files {
            file.sync_data().map_err(|source| LogError::Flush { path: self.dir.clone(), source })?;
        }
        Ok(())
    }
}

impl Log {
    /// The files that must be synced so that everything below the log's end survives a power cut.
    pub fn unflushed(&mut self) -> Result<Unflushed, LogError> {
        self.write_epochs()?;
        self.write_removed_tombstones(Durability::Crash)?;
        let dir = self.dir.clone();
        let mut files = Vec::new();
        for index in self.segment_of(self.recovery_point)..self.segments.len() {
            if !self.segments[index].has_file || self.next_base(index) <= self.recovery_point {
                continue;
            }
            files.push(self.segments[index].log_file(&dir)?);
            if !self.is_active(index) {
                files.push(self.sealed_index(index, Segment::index_file)?);
                files.push(self.sealed_index(index, Segment::time_index_file)?);
                let snapshot = producer_snapshot::open(&dir, self.next_base(index)).at(&dir)?;
                files.extend(snapshot.into_iter().map(Arc::new));
            }
        }
        let mut also = |name: &str| -> Result<(), LogError> {
            let path = dir.join(name);
            files.push(Arc::new(File::open(&path).at(&path)?));
            Ok(())
        };
        if self.dirt.epochs_file {
            also(checkpoint::EPOCHS_FILE_NAME)?;
        }
        if self.dirt.tombstones_file {
            also(removed_tombstones::FILE_NAME)?;
        }
        let folder = self.dirt.folder && (!files.is_empty() || self.dirt.contents);
        if folder {
            let mut also = |path: PathBuf| -> Result<(), LogError> {
                files.push(Arc::new(File::open(&path).at(&path)?));
                Ok(())
            };
            also(dir.join(partition_metadata::FILE_NAME))?;
            also(dir.clone())?;
            // The folder's own name, for its first flush.
            dir.parent().map_or(Ok(()), |parent| also(parent.to_owned()))?;
        }
        // Whatever happens to the folder from here on makes it dirty again.
        self.dirt.folder &= !folder;
        (self.dirt.epochs_file, self.dirt.tombstones_file) = (false, false);
        Ok(Unflushed { dir, files, end: self.end, truncations: self.dirt.truncations })
    }

    /// Takes note that everything in `unflushed` was synced; returns the new recovery point, to be checkpointed.
    pub fn flushed(&mut self, unflushed: &Unflushed) -> Offset {
        // After a truncation the offsets may name other records.
        if unflushed.truncations == self.dirt.truncations {
            self.recovery_point = self.recovery_point.max(unflushed.end);
        }
        self.recovery_point
    }

    /// Takes note that [`crate::DataDir::sync_file_system`] was called after the last write to this log.
    pub fn file_system_synced(&mut self) -> Offset {
        self.recovery_point = self.end;
        self.recovery_point
    }

    /// Flushes everything; returns the new recovery point, to be checkpointed.
    pub fn flush(&mut self) -> Result<Offset, LogError> {
        let unflushed = self.unflushed()?;
        unflushed.sync()?;
        Ok(self.flushed(&unflushed))
    }

    /// Writes what the next opening would otherwise have to find out from the records, and flushes. Returns the recovery
    /// point, which is the log's end. A log that nothing happened to costs next to nothing: what little it writes is left
    /// to [`crate::DataDir::write_clean_shutdown`], which syncs the whole file system.
    pub fn close(mut self) -> Result<Offset, LogError> {
        if !self.write_leftovers()? {
            return Ok(self.end);
        }
        let mut last = Vec::new();
        last.extend(producer_snapshot::open(&self.dir, self.end).at(&self.dir)?.into_iter().map(Arc::new));
        if self.active().has_file {
            last.push(self.active().index_file(&self.dir).at(&self.dir)?);
            last.push(self.active().time_index_file(&self.dir).at(&self.dir)?);
        }
        self.dirt.folder = true;
        let mut unflushed = self.unflushed()?;
        // Before the folder, which comes last.
        unflushed.files.splice(0..0, last);
        unflushed.sync()?;
        Ok(self.flushed(&unflushed))
    }

    /// As [`Log::close`], but syncs nothing: for closing thousands of logs, which one
    /// [`crate::DataDir::sync_file_system`] then makes durable. Until that has succeeded the returned end is no recovery
    /// point.
    pub fn close_unsynced(mut self) -> Result<Offset, LogError> {
        self.write_leftovers()?;
        Ok(self.end)
    }

    /// Writes indexes, producer snapshot and epochs; whether anything had happened to the log.
    fn write_leftovers(&mut self) -> Result<bool, LogError> {
        self.cut_dirty_tail()?;
        if !self.dirt.contents && self.recovery_point == self.end {
            self.write_epochs()?;
            self.write_removed_tombstones(Durability::Crash)?;
            return Ok(false);
        }
        producer_snapshot::write(&self.dir, self.end, &self.producers).at(&self.dir)?;
        if self.active().has_file {
            self.write_tail_index()?;
        }
        self.write_epochs()?;
        self.write_removed_tombstones(Durability::Crash)?;
        Ok(true)
    }
}

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use domain::{ClusterId, NodeEpoch, NodeId, Offset, PartitionIndex, TopicName, TopicPartition};

use crate::{
    CheckpointKind, CleanShutdown, DataDirError, Incarnation, MetaProperties, aside, checkpoint,
    clean_shutdown,
    crashsafe::{self, Durability},
    error::At,
    incarnation, meta_properties, partition_metadata,
};

/// A node's data folder, locked against other processes for as long as this lives: the partitions' folders, and the
/// files that speak for all of them.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Holds the lock.
    _lock: File,
}

/// A partition's folder that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionFolder {
    pub partition: TopicPartition,
    pub path: PathBuf,
}

const LOCK_FILE_NAME: &str = ".lock";

impl DataDir {
    /// Locks the folder, which is made if it is not there. A folder that another process holds is an error at once.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, DataDirError> {
        let path = path.into();
        fs::create_dir_all(&path).in_folder(&path)?;
        let lock_path = path.join(LOCK_FILE_NAME);
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .in_folder(&lock_path)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(DataDirError::Locked(path)),
            Err(TryLockError::Error(source)) => Err(DataDirError::Io { path: lock_path, source }),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where a partition's log lies or will lie.
    pub fn partition_path(&self, partition: &TopicPartition) -> PathBuf {
        self.path.join(partition.to_string())
    }

    /// Whose folder it is; `None` if it was never formatted.
    pub fn meta_properties(&self) -> Result<Option<MetaProperties>, DataDirError> {
        let path = self.path.join(meta_properties::FILE_NAME);
        let Some(content) = crashsafe::read_if_there(&path).in_folder(&path)? else {
            return Ok(None);
        };
        let parsed = String::from_utf8_lossy(&content).parse();
        parsed.map(Some).map_err(|reason| DataDirError::IllFormed { path, reason })
    }

    /// Writes whose folder it is, for good.
    pub fn format(&self, properties: &MetaProperties) -> Result<(), DataDirError> {
        let path = self.path.join(meta_properties::FILE_NAME);
        crashsafe::replace(&path, properties.to_string().as_bytes(), Durability::PowerCut).in_folder(&path)
    }

    /// Refuses the folder of another cluster or node; `None` if it was never formatted.
    pub fn check_owner(
        &self,
        cluster_id: ClusterId,
        node_id: NodeId,
    ) -> Result<Option<MetaProperties>, DataDirError> {
        let found = self.meta_properties()?;
        found.map(|found| found.check(&self.path, cluster_id, node_id).map(|()| found)).transpose()
    }

    /// Takes the mark of a clean shutdown away, for good, before anything is written: from now on a crash is a crash.
    /// `None` if the last shutdown was not clean, or its mark cannot be understood.
    pub fn take_clean_shutdown(&self) -> Result<Option<CleanShutdown>, DataDirError> {
        let path = self.path.join(clean_shutdown::FILE_NAME);
        let content = crashsafe::read_if_there(&path).in_folder(&path)?;
        crashsafe::remove(&path).in_folder(&path)?;
        Ok(content.and_then(|content| CleanShutdown::decode(&content)))
    }

    /// Makes everything durable that was written to this folder's file system (`syncfs`): one wait instead of one a file.
    pub fn sync_file_system(&self) -> Result<(), DataDirError> {
        let dir = File::open(&self.path).in_folder(&self.path)?;
        rustix::fs::syncfs(&dir).in_folder(&self.path)
    }

    /// Writes the mark of a clean shutdown. Called last, after every log was closed and every checkpoint written; the
    /// whole file system is synced before, so that the mark never speaks for what is not there.
    pub fn write_clean_shutdown(&self, node_epoch: NodeEpoch) -> Result<(), DataDirError> {
        self.sync_file_system()?;
        let path = self.path.join(clean_shutdown::FILE_NAME);
        let content = CleanShutdown { node_epoch }.encode();
        crashsafe::replace(&path, content.as_bytes(), Durability::PowerCut).in_folder(&path)
    }

    /// Records, for good, under which registration this process writes here. Called before its first append.
    pub fn record_incarnation(&self, incarnation: &Incarnation) -> Result<(), DataDirError> {
        let path = self.path.join(incarnation::FILE_NAME);
        crashsafe::replace(&path, incarnation.encode().as_bytes(), Durability::PowerCut).in_folder(&path)
    }

    /// Takes the record away: whatever comes next has no proof of what is on this disk.
    pub fn forget_incarnation(&self) -> Result<(), DataDirError> {
        let path = self.path.join(incarnation::FILE_NAME);
        crashsafe::remove(&path).in_folder(&path)
    }

    /// The last incarnation that wrote here. `None`, with a warning unless there is no file, if it cannot be read or
    /// understood, or was recorded for a folder of another id: then it proves nothing.
    pub fn read_incarnation(&self) -> Option<Incarnation> {
        let path = self.path.join(incarnation::FILE_NAME);
        let read = || -> Result<Option<Incarnation>, String> {
            let content = crashsafe::read_if_there(&path).map_err(|error| error.to_string())?;
            let Some(found) = content.map(|content| Incarnation::decode(&content)).transpose()? else {
                return Ok(None);
            };
            match self.meta_properties().ok().flatten() {
                Some(meta) if meta.directory_id != found.directory => {
                    Err(format!("is of directory {}, and this one is {}", found.directory, meta.directory_id))
                }
                _ => Ok(Some(found)),
            }
        };
        read().unwrap_or_else(|reason| {
            tracing::warn!(path = %path.display(), reason, "the recorded incarnation counts for nothing");
            None
        })
    }

    /// One offset for each partition; empty if it was never written. An ill-formed file is an error: its loss would
    /// look like a smaller offset.
    pub fn read_checkpoint(
        &self,
        kind: CheckpointKind,
    ) -> Result<BTreeMap<TopicPartition, Offset>, DataDirError> {
        let path = self.path.join(kind.file_name());
        let Some(content) = crashsafe::read_if_there(&path).in_folder(&path)? else {
            return Ok(BTreeMap::new());
        };
        checkpoint::decode_offsets(&String::from_utf8_lossy(&content))
            .map_err(|reason| DataDirError::IllFormed { path, reason })
    }

    pub fn write_checkpoint(
        &self,
        kind: CheckpointKind,
        offsets: &BTreeMap<TopicPartition, Offset>,
    ) -> Result<(), DataDirError> {
        let path = self.path.join(kind.file_name());
        let text = checkpoint::encode_offsets(offsets);
        crashsafe::replace(&path, text.as_bytes(), Durability::PowerCut).in_folder(&path)
    }

    /// Removes the folders of partitions that a crash left before anything was in them; how many. To be called before they
    /// are opened.
    pub fn remove_unborn(&self) -> Result<usize, DataDirError> {
        let mut removed = 0;
        for (name, path) in self.folders()? {
            if parse_folder_name(&name).is_some() && is_unborn(&path) {
                tracing::warn!(path = %path.display(), "a crash came before this partition had anything in it");
                fs::remove_dir_all(&path).in_folder(&path)?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// The partitions' folders, in the order of their names. Folders under other names are left alone.
    pub fn list_partitions(&self) -> Result<Vec<PartitionFolder>, DataDirError> {
        let mut found = Vec::new();
        for (name, path) in self.folders()? {
            match parse_folder_name(&name) {
                Some(partition) => found.push(PartitionFolder { partition, path }),
                None if aside::is_aside(&name) => {}
                None => {
                    tracing::warn!(path = %path.display(), "this folder is no partition's and is ignored")
                }
            }
        }
        found.sort_by(|a, b| a.partition.cmp(&b.partition));
        Ok(found)
    }

    /// Removes everything that is in it, whose folder it is last: it is as it was before it was formatted.
    ///
    /// # Errors
    /// Something could not be removed. Calling it again goes on.
    pub fn empty(&self) -> Result<(), DataDirError> {
        for (_, path) in self.folders()? {
            fs::remove_dir_all(&path).in_folder(&path)?;
        }
        let identity = self.path.join(meta_properties::FILE_NAME);
        for entry in fs::read_dir(&self.path).in_folder(&self.path)? {
            let path = entry.in_folder(&self.path)?.path();
            if path != identity && path != self.path.join(LOCK_FILE_NAME) {
                crashsafe::remove(&path).in_folder(&path)?;
            }
        }
        crashsafe::remove(&identity).in_folder(&identity)
    }

    /// Bytes that are free for this process, for the disk guard.
    pub fn free_bytes(&self) -> Result<u64, DataDirError> {
        let status = rustix::fs::statvfs(&self.path).in_folder(&self.path)?;
        Ok(status.f_bavail.saturating_mul(status.f_frsize))
    }

    pub(crate) fn folders(&self) -> Result<Vec<(String, PathBuf)>, DataDirError> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.path).in_folder(&self.path)? {
            let entry = entry.in_folder(&self.path)?;
            if entry.file_type().in_folder(&self.path)?.is_dir() {
                found.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
            }
        }
        Ok(found)
    }
}

/// A new partition's folder that a crash left before its topic id was in it: without that, and without anything in a log,
/// nothing is there that anybody counts on.
fn is_unborn(path: &Path) -> bool {
    let is_written = |entry: io::Result<fs::DirEntry>| {
        entry.is_ok_and(|e| {
            e.path().extension().is_some_and(|e| e == "log") && e.metadata().is_ok_and(|file| file.len() > 0)
        })
    };
    !partition_metadata::is_there(path)
        && fs::read_dir(path).is_ok_and(|mut entries| !entries.any(is_written))
}

/// `topic-3`; the topic may have hyphens itself.
fn parse_folder_name(name: &str) -> Option<TopicPartition> {
    let (topic, digits) = name.rsplit_once('-')?;
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let partition = digits.parse().ok().filter(|_| plain)?;
    Some(TopicPartition::new(TopicName::new(topic).ok()?, PartitionIndex(partition)))
}

#[cfg(test)]
mod tests {
    use domain::DirectoryId;

    use super::*;

    #[test]
    fn an_emptied_folder_is_as_it_was_before_it_was_formatted() {
        let folder = tempfile::tempdir().unwrap();
        let dir = DataDir::open(folder.path()).unwrap();
        let (cluster_id, directory_id) =
            (ClusterId(uuid::Uuid::from_u128(1)), DirectoryId(uuid::Uuid::from_u128(2)));
        dir.format(&MetaProperties { cluster_id, node_id: NodeId(3), directory_id }).unwrap();
        let partition = TopicPartition { topic: TopicName::new("t").unwrap(), partition: PartitionIndex(0) };
        fs::create_dir(dir.partition_path(&partition)).unwrap();
        fs::write(dir.partition_path(&partition).join("00000000000000000000.log"), "x").unwrap();
        dir.write_checkpoint(CheckpointKind::Replication, &BTreeMap::from([(partition, Offset(7))])).unwrap();
        dir.empty().unwrap();
        assert_eq!(dir.meta_properties().unwrap(), None);
        assert!(dir.list_partitions().unwrap().is_empty());
        assert!(dir.read_checkpoint(CheckpointKind::Replication).unwrap().is_empty());
        assert!(matches!(DataDir::open(folder.path()), Err(DataDirError::Locked(_))), "it is held still");
        dir.empty().unwrap();
    }
}

//! Partitions' folders that are out of use: of deleted partitions, and of damaged replicas.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use domain::TopicPartition;
use uuid::Uuid;

use crate::{DataDir, DataDirError, crashsafe, error::At, partition_metadata};

const DELETE_SUFFIX: &str = "-delete";
const QUARANTINE_SUFFIX: &str = "-quarantine";
/// What a file system takes as a name.
const NAME_BYTES_MAX: usize = 255;

impl DataDir {
    /// Puts a deleted partition's folder out of the way under a name of its own, so that a new partition of the same
    /// name can be made at once; [`DataDir::remove_retired`] removes it. `unique` makes the name.
    pub fn retire_partition(
        &self,
        partition: &TopicPartition,
        unique: Uuid,
    ) -> Result<PathBuf, DataDirError> {
        let from = self.partition_path(partition);
        let to = self.path().join(aside_name(partition, unique, DELETE_SUFFIX));
        fs::rename(&from, &to).in_folder(&from)?;
        // Not synced: after a power cut the folder is there under its old name, with a topic id that no topic has any more,
        // and goes then. One wait for the disk a partition would hold up all metadata when a large topic is deleted.
        Ok(to)
    }

    /// Puts a damaged partition's folder aside, for good, so that a fresh replica can be fetched under its name. It is
    /// never opened again, nor removed by [`DataDir::remove_retired`]: it is for the operator, and takes its space until
    /// removed by hand or by the partition's next quarantine, because one copy a partition is kept. `unique` makes the
    /// name.
    ///
    /// The partition must be out of the checkpoints before the fresh log is made: they speak of the damaged one.
    pub fn quarantine_partition(
        &self,
        partition: &TopicPartition,
        unique: Uuid,
    ) -> Result<PathBuf, DataDirError> {
        let from = self.partition_path(partition);
        let name = aside_name(partition, unique, QUARANTINE_SUFFIX);
        let to = self.path().join(&name);
        fs::rename(&from, &to).in_folder(&from)?;
        // Else a power cut brings the damaged folder back beside checkpoints that know it no more.
        crashsafe::sync_dir(self.path()).in_folder(self.path())?;
        for (other, path) in self.folders()? {
            if !is_older_copy(&other, &name) || (name.len() == NAME_BYTES_MAX && !same_topic(&path, &to)) {
                continue;
            }
            // The fresh replica does not depend on it.
            if let Err(error) = fs::remove_dir_all(&path) {
                tracing::warn!(path = %path.display(), %error, "an older quarantined copy cannot be removed");
            }
        }
        Ok(to)
    }

    /// The folders that wait for their removal.
    pub fn list_retired(&self) -> Result<Vec<PathBuf>, DataDirError> {
        let folders = self.folders()?.into_iter();
        Ok(folders.filter(|(name, _)| is_retired(name)).map(|(_, path)| path).collect())
    }

    /// Removes the folders of deleted partitions; how many. Slow when they are large: for a background thread.
    pub fn remove_retired(&self) -> Result<usize, DataDirError> {
        let retired = self.list_retired()?;
        for path in &retired {
            match fs::remove_dir_all(path) {
                // Another sweep was faster.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other.in_folder(path)?,
            }
        }
        Ok(retired.len())
    }
}

/// Whether a folder says by its name that it is out of use.
pub(crate) fn is_aside(name: &str) -> bool {
    name.ends_with(DELETE_SUFFIX) || name.ends_with(QUARANTINE_SUFFIX)
}

/// A folder's name after it was put aside, for example `topic-3.<32 hexadecimal digits>-delete`. The topic is cut where
/// the name would be too long; Kafka cuts it, too.
fn aside_name(partition: &TopicPartition, unique: Uuid, suffix: &str) -> String {
    let suffix = format!("-{}.{}{suffix}", partition.partition, unique.simple());
    let topic = partition.topic.as_str();
    format!("{}{suffix}", &topic[..topic.len().min(NAME_BYTES_MAX - suffix.len())])
}

/// Whether a folder is another quarantined copy of the partition that `name` is of.
fn is_older_copy(other: &str, name: &str) -> bool {
    let partition = |name| aside_from(name, QUARANTINE_SUFFIX);
    other != name && partition(other).is_some() && partition(other) == partition(name)
}

/// For names that were cut, and may be alike for different topics.
fn same_topic(path: &Path, other: &Path) -> bool {
    let topics = (partition_metadata::read(path), partition_metadata::read(other));
    matches!(topics, (Ok(one), Ok(other)) if one == other)
}

fn is_retired(name: &str) -> bool {
    aside_from(name, DELETE_SUFFIX).is_some()
}

/// The name that a folder had before it was put aside with this suffix, as far as it was not cut.
fn aside_from<'n>(name: &'n str, suffix: &str) -> Option<&'n str> {
    let (partition, unique) = name.strip_suffix(suffix)?.rsplit_once('.')?;
    let is_unique = unique.len() == 32 && unique.bytes().all(|b| b.is_ascii_hexdigit());
    is_unique.then_some(partition)
}

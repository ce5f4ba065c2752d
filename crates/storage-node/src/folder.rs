use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use commitlog::{
    CheckpointKind, DataDir, DataDirError, FileCache, Log, LogError, OpenMode, PartitionFolder, Proof, Torn,
};
use domain::{Offset, TopicConfig, TopicPartition};
use parking_lot::Mutex;

use crate::{clock::now_ms, home::Home, partition::LocalPartition};

/// A data folder with its partitions, opened and recovered.
pub(crate) struct OpenedFolder {
    pub(crate) dir: DataDir,
    pub(crate) partitions: Vec<LocalPartition>,
    /// Whether the last process here shut down cleanly.
    pub(crate) clean: bool,
    /// What can be said of the disk to the controller (R10).
    pub(crate) proof: Proof,
}

/// Why a data folder could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error("opening the partitions panicked; nothing was changed that a new start would not find")]
    Panicked,
    #[error("partition {partition}: {source}")]
    Partition { partition: TopicPartition, source: LogError },
}

/// How often a long recovery says where it is.
const PROGRESS_EVERY_S: u64 = 2;

/// Locks the folder and opens every partition in it, several at once; after a crash each is recovered.
pub(crate) fn open(
    home: &Arc<Home>,
    path: &Path,
    files: &Arc<FileCache>,
) -> Result<OpenedFolder, FolderError> {
    let dir = DataDir::open(path)?;
    // Before anything is touched: another node's folder stays as it is.
    if let Some(properties) = dir.meta_properties()? {
        properties.check(dir.path(), properties.cluster_id, home.node)?;
    }
    let mark = dir.take_clean_shutdown()?;
    let clean = mark.is_some();
    let high_watermarks = dir.read_checkpoint(CheckpointKind::Replication)?;
    let points = dir.read_checkpoint(CheckpointKind::RecoveryPoint)?;
    let starts = dir.read_checkpoint(CheckpointKind::LogStart)?;
    let cleaned = dir.read_checkpoint(CheckpointKind::Cleaner)?;
    dir.remove_unborn()?;
    let folders = dir.list_partitions()?;
    let started = Instant::now();
    let opening = Opening {
        home: home.clone(),
        dir: &dir,
        clean,
        high_watermarks,
        torn: Mutex::default(),
        points,
        starts,
        cleaned,
        files: files.clone(),
        next: AtomicUsize::new(0),
        folders,
        done: Mutex::default(),
    };
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    let finished = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(|| opening.work(started))).collect();
        let joined = workers.into_iter().map(|w| w.join().unwrap_or(Err(FolderError::Panicked)));
        joined.collect::<Result<Vec<()>, _>>()
    });
    finished?;
    let partitions = opening.done.into_inner();
    let torn = opening.torn.into_inner();
    if !clean {
        // What recovery has read may lie in the page cache only. From here on it counts as flushed (R10), so it must be;
        // an error here is the end: nobody may lead from a disk that does not sync.
        dir.sync_file_system()?;
        for partition in &partitions {
            partition.with_log(Log::file_system_synced);
        }
    }
    let proof = commitlog::proof(
        dir.read_incarnation().as_ref(),
        mark.as_ref(),
        commitlog::boot_id().as_deref(),
        &torn,
    );
    let (intact, why) = (proof.intact, &proof.reason);
    tracing::info!(partitions = partitions.len(), clean, intact, why, elapsed = ?started.elapsed(), "data folder opened");
    Ok(OpenedFolder { dir, partitions, clean, proof })
}

struct Opening<'d> {
    home: Arc<Home>,
    dir: &'d DataDir,
    clean: bool,
    high_watermarks: BTreeMap<TopicPartition, Offset>,
    /// The worst end of all logs.
    torn: Mutex<Torn>,
    points: BTreeMap<TopicPartition, Offset>,
    starts: BTreeMap<TopicPartition, Offset>,
    cleaned: BTreeMap<TopicPartition, Offset>,
    files: Arc<FileCache>,
    folders: Vec<PartitionFolder>,
    next: AtomicUsize,
    done: Mutex<Vec<LocalPartition>>,
}

impl Opening<'_> {
    fn work(&self, started: Instant) -> Result<(), FolderError> {
        let config = Arc::new(TopicConfig::default());
        let mut told_s = 0;
        while let Some(folder) = self.folders.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            let opened = self.open(folder, &config)?;
            let done = {
                let mut done = self.done.lock();
                done.extend(opened);
                done.len()
            };
            let elapsed_s = started.elapsed().as_secs();
            if elapsed_s >= told_s + PROGRESS_EVERY_S {
                told_s = elapsed_s;
                tracing::info!(done, of = self.folders.len(), "opening partitions");
            }
        }
        Ok(())
    }

    /// `None`: nobody can say what it was, and it was put aside.
    fn open(
        &self,
        folder: &PartitionFolder,
        config: &Arc<TopicConfig>,
    ) -> Result<Option<LocalPartition>, FolderError> {
        let name = &folder.partition;
        let point = self.points.get(name).copied().unwrap_or(Offset(0));
        let mode = match self.clean {
            true => OpenMode::Clean,
            false => OpenMode::Recover { recovery_point: point },
        };
        let start = self.starts.get(name).copied().unwrap_or(Offset(0));
        let opened =
            Log::open(folder.path.clone(), config.clone(), self.files.clone(), mode, start, now_ms());
        let failed = |source| FolderError::Partition { partition: name.clone(), source };
        let (mut log, recovery) = match opened {
            Ok(opened) => opened,
            // Damage below the recovery point: nothing is cut and nothing is served, and the others go on.
            Err(error @ (LogError::Corrupt { .. } | LogError::Shortened { .. })) => {
                tracing::error!(partition = %name, %error, "the partition stays offline");
                metrics::counter!("anabranch_storage_offline_partitions_total").increment(1);
                let topic_id = commitlog::topic_id_of(&folder.path).map_err(failed)?;
                let offline =
                    LocalPartition::offline(self.home.clone(), name.clone(), topic_id, point, start);
                return Ok(Some(offline));
            }
            // Nothing of it was ever flushed: a power cut took its topic id, and who knows what else. This node proves
            // nothing about its disk, and the others go on.
            Err(error @ LogError::Metadata { .. }) if point == Offset(0) => {
                let to = self.dir.quarantine_partition(name, uuid::Uuid::new_v4())?;
                tracing::error!(partition = %name, %error, to = %to.display(), "put a replica without a topic id aside");
                metrics::counter!("anabranch_storage_quarantined_partitions_total").increment(1);
                self.note(Torn::Damaged { reason: error.to_string() });
                return Ok(None);
            }
            Err(source) => return Err(failed(source)),
        };
        if recovery.truncated_bytes > 0 {
            let bytes = recovery.truncated_bytes;
            tracing::warn!(partition = %name, bytes, "cut a torn tail after a crash");
        }
        log.set_first_dirty(self.cleaned.get(name).copied().unwrap_or(Offset(0)));
        self.note(recovery.torn);
        let high_watermark = self.high_watermarks.get(name).copied().unwrap_or(Offset(0));
        Ok(Some(LocalPartition::new(self.home.clone(), name.clone(), log, high_watermark)))
    }

    fn note(&self, torn: Torn) {
        let mut worst = self.torn.lock();
        if torn > *worst {
            *worst = torn;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use domain::NodeId;

    use super::*;

    /// A power cut soon after a partition was made left its log and an empty file where its topic id belongs, and the node
    /// did not start again.
    #[test]
    fn one_partition_that_lost_its_topic_id_does_not_keep_a_node_from_starting() {
        let dir = tempfile::tempdir().unwrap();
        let (home, files) = (Arc::new(Home::new(NodeId(0))), FileCache::new(4));
        let topic = domain::TopicId(uuid::Uuid::from_u128(1));
        let (whole, lost) = (dir.path().join("a-0"), dir.path().join("b-0"));
        for path in [&whole, &lost] {
            Log::create(path.clone(), topic, Arc::default(), files.clone()).unwrap();
        }
        fs::write(lost.join("partition.metadata"), b"").unwrap();
        fs::write(lost.join("00000000000000000000.log"), b"something").unwrap();
        let opened = open(&home, dir.path(), &files).unwrap();
        assert_eq!(opened.partitions.len(), 1);
        assert!(!opened.proof.intact && whole.exists() && !lost.exists());
        drop(opened);
        // What was flushed once must be there.
        fs::create_dir(&lost).unwrap();
        fs::write(lost.join("00000000000000000000.log"), b"something").unwrap();
        fs::write(dir.path().join("recovery-point-offset-checkpoint"), b"0\n1\nb 0 7\n").unwrap();
        assert!(matches!(open(&home, dir.path(), &files), Err(FolderError::Partition { .. })));
    }
}

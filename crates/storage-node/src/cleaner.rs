//! Compaction: replaces what is sealed of compacted topics by the last record of each key, on leaders and followers alike.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use commitlog::{Compacted, CompactionError, CompactionLimits, Log, SharedLog, compact};
use domain::{Offset, TopicPartition};
use tokio_util::sync::CancellationToken;

use crate::{clock::now_ms, partition::LocalPartition, store::Store};

/// After so many bytes the disk, and the processor, are others' for a moment.
const STEP_BYTES: u64 = 1 << 20;
const STEP_PAUSE: Duration = Duration::from_millis(5);

/// Partitions that could not be compacted, and where what was to be compacted ended: they are left alone until there is
/// more.
type Failed = BTreeMap<TopicPartition, Offset>;

/// A partition that is to be compacted.
struct Due {
    partition: Arc<LocalPartition>,
    committed: Offset,
    until: Offset,
    ppm: u32,
}

impl SharedLog for LocalPartition {
    fn with_log<T>(&self, keep: impl FnOnce(&mut Log) -> T) -> Option<T> {
        LocalPartition::with_log(self, keep)
    }
}

/// Compacts what has become dirty enough, one partition at a time, until the token is cancelled.
pub(crate) async fn run(store: Arc<Store>, every: Duration, stop: CancellationToken) {
    let mut look = tokio::time::interval(every);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut failed = Failed::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = look.tick() => {}
        }
        let (store, stop) = (store.clone(), stop.clone());
        let looked = tokio::task::spawn_blocking(move || {
            clean(&store, &mut failed, &stop);
            failed
        });
        failed = looked.await.unwrap_or_else(|error| {
            tracing::error!(%error, "compaction failed");
            Failed::new()
        });
    }
}

/// One look at all partitions: the dirtiest comes first.
fn clean(store: &Store, failed: &mut Failed, stop: &CancellationToken) {
    let now_ms = now_ms();
    let partitions = store.all();
    partitions.iter().for_each(|partition| seal(partition, now_ms));
    let mut due: Vec<Due> =
        partitions.into_iter().filter_map(|partition| look_at(partition, now_ms)).collect();
    failed.retain(|name, until| due.iter().any(|due| due.partition.name == *name && due.until == *until));
    due.retain(|due| !failed.contains_key(&due.partition.name));
    due.sort_by_key(|due| std::cmp::Reverse(due.ppm));
    let mut cleaned = false;
    for due in due {
        match compact_one(&due, now_ms, stop) {
            Ok(done) => {
                cleaned = true;
                tell(&due.partition, &done);
            }
            Err(CompactionError::Stopped) => break,
            Err(CompactionError::Changed) => {
                tracing::debug!(partition = %due.partition.name, "changed while it was compacted");
            }
            Err(CompactionError::Swap(error)) => due.partition.give_up(&error),
            Err(CompactionError::Log(error)) => {
                tracing::error!(partition = %due.partition.name, %error, "could not be compacted");
                failed.insert(due.partition.name.clone(), due.until);
            }
        }
    }
    if cleaned && let Err(error) = store.write_checkpoints() {
        tracing::error!(%error, "checkpoints were not written");
    }
}

/// Nothing in an active segment is compacted: one that is old enough is sealed, though nobody appends.
fn seal(partition: &LocalPartition, now_ms: i64) {
    if let Some(Err(error)) = partition.with_log(|log| log.roll_for_compaction(now_ms)) {
        tracing::error!(partition = %partition.name, %error, "the active segment could not be sealed");
    }
}

fn look_at(partition: Arc<LocalPartition>, now_ms: i64) -> Option<Due> {
    let committed = partition.committed_end()?;
    let dirtiness = partition.with_log(|log| {
        let dirtiness = log.dirtiness(committed, now_ms);
        dirtiness.map(|dirtiness| dirtiness.filter(|dirtiness| dirtiness.is_due(log.config())))
    })?;
    match dirtiness {
        Ok(dirtiness) => dirtiness.map(|d| Due { partition, committed, until: d.until, ppm: d.ppm() }),
        Err(error) => {
            tracing::error!(partition = %partition.name, %error, "how dirty it is cannot be told");
            None
        }
    }
}

fn compact_one(due: &Due, now_ms: i64, stop: &CancellationToken) -> Result<Compacted, CompactionError> {
    let mut since_pause = 0;
    let mut pace = |bytes| {
        since_pause += bytes;
        if since_pause >= STEP_BYTES {
            since_pause = 0;
            std::thread::sleep(STEP_PAUSE);
        }
        !stop.is_cancelled()
    };
    compact(&*due.partition, due.committed, now_ms, CompactionLimits::default(), &mut pace)
}

fn tell(partition: &LocalPartition, done: &Compacted) {
    metrics::counter!("anabranch_storage_compactions_total").increment(1);
    metrics::counter!("anabranch_storage_compacted_bytes_total").increment(done.bytes);
    let Compacted { segments, bytes, segments_after, bytes_after, records_removed, until } = *done;
    tracing::info!(
        partition = %partition.name,
        segments, bytes, segments_after, bytes_after, records_removed, %until, "compacted"
    );
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use bytes::Bytes;
    use commitlog::{CheckpointKind, DataDir, FileCache};
    use domain::{LeaderEpoch, NodeId, PartitionEpoch, PartitionIndex, TopicConfig, TopicId, TopicName};
    use records::{BatchBuilder, Compression};
    use replica::PartitionState;

    use super::*;
    use crate::{home::Home, replication::Fetchers};

    const ME: NodeId = NodeId(0);

    fn name(partition: i32) -> TopicPartition {
        TopicPartition::new(TopicName::new("t").unwrap(), PartitionIndex(partition))
    }

    /// Partitions of a compacted topic that this node leads alone.
    fn store(dir: &Path, partitions: i32) -> Store {
        let (home, files) = (Arc::new(Home::new(ME)), FileCache::new(16));
        let dir = DataDir::open(dir).unwrap();
        let overrides = [("cleanup.policy", "compact"), ("segment.ms", "100")];
        let overrides = overrides.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let config = Arc::new(TopicConfig::effective(&overrides.into(), &BTreeMap::new()));
        let partition = |number| {
            let (path, id) = (dir.partition_path(&name(number)), TopicId(uuid::Uuid::from_u128(1)));
            let log = Log::create(path, id, config.clone(), files.clone()).unwrap();
            let partition = LocalPartition::new(home.clone(), name(number), log, Offset(0));
            let state = PartitionState {
                leader: Some(ME),
                leader_epoch: LeaderEpoch(0),
                epoch: PartitionEpoch(0),
                replicas: vec![ME],
                isr: vec![ME],
                min_isr: 1,
                recovering: false,
            };
            partition.adopt(&state, None);
            partition
        };
        let found = (0..partitions).map(partition).collect();
        Store::new(home.clone(), dir, files, found, Fetchers::new().0)
    }

    /// Two records of one key, both old.
    fn put(store: &Store, partition: i32) -> Arc<LocalPartition> {
        let partition = store.get("t", PartitionIndex(partition)).unwrap();
        for value in [b"1", b"2"] {
            let mut builder = BatchBuilder::new(Compression::None);
            builder.push(1_000, Some(b"k"), Some(value), &[]);
            partition.append(&builder.build(), false, true, 1_000).unwrap();
        }
        partition
    }

    fn batches(partition: &LocalPartition) -> usize {
        let slice = partition.fetch(Offset(0), -1, false, 1 << 20, true).unwrap().slice.unwrap();
        let mut bytes = vec![0; slice.bytes as usize];
        std::os::unix::fs::FileExt::read_exact_at(&*slice.file, &mut bytes, slice.position).unwrap();
        records::check_batches(&Bytes::from(bytes)).count()
    }

    #[test]
    fn what_is_old_is_sealed_and_compacted_and_the_checkpoint_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let (store, mut failed, stop) = (store(dir.path(), 2), Failed::new(), CancellationToken::new());
        let partition = put(&store, 0);
        assert_eq!(batches(&partition), 2);
        clean(&store, &mut failed, &stop);
        assert_eq!(batches(&partition), 1);
        let checkpoint = store.dir.read_checkpoint(CheckpointKind::Cleaner).unwrap();
        assert_eq!(checkpoint, BTreeMap::from([(name(0), Offset(2))]));
    }

    #[test]
    fn a_partition_that_cannot_be_compacted_is_left_alone_until_there_is_more() {
        let dir = tempfile::tempdir().unwrap();
        let (store, mut failed, stop) = (store(dir.path(), 2), Failed::new(), CancellationToken::new());
        let (bad, good) = (put(&store, 0), put(&store, 1));
        let path = store.dir.partition_path(&name(0)).join(format!("{:020}.log", 0));
        let whole = std::fs::read(&path).unwrap();
        let mut hurt = whole.clone();
        *hurt.last_mut().unwrap() ^= 1;
        std::fs::write(&path, hurt).unwrap();
        clean(&store, &mut failed, &stop);
        assert_eq!((failed.clone(), batches(&good)), (Failed::from([(name(0), Offset(2))]), 1));
        std::fs::write(&path, whole).unwrap();
        clean(&store, &mut failed, &stop);
        assert_eq!(batches(&bad), 2, "nothing has changed");
        put(&store, 0);
        clean(&store, &mut failed, &stop);
        assert_eq!((failed.len(), batches(&bad)), (0, 1));
    }
}

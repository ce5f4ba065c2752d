use std::{sync::Arc, time::Duration};

use replica::PRODUCER_EXPIRATION_MS;
use rpc::WatchedImage;
use tokio_util::sync::CancellationToken;

use crate::{clock::now_ms, disk::DiskGuard, partition::LocalPartition, store::Store};

/// A log with more than this behind its recovery point is flushed, so that a recovery stays short.
const UNFLUSHED_BYTES_MAX: i64 = 64 << 20;
const FLUSH_EVERY: Duration = Duration::from_secs(30);
/// How often the disk guard looks: within that time a disk must not fill up from the reserve.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What a node does unasked, until the token is cancelled: retention, removal of deleted files, flushes, checkpoints.
pub(crate) async fn run(
    store: Arc<Store>,
    disk: Arc<DiskGuard>,
    image: WatchedImage,
    retention_every: Duration,
    stop: CancellationToken,
) {
    let mut retention = tokio::time::interval(retention_every);
    let mut flush = tokio::time::interval(FLUSH_EVERY);
    let mut sweep = tokio::time::interval(Duration::from_secs(5));
    let mut look = tokio::time::interval(LOOK_EVERY);
    loop {
        let store = store.clone();
        let done = tokio::select! {
            () = stop.cancelled() => return,
            _ = retention.tick() => tokio::task::spawn_blocking(move || retain(&store)).await,
            _ = flush.tick() => tokio::task::spawn_blocking(move || flush_large(&store)).await,
            _ = look.tick() => {
                let disk = disk.clone();
                tokio::task::spawn_blocking(move || look_at_disk(&store, &disk)).await
            }
            _ = sweep.tick() => {
                let image = image.load();
                tokio::task::spawn_blocking(move || {
                    store.renew_offline(&image);
                    remove_deleted(&store);
                    checkpoint_committed(&store);
                    store.make_missing(&image);
                })
                .await
            }
        };
        if let Err(error) = done {
            tracing::error!(%error, "upkeep failed");
        }
    }
}

fn retain(store: &Store) {
    let now_ms = now_ms();
    let mut moved = false;
    for partition in store.all() {
        let Some(committed) = partition.committed_end() else { continue };
        let retained = partition.with_log(|log| {
            log.expire_producers(now_ms, PRODUCER_EXPIRATION_MS);
            log.apply_retention(now_ms, committed)
        });
        match retained {
            Some(Ok(retained)) if retained.segments > 0 => {
                moved = true;
                let (segments, bytes) = (retained.segments, retained.bytes);
                tracing::info!(partition = %partition.name, segments, bytes, "retention took segments away");
            }
            Some(Err(error)) => tracing::error!(partition = %partition.name, %error, "retention failed"),
            _ => {}
        }
    }
    if moved && let Err(error) = store.write_checkpoints() {
        tracing::error!(%error, "checkpoints were not written");
    }
}

fn look_at_disk(store: &Store, disk: &DiskGuard) {
    if let Err(error) = disk.check(&store.dir) {
        tracing::error!(%error, "the disk's free space is not known");
    }
}

fn count(partitions: &[Arc<LocalPartition>]) {
    let (mut leads, mut offline, mut under_replicated, mut under_min_isr) = (0, 0, 0, 0);
    for standing in partitions.iter().map(|p| p.standing()) {
        leads += u32::from(standing.leads);
        offline += u32::from(standing.offline);
        under_replicated += u32::from(standing.under_replicated);
        under_min_isr += u32::from(standing.under_min_isr);
    }
    metrics::gauge!("anabranch_storage_replicas").set(partitions.len() as f64);
    metrics::gauge!("anabranch_storage_leaders").set(leads);
    metrics::gauge!("anabranch_storage_offline_replicas").set(offline);
    metrics::gauge!("anabranch_storage_under_replicated_partitions").set(under_replicated);
    metrics::gauge!("anabranch_storage_under_min_isr_partitions").set(under_min_isr);
}

/// A node that is killed and comes back alone can serve what it knew to be committed.
fn checkpoint_committed(store: &Store) {
    let outgrown = store.all().iter().any(|partition| partition.outgrew_checkpoint());
    if outgrown && let Err(error) = store.write_checkpoints() {
        tracing::error!(%error, "checkpoints were not written");
    }
}

fn remove_deleted(store: &Store) {
    let now_ms = now_ms();
    count(&store.all());
    for partition in store.all() {
        let removed = partition.with_log(|log| match log.has_deleted() {
            true => log.remove_deleted(now_ms).map(drop),
            false => Ok(()),
        });
        if let Some(Err(error)) = removed {
            tracing::error!(partition = %partition.name, %error, "deleted segments stay");
        }
    }
    if let Err(error) = store.dir.remove_retired() {
        tracing::error!(%error, "a deleted partition's folder stays");
    }
}

fn flush_large(store: &Store) {
    let mut flushed = false;
    for partition in store.all() {
        let behind = partition.with_log(|log| {
            (log.size_bytes() as i64 > UNFLUSHED_BYTES_MAX) && log.recovery_point() < log.end_offset()
        });
        if behind != Some(true) {
            continue;
        }
        match partition.flush_all() {
            Ok(_) => flushed = true,
            Err(error) => tracing::error!(partition = %partition.name, %error, "flush failed"),
        }
    }
    if flushed && let Err(error) = store.write_checkpoints() {
        tracing::error!(%error, "checkpoints were not written");
    }
}

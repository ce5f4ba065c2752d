use std::{sync::Arc, time::Duration};

use commitlog::LogError;
use domain::Offset;
use tokio_util::sync::CancellationToken;

use crate::{partition::LocalPartition, store::Store};

/// How much is read of one log before others may use it again.
const STEP_BYTES: u64 = 1 << 20;
/// After a step: a scrub takes no more than a small part of the disk's time.
const STEP_PAUSE: Duration = Duration::from_millis(10);

/// How soon a damaged log that nobody else has is looked at again.
const AGAIN: Duration = Duration::from_millis(500);

/// What a look at a part of a log found.
pub(crate) enum Look {
    GoOn(Offset),
    Done,
    Damaged(LogError),
}

/// Reads every log once after a start that was not clean, and checks what recovery trusts: records below the recovery
/// point. A replica with a damaged batch is given up and fetched again, as soon as another one is in sync. Ends when all
/// was read and nothing damaged is left, or when the token is cancelled.
pub(crate) async fn run(store: Arc<Store>, stop: CancellationToken) {
    let partitions = store.all();
    let began = tokio::time::Instant::now();
    let (mut read, mut damaged) = (0_usize, Vec::new());
    for partition in partitions {
        let mut from = Offset(0);
        loop {
            let (store, looked_at) = (store.clone(), partition.clone());
            let look = tokio::task::spawn_blocking(move || look(&store, &looked_at, from)).await;
            match look {
                Ok(Look::GoOn(next)) => from = next,
                Ok(Look::Done) => break,
                Ok(Look::Damaged(_)) => {
                    damaged.push(partition.clone());
                    break;
                }
                Err(error) => {
                    tracing::error!(partition = %partition.name, %error, "the scrub failed");
                    break;
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(STEP_PAUSE) => {}
            }
        }
        read += 1;
    }
    tracing::info!(partitions = read, elapsed = ?began.elapsed(), "every log was read and checked");
    // What nobody else had then others may have by now.
    loop {
        damaged.retain(|partition| !partition.is_offline() && !give_up(&store, partition));
        if damaged.is_empty() {
            return;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
}

fn look(store: &Store, partition: &Arc<LocalPartition>, from: Offset) -> Look {
    let look = partition.scrub(from, STEP_BYTES);
    if let Look::Damaged(error) = &look {
        metrics::counter!("anabranch_storage_damaged_replicas_total").increment(1);
        tracing::error!(partition = %partition.name, %error, "damaged");
        if !give_up(store, partition) {
            tracing::error!(partition = %partition.name, "no other replica is in sync: it stays until one is");
        }
    }
    look
}

/// Leaves the ISR, to be fetched again; false if nobody else is in sync.
fn give_up(store: &Store, partition: &Arc<LocalPartition>) -> bool {
    if partition.is_alone_in_sync() {
        return false;
    }
    tracing::error!(partition = %partition.name, "damaged: leaving the ISR, to be fetched again");
    partition.take_offline();
    // Its leader hears that it fetches no more.
    store.fetchers.forget(partition);
    store.reports.add(partition);
    true
}

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use domain::{LeaderEpoch, Offset};
use metadata::ReplicaReport;
use parking_lot::Mutex;
use rpc::{ControllerClient, ControllerError};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Key;
use crate::{partition::LocalPartition, store::Store};

/// Tells the controller where logs end that nobody leads any more, so that the longest can (R13), and which replicas were
/// found damaged.
#[derive(Default)]
pub(crate) struct Reports {
    due: Mutex<Due>,
    arrived: Notify,
}

type Due = BTreeMap<Key, (Arc<LocalPartition>, Says)>;

/// What a damaged log has instead of an end.
const NO_END: Offset = Offset(-1);
/// What is to be said of a replica.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Says {
    /// Where its log ends.
    End,
    /// That it cannot go on, and leaves the ISR.
    Leaves,
}

const ATTEMPT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(200);

impl Reports {
    /// Where the log ends; that it has none, if it is offline.
    pub(crate) fn add(&self, partition: &Arc<LocalPartition>) {
        self.say(partition, Says::End);
    }

    /// The replica cannot take in more (its disk is full): nobody is to wait for it.
    pub(crate) fn leave(&self, partition: &Arc<LocalPartition>) {
        if partition.is_with_others_in_sync() {
            self.say(partition, Says::Leaves);
        }
    }

    fn say(&self, partition: &Arc<LocalPartition>, says: Says) {
        self.due.lock().insert((partition.topic_id, partition.name.partition), (partition.clone(), says));
        self.arrived.notify_one();
    }

    /// Runs until the token is cancelled.
    pub(crate) async fn run(
        self: Arc<Self>,
        store: Arc<Store>,
        controllers: ControllerClient,
        stop: CancellationToken,
    ) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.arrived.notified() => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.report(&store, &controllers) => {}
            }
        }
    }

    /// Unless there is something newer to say.
    fn put_back(&self, due: Due) {
        let mut newer = self.due.lock();
        for (key, says) in due {
            newer.entry(key).or_insert(says);
        }
    }

    async fn report(&self, store: &Store, controllers: &ControllerClient) {
        // What comes meanwhile is the next report's.
        let due = std::mem::take(&mut *self.due.lock());
        // A damaged log must not be elected for what it once held: it has no end, and leaves the ISR.
        let ends: Vec<_> = due
            .iter()
            .map(|((topic, partition), (local, says))| {
                let damaged = ReplicaReport {
                    topic: *topic,
                    partition: *partition,
                    leader_epoch: LeaderEpoch::UNKNOWN,
                    log_start: Offset(0),
                    log_end: NO_END,
                    epochs: Vec::new(),
                };
                match (local.to_report(), says) {
                    (Some(report), Says::End) => report,
                    (Some(ReplicaReport { leader_epoch, .. }), Says::Leaves) => {
                        ReplicaReport { leader_epoch, ..damaged }
                    }
                    (None, _) => damaged,
                }
            })
            .collect();
        let reported = match ends.is_empty() {
            true => Ok(()),
            false => controllers.report_replicas(store.node, store.epoch(), &ends, ATTEMPT).await,
        };
        match reported {
            Ok(()) => tracing::info!(partitions = ends.len(), "reported where logs end"),
            // A newer registration reports for itself.
            Err(ControllerError::Refused(refusal)) => {
                tracing::warn!(%refusal, "the report of log ends was refused");
            }
            Err(error) => {
                tracing::debug!(%error, "the ends of logs are not reported yet");
                self.put_back(due);
                tokio::time::sleep(PAUSE).await;
                self.arrived.notify_one();
            }
        }
    }
}

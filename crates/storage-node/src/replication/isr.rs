use std::{collections::HashMap, sync::Arc, time::Duration};

use metadata::{AlterRefusalKind, IsrChange};
use parking_lot::Mutex;
use rpc::{ControllerClient, ControllerError, WatchedImage};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{Key, registered, state_of};
use crate::{partition::LocalPartition, store::Store};

/// Takes the leaders' ISR proposals to the controller: all that are due in one request, one request at a time.
#[derive(Default)]
pub(crate) struct IsrKeeper {
    due: Mutex<HashMap<Key, Arc<LocalPartition>>>,
    arrived: Notify,
}

/// One attempt; within it the client follows redirects.
const ATTEMPT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(100);

impl IsrKeeper {
    /// A follower may have caught up, or a proposal has no answer yet.
    pub(crate) fn consider(&self, partition: &Arc<LocalPartition>) {
        let key = (partition.topic_id, partition.name.partition);
        self.due.lock().insert(key, partition.clone());
        self.arrived.notify_one();
    }

    /// Runs until the token is cancelled. Every half of `lag_max` all partitions are considered, for who lags.
    pub(crate) async fn run(
        self: Arc<Self>,
        store: Arc<Store>,
        image: WatchedImage,
        controllers: ControllerClient,
        lag_max: Duration,
        stop: CancellationToken,
    ) {
        let mut ticks = tokio::time::interval((lag_max / 2).max(Duration::from_millis(50)));
        let lag_max_ms = u64::try_from(lag_max.as_millis()).unwrap_or(u64::MAX);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => store.all().iter().filter(|p| p.leads_others()).for_each(|p| self.consider(p)),
                () = self.arrived.notified() => {}
            }
            let settled = tokio::select! {
                () = stop.cancelled() => return,
                settled = self.propose(&store, &image, &controllers, lag_max_ms) => settled,
            };
            if !settled {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(PAUSE) => {}
                }
            }
        }
    }

    /// Sends what is due. False when some of it is to be tried again after a pause.
    async fn propose(
        &self,
        store: &Store,
        image: &WatchedImage,
        controllers: &ControllerClient,
        lag_max_ms: u64,
    ) -> bool {
        let due = std::mem::take(&mut *self.due.lock());
        let (seen, node_epoch) = (image.load(), store.epoch());
        let mut partitions = Vec::new();
        let mut changes = Vec::new();
        for ((topic, number), partition) in due {
            let known = registered(&seen, store.node, node_epoch);
            let Some(proposal) = partition.proposal(lag_max_ms, known) else { continue };
            changes.push(IsrChange {
                topic,
                partition: number,
                leader_epoch: proposal.leader_epoch,
                partition_epoch: proposal.partition_epoch,
                isr: proposal.isr,
            });
            partitions.push(partition);
        }
        if changes.is_empty() {
            return true;
        }
        let answers = match controllers.alter_partitions(store.node, node_epoch, &changes, ATTEMPT).await {
            Ok(answers) => answers,
            Err(error @ ControllerError::Refused(_)) => {
                // This incarnation is not the registered one any more; the session registers again.
                tracing::warn!(%error, "the controller refuses this node's ISR changes");
                return false;
            }
            Err(error) => {
                tracing::debug!(%error, "ISR changes are not settled yet");
                partitions.iter().for_each(|p| self.consider(p));
                return false;
            }
        };
        let mut settled = true;
        for ((partition, change), answer) in partitions.iter().zip(&changes).zip(answers) {
            match answer {
                Ok(decided) => {
                    metrics::counter!("anabranch_storage_isr_changes_total").increment(1);
                    tracing::info!(partition = %partition.name, isr = ?decided.isr, epoch = %decided.epoch, "the ISR changed");
                    partition.adopt(&state_of(&decided), None);
                    // Who caught up meanwhile is next.
                    if decided.isr.len() < decided.replicas.len() {
                        self.consider(partition);
                    }
                }
                Err(refusal)
                    if matches!(
                        refusal.kind,
                        AlterRefusalKind::Ineligible | AlterRefusalKind::InvalidIsr
                    ) =>
                {
                    tracing::info!(partition = %partition.name, %refusal, isr = ?change.isr, "ISR change refused");
                    partition.proposal_refused(registered(&image.load(), store.node, node_epoch));
                    self.consider(partition);
                    settled = false;
                }
                // The metadata brings what this node has not seen.
                Err(refusal) => {
                    tracing::debug!(partition = %partition.name, %refusal, "ISR change came too late")
                }
            }
        }
        settled
    }
}

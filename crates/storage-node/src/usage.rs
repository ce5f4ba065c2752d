//! Tells the controller how full the disk is, and how large the replicas are.

use std::{collections::HashMap, sync::Arc, time::Duration};

use domain::{NodeId, PartitionIndex, TopicId};
use metadata::Image;
use rpc::{ControllerClient, WatchedImage, pb};
use tokio_util::sync::CancellationToken;

use crate::store::Store;

/// Reports what changed since the last report.
pub(crate) struct UsageReporter {
    node: NodeId,
    store: Arc<Store>,
    image: WatchedImage,
    controllers: ControllerClient,
    /// The controller's memory that has what was told; 0: none.
    book: u64,
    told: HashMap<Key, u64>,
}

type Key = (TopicId, PartitionIndex, bool);

const REPORT_EVERY: Duration = Duration::from_secs(5);
/// While replicas move here.
const REPORT_MOVES_EVERY: Duration = Duration::from_secs(1);
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// A size is told again once it differs by so much, and by this part of what was told.
const CHANGE_BYTES: u64 = 1 << 20;
const CHANGE_PART: u64 = 50;

impl UsageReporter {
    pub(crate) fn new(
        node: NodeId,
        store: Arc<Store>,
        image: WatchedImage,
        controllers: ControllerClient,
    ) -> Self {
        Self { node, store, image, controllers, book: 0, told: HashMap::new() }
    }

    /// Runs until the token is cancelled.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            let moves = tokio::select! {
                () = stop.cancelled() => return,
                moves = self.report() => moves,
            };
            let pause = if moves { REPORT_MOVES_EVERY } else { REPORT_EVERY };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Whether anything moves here.
    async fn report(&mut self) -> bool {
        let (sizes, used, moves) = self.look();
        let changed = sizes.iter().filter(|(key, bytes)| {
            self.told.get(*key).is_none_or(|told| has_changed(*told, **bytes) || (key.2 && told != *bytes))
        });
        let changed: Vec<(Key, u64)> = changed.map(|(key, bytes)| (*key, *bytes)).collect();
        let size = |((topic, partition, comes), bytes): &(Key, u64)| pb::ReplicaSize {
            topic_id: topic.0.as_bytes().to_vec().into(),
            partition: partition.0,
            bytes: *bytes,
            comes: *comes,
        };
        let report = pb::ReportUsageRequest {
            node: self.node.0,
            node_epoch: self.store.epoch().0,
            disk_used_bytes: used,
            disk_total_bytes: used.saturating_add(self.store.dir.free_bytes().unwrap_or(0)),
            sizes: changed.iter().map(size).collect(),
            book: self.book,
        };
        match self.controllers.report_usage(&report, ANSWER_MAX).await {
            Ok(answer) if self.book == 0 || answer.book == self.book => {
                self.book = answer.book;
                self.told.extend(changed);
            }
            Ok(_) => {
                // Whoever leads now knows nothing yet: all is told with the next report.
                (self.book, self.told) = (0, HashMap::new());
                return true;
            }
            Err(error) => tracing::debug!(%error, "the disk's usage was not reported"),
        }
        self.told.retain(|key, _| sizes.contains_key(key));
        moves
    }

    /// The sizes of what this node leads and of what comes, the sum of all, and whether anything comes.
    fn look(&self) -> (HashMap<Key, u64>, u64, bool) {
        let image = self.image.load();
        let (mut sizes, mut used, mut moves) = (HashMap::new(), 0u64, false);
        for partition in self.store.all() {
            let Some(bytes) = partition.with_log(|log| log.size_bytes()) else { continue };
            used = used.saturating_add(bytes);
            let key = (partition.topic_id, partition.name.partition);
            let comes = comes_to(&image, self.node, key);
            moves |= comes;
            if comes || partition.leads().is_some() {
                sizes.insert((key.0, key.1, comes), bytes);
            }
        }
        (sizes, used, moves)
    }
}

/// Whether the partition is being moved to the node and is not there yet.
pub(crate) fn comes_to(image: &Image, node: NodeId, (topic, number): (TopicId, PartitionIndex)) -> bool {
    let partition = image.topic_by_id(topic).and_then(|topic| topic.partition(number));
    partition.is_some_and(|p| p.adding.contains(&node) && !p.isr.contains(&node))
}

fn has_changed(told: u64, bytes: u64) -> bool {
    told.abs_diff(bytes) >= CHANGE_BYTES.max(told / CHANGE_PART)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_changes_are_not_told_again() {
        assert!(!has_changed(0, 1000) && has_changed(0, 1 << 20));
        assert!(!has_changed(1 << 30, (1 << 30) + (1 << 24)) && has_changed(1 << 30, (1 << 30) + (1 << 25)));
        assert!(has_changed(1 << 30, 0));
    }
}

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use domain::NodeId;
use parking_lot::Mutex;
use rpc::WatchedImage;
use tokio::sync::{Notify, mpsc};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use transport::ClientPool;

use super::{Key, fetcher};
use crate::{pace::MovePace, partition::LocalPartition, store::Store};

/// What fetches share.
pub(crate) struct FetchConfig {
    pub(crate) me: NodeId,
    /// A fetch without news is answered after so long.
    pub(crate) wait_max: Duration,
    pub(crate) response_bytes_max: i32,
    pub(crate) partition_bytes_max: i32,
    /// How fast what moves to this node is taken in.
    pub(crate) pace: Arc<MovePace>,
}

/// Which partitions this node fetches from whom: one task and one connection for each leader.
pub(crate) struct Fetchers {
    inner: Mutex<Inner>,
    /// Leaders that nobody fetched from before.
    new_leaders: mpsc::UnboundedSender<Arc<Wanted>>,
}

#[derive(Default)]
struct Inner {
    by_leader: HashMap<NodeId, Arc<Wanted>>,
    leader_of: HashMap<Key, NodeId>,
}

/// The partitions that are wanted from one leader.
pub(crate) struct Wanted {
    pub(crate) leader: NodeId,
    pub(crate) partitions: Mutex<WantedPartitions>,
    /// Something came, went, or has another epoch.
    pub(crate) changed: Notify,
}

#[derive(Default)]
pub(crate) struct WantedPartitions {
    pub(crate) all: HashMap<Key, Arc<LocalPartition>>,
    /// Those that the next request must speak of.
    pub(crate) dirty: HashSet<Key>,
    /// Those of them that came or have another epoch.
    pub(crate) fresh: HashSet<Key>,
}

/// Runs the tasks of all leaders.
pub(crate) struct FetchersTask {
    new_leaders: mpsc::UnboundedReceiver<Arc<Wanted>>,
}

/// How a follower shows itself to the leader, which has places set aside for it.
pub(crate) const CLIENT_ID: &str = "anabranch-replica";

impl Fetchers {
    pub(crate) fn new() -> (Self, FetchersTask) {
        let (new_leaders, receiver) = mpsc::unbounded_channel();
        (Self { inner: Mutex::default(), new_leaders }, FetchersTask { new_leaders: receiver })
    }

    /// From now on the partition is fetched from whom it follows; from nobody, if it does not.
    pub(crate) fn assign(&self, partition: &Arc<LocalPartition>) {
        let key = (partition.topic_id, partition.name.partition);
        let leader = partition.follows();
        let mut inner = self.inner.lock();
        let former = match leader {
            Some(leader) => inner.leader_of.insert(key, leader),
            None => inner.leader_of.remove(&key),
        };
        if let Some(former) = former.filter(|former| Some(*former) != leader)
            && let Some(wanted) = inner.by_leader.get(&former)
        {
            wanted.remove(key);
        }
        let Some(leader) = leader else { return };
        let wanted = match inner.by_leader.entry(leader) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(new) => {
                let wanted =
                    Arc::new(Wanted { leader, partitions: Mutex::default(), changed: Notify::new() });
                // Nobody receives only while the node shuts down.
                let _ = self.new_leaders.send(wanted.clone());
                new.insert(wanted).clone()
            }
        };
        wanted.put(key, partition.clone());
    }

    /// The partition is not this node's any more.
    pub(crate) fn forget(&self, partition: &LocalPartition) {
        let key = (partition.topic_id, partition.name.partition);
        let mut inner = self.inner.lock();
        let former = inner.leader_of.remove(&key);
        if let Some(wanted) = former.and_then(|former| inner.by_leader.get(&former)) {
            wanted.remove(key);
        }
    }
}

impl Wanted {
    fn put(&self, key: Key, partition: Arc<LocalPartition>) {
        let mut partitions = self.partitions.lock();
        partitions.all.insert(key, partition);
        partitions.dirty.insert(key);
        partitions.fresh.insert(key);
        drop(partitions);
        self.changed.notify_one();
    }

    fn remove(&self, key: Key) {
        let mut partitions = self.partitions.lock();
        partitions.all.remove(&key);
        partitions.dirty.insert(key);
        drop(partitions);
        self.changed.notify_one();
    }
}

impl FetchersTask {
    /// Runs until the token is cancelled.
    pub(crate) async fn run(
        mut self,
        config: Arc<FetchConfig>,
        image: WatchedImage,
        store: Arc<Store>,
        stop: CancellationToken,
    ) {
        let tasks = TaskTracker::new();
        // A pool of its own: a fetch that waits must not hold up anything else on its connection.
        let pool = ClientPool::new(CLIENT_ID);
        loop {
            let wanted = tokio::select! {
                () = stop.cancelled() => break,
                wanted = self.new_leaders.recv() => match wanted {
                    Some(wanted) => wanted,
                    None => break,
                },
            };
            let fetcher =
                fetcher::Fetcher::new(wanted, config.clone(), pool.clone(), image.clone(), store.clone());
            let stop = stop.clone();
            tasks.spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = fetcher.run() => {}
                }
            });
        }
        tasks.close();
        tasks.wait().await;
    }
}

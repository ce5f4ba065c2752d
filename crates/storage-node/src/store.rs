use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use commitlog::{CheckpointKind, DataDir, DataDirError, FileCache, Log};
use domain::{
    LeaderEpoch, NodeEpoch, NodeId, Offset, PartitionIndex, TopicConfig, TopicId, TopicName, TopicPartition,
};
use metadata::{Delta, Image, Partition, Topic};
use parking_lot::{Mutex, RwLock};

use crate::partition::LocalPartition;

/// The partitions of this node, kept in step with the metadata.
pub(crate) struct Store {
    pub(crate) node: NodeId,
    pub(crate) dir: DataDir,
    files: Arc<FileCache>,
    /// The registration of this incarnation; leaderships of others are not taken up.
    epoch: AtomicI64,
    topics: RwLock<HashMap<TopicName, Partitions>>,
    /// Partitions that could not be made (a full disk, no descriptor left), to be tried again.
    missing: Mutex<BTreeMap<TopicPartition, Missing>>,
}

type Partitions = HashMap<PartitionIndex, Arc<LocalPartition>>;

struct Missing {
    topic_id: TopicId,
    config: Arc<TopicConfig>,
    leading: Option<LeaderEpoch>,
}

impl Store {
    pub(crate) fn new(node: NodeId, dir: DataDir, files: Arc<FileCache>, found: Vec<LocalPartition>) -> Self {
        let store = Self {
            node,
            dir,
            files,
            epoch: AtomicI64::new(-1),
            topics: RwLock::default(),
            missing: Mutex::default(),
        };
        for partition in found {
            store.insert(partition);
        }
        store
    }

    fn insert(&self, partition: LocalPartition) {
        let TopicPartition { topic, partition: number } = partition.name.clone();
        self.topics.write().entry(topic).or_default().insert(number, Arc::new(partition));
    }

    /// This incarnation's registration; called before the metadata that knows it arrives.
    pub(crate) fn set_epoch(&self, epoch: NodeEpoch) {
        self.epoch.store(epoch.0, Ordering::SeqCst);
    }

    pub(crate) fn epoch(&self) -> NodeEpoch {
        NodeEpoch(self.epoch.load(Ordering::SeqCst))
    }

    pub(crate) fn get(&self, topic: &str, partition: PartitionIndex) -> Option<Arc<LocalPartition>> {
        self.topics.read().get(topic)?.get(&partition).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<LocalPartition>> {
        self.topics.read().values().flat_map(|t| t.values().cloned()).collect()
    }

    /// Makes, drops and leads partitions as the image says. Blocks: it makes folders.
    pub(crate) fn follow(&self, image: &Image, delta: &Delta) {
        // An image from before this incarnation's registration says what an earlier one led (R6).
        let registered = image.nodes.get(&self.node).is_some_and(|n| n.epoch == self.epoch());
        if !registered {
            return;
        }
        let everything =
            delta.snapshot || delta.cluster.is_some() || delta.nodes.iter().any(|n| n.id == self.node);
        if everything {
            self.drop_unknown(image);
            for topic in image.topics.values() {
                self.follow_topic(image, topic, topic.numbered());
            }
            return;
        }
        for (id, name) in &delta.deleted {
            self.drop_topic(name, *id);
        }
        for changed in &delta.topics {
            let Some(topic) = image.topics.get(&changed.name) else {
                continue;
            };
            match changed.partitions.is_empty() {
                // Only the settings changed: they concern every partition.
                true => self.follow_topic(image, topic, topic.numbered()),
                false => self.follow_topic(image, topic, changed.partitions.iter().map(|(n, p)| (*n, p))),
            }
        }
    }

    fn follow_topic<'a>(
        &self,
        image: &Image,
        topic: &Topic,
        partitions: impl Iterator<Item = (PartitionIndex, &'a Partition)>,
    ) {
        let config = Arc::new(image.topic_config(topic));
        for (number, partition) in partitions.filter(|(_, p)| p.replicas.contains(&self.node)) {
            let leading = (partition.leader == Some(self.node)).then_some(partition.leader_epoch);
            let name = TopicPartition::new(topic.name.clone(), number);
            match self.get(topic.name.as_str(), number) {
                Some(local) if local.topic_id == topic.id => {
                    local.follow(leading, &config);
                    continue;
                }
                // Deleted and made again while this node was away.
                Some(stale) => self.drop_partition(&stale),
                None => {}
            }
            self.make(name, Missing { topic_id: topic.id, config: config.clone(), leading });
        }
    }

    fn make(&self, name: TopicPartition, wanted: Missing) {
        let dir = self.dir.partition_path(&name);
        match Log::create(dir, wanted.topic_id, wanted.config.clone(), self.files.clone()) {
            Ok(log) => {
                let local = LocalPartition::new(name, log);
                local.follow(wanted.leading, &wanted.config);
                self.insert(local);
            }
            Err(error) => {
                tracing::error!(partition = %name, %error, "a partition could not be made, to be tried again");
                self.missing.lock().insert(name, wanted);
            }
        }
    }

    /// Tries again what could not be made.
    pub(crate) fn make_missing(&self) {
        let missing = std::mem::take(&mut *self.missing.lock());
        for (name, wanted) in missing {
            if self.get(name.topic.as_str(), name.partition).is_none() {
                self.make(name, wanted);
            }
        }
    }

    /// Leads nothing any more: another process has this node's place.
    pub(crate) fn abdicate(&self) {
        self.all().iter().for_each(|p| p.abdicate());
    }

    /// Drops what the cluster has deleted while this node was away.
    fn drop_unknown(&self, image: &Image) {
        self.missing.lock().retain(|_, wanted| image.topic_by_id(wanted.topic_id).is_some());
        for partition in self.all().iter().filter(|p| image.topic_by_id(p.topic_id).is_none()) {
            tracing::info!(partition = %partition.name, "dropping a partition whose topic was deleted meanwhile");
            self.drop_partition(partition);
        }
    }

    fn drop_topic(&self, name: &TopicName, id: TopicId) {
        self.missing.lock().retain(|_, wanted| wanted.topic_id != id);
        let partitions: Vec<_> =
            self.topics.read().get(name).into_iter().flat_map(|t| t.values().cloned()).collect();
        partitions.iter().filter(|p| p.topic_id == id).for_each(|p| self.drop_partition(p));
    }

    fn drop_partition(&self, partition: &LocalPartition) {
        {
            let mut topics = self.topics.write();
            if let Some(known) = topics.get_mut(&partition.name.topic) {
                known.remove(&partition.name.partition);
                if known.is_empty() {
                    topics.remove(&partition.name.topic);
                }
            }
        }
        drop(partition.take_log());
        if let Err(error) = self.dir.retire_partition(&partition.name, uuid::Uuid::new_v4()) {
            tracing::error!(partition = %partition.name, %error, "a deleted partition's folder stays");
        }
    }

    /// Writes where recovery begins and where each log starts.
    pub(crate) fn write_checkpoints(&self) -> Result<(), DataDirError> {
        let mut points = Points::default();
        for partition in self.all() {
            if let Some((recovery, start)) = partition.points() {
                points.add(&partition.name, recovery, start);
            }
        }
        points.write(&self.dir)
    }
}

/// Where recovery begins and where each log starts, one file each for all partitions.
#[derive(Default)]
pub(crate) struct Points {
    recovery: BTreeMap<TopicPartition, Offset>,
    starts: BTreeMap<TopicPartition, Offset>,
}

impl Points {
    pub(crate) fn add(&mut self, partition: &TopicPartition, recovery: Offset, start: Offset) {
        // What is missing from a checkpoint counts as 0.
        if recovery > Offset(0) {
            self.recovery.insert(partition.clone(), recovery);
        }
        if start > Offset(0) {
            self.starts.insert(partition.clone(), start);
        }
    }

    pub(crate) fn write(&self, dir: &DataDir) -> Result<(), DataDirError> {
        dir.write_checkpoint(CheckpointKind::RecoveryPoint, &self.recovery)?;
        dir.write_checkpoint(CheckpointKind::LogStart, &self.starts)
    }
}

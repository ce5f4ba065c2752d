use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use commitlog::{CheckpointKind, DataDir, DataDirError, FileCache, Log};
use domain::{NodeEpoch, NodeId, Offset, PartitionIndex, TopicConfig, TopicId, TopicName, TopicPartition};
use metadata::{Delta, Image, Partition, Topic};
use parking_lot::RwLock;

use crate::partition::LocalPartition;

/// The partitions of this node, kept in step with the metadata.
pub(crate) struct Store {
    pub(crate) node: NodeId,
    pub(crate) dir: DataDir,
    files: Arc<FileCache>,
    /// The registration of this incarnation; leaderships of others are not taken up.
    epoch: AtomicI64,
    topics: RwLock<HashMap<TopicName, LocalTopic>>,
}

struct LocalTopic {
    id: TopicId,
    partitions: HashMap<PartitionIndex, Arc<LocalPartition>>,
}

impl Store {
    pub(crate) fn new(node: NodeId, dir: DataDir, files: Arc<FileCache>, found: Vec<LocalPartition>) -> Self {
        let store = Self { node, dir, files, epoch: AtomicI64::new(-1), topics: RwLock::default() };
        for partition in found {
            store.insert(partition);
        }
        store
    }

    fn insert(&self, partition: LocalPartition) {
        let (name, id) = (partition.name.clone(), partition.topic_id);
        let mut topics = self.topics.write();
        let topic = topics.entry(name.topic).or_insert_with(|| LocalTopic { id, partitions: HashMap::new() });
        topic.partitions.insert(name.partition, Arc::new(partition));
    }

    /// This incarnation's registration; called before the metadata that knows it arrives.
    pub(crate) fn set_epoch(&self, epoch: NodeEpoch) {
        self.epoch.store(epoch.0, Ordering::SeqCst);
    }

    pub(crate) fn epoch(&self) -> NodeEpoch {
        NodeEpoch(self.epoch.load(Ordering::SeqCst))
    }

    pub(crate) fn get(&self, topic: &str, partition: PartitionIndex) -> Option<Arc<LocalPartition>> {
        self.topics.read().get(topic)?.partitions.get(&partition).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<LocalPartition>> {
        self.topics.read().values().flat_map(|t| t.partitions.values().cloned()).collect()
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
        let stale = self.topics.read().get(&topic.name).is_some_and(|known| known.id != topic.id);
        if stale {
            // Deleted and made again while this node was away.
            self.drop_topic_whatever_its_id(&topic.name);
        }
        let config = Arc::new(image.topic_config(topic));
        for (number, partition) in partitions.filter(|(_, p)| p.replicas.contains(&self.node)) {
            let leading = (partition.leader == Some(self.node)).then_some(partition.leader_epoch);
            let name = TopicPartition::new(topic.name.clone(), number);
            match self.get(topic.name.as_str(), number) {
                Some(local) => local.follow(leading, &config),
                None => match self.create(name.clone(), topic.id, &config) {
                    Ok(local) => {
                        local.follow(leading, &config);
                        self.insert(local);
                    }
                    Err(error) => tracing::error!(partition = %name, %error, "a partition could not be made"),
                },
            }
        }
    }

    fn create(
        &self,
        name: TopicPartition,
        id: TopicId,
        config: &Arc<TopicConfig>,
    ) -> Result<LocalPartition, commitlog::LogError> {
        let log = Log::create(self.dir.partition_path(&name), id, config.clone(), self.files.clone())?;
        Ok(LocalPartition::new(name, log))
    }

    /// Drops what the cluster has deleted while this node was away.
    fn drop_unknown(&self, image: &Image) {
        let unknown: Vec<(TopicName, TopicId)> = self
            .topics
            .read()
            .iter()
            .filter(|(_, topic)| image.topic_by_id(topic.id).is_none())
            .map(|(name, topic)| (name.clone(), topic.id))
            .collect();
        for (name, id) in unknown {
            tracing::info!(topic = %name, %id, "dropping a topic that was deleted meanwhile");
            self.drop_topic(&name, id);
        }
    }

    fn drop_topic(&self, name: &TopicName, id: TopicId) {
        if self.topics.read().get(name).is_some_and(|t| t.id == id) {
            self.drop_topic_whatever_its_id(name);
        }
    }

    fn drop_topic_whatever_its_id(&self, name: &TopicName) {
        let Some(topic) = self.topics.write().remove(name) else {
            return;
        };
        for partition in topic.partitions.into_values() {
            drop(partition.take_log());
            if let Err(error) = self.dir.retire_partition(&partition.name, uuid::Uuid::new_v4()) {
                tracing::error!(partition = %partition.name, %error, "a deleted partition's folder stays");
            }
        }
    }

    /// Writes where recovery begins and where each log starts.
    pub(crate) fn write_checkpoints(&self) -> Result<(), DataDirError> {
        let mut points = Points::default();
        for partition in self.all() {
            let found = partition.with_log(|log| (log.recovery_point(), log.start_offset()));
            if let Some((recovery, start)) = found {
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

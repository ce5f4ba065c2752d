use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use domain::{ClusterId, ConfigOverrides, NodeId, PartitionIndex, TopicId, TopicName};
use imbl::Vector;

use crate::{Image, Node, Partition, Topic};

/// Which parts of an image a command touched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The cluster's id or the defaults of all topics.
    pub cluster: bool,
    /// New, changed, or gone.
    pub nodes: BTreeSet<NodeId>,
    pub partitions: BTreeMap<TopicName, BTreeSet<PartitionIndex>>,
    pub deleted: BTreeMap<TopicId, TopicName>,
}

/// What a watcher must do to its image to make it the controller's. A snapshot is a delta to the empty image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// The version of the image that this leads to.
    pub version: u64,
    /// Forget everything first.
    pub snapshot: bool,
    pub cluster: Option<(Option<ClusterId>, ConfigOverrides)>,
    pub nodes: Vec<Arc<Node>>,
    /// Nodes that left for good.
    pub gone_nodes: Vec<NodeId>,
    pub topics: Vec<TopicDelta>,
    pub deleted: Vec<(TopicId, TopicName)>,
}

/// A topic with those of its partitions that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDelta {
    pub id: TopicId,
    pub name: TopicName,
    pub configs: ConfigOverrides,
    /// In the order of their numbers, so that new ones come without a gap.
    pub partitions: Vec<(PartitionIndex, Partition)>,
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        *self == Changes::default()
    }

    /// Takes in what came later.
    pub fn merge(&mut self, later: Changes) {
        self.cluster |= later.cluster;
        self.nodes.extend(later.nodes);
        self.deleted.extend(later.deleted);
        for (topic, partitions) in later.partitions {
            self.partitions.entry(topic).or_default().extend(partitions);
        }
    }

    pub(crate) fn partition(&mut self, topic: &TopicName, partition: PartitionIndex) {
        self.partitions.entry(topic.clone()).or_default().insert(partition);
    }
}

impl Image {
    /// What the changes made of this image, for those who had it before them.
    pub fn delta(&self, changes: &Changes) -> Delta {
        let topics = changes.partitions.iter().filter_map(|(name, partitions)| {
            let topic = self.topics.get(name)?;
            Some(topic.delta(partitions.iter().copied()))
        });
        Delta {
            version: self.version,
            snapshot: false,
            cluster: changes.cluster.then(|| (self.cluster_id, self.cluster_configs.clone())),
            nodes: changes.nodes.iter().filter_map(|id| self.nodes.get(id).cloned()).collect(),
            gone_nodes: changes.nodes.iter().copied().filter(|id| !self.nodes.contains_key(id)).collect(),
            topics: topics.collect(),
            deleted: changes.deleted.iter().map(|(id, name)| (*id, name.clone())).collect(),
        }
    }

    /// Everything, for those who have nothing.
    pub fn snapshot(&self) -> Delta {
        Delta {
            version: self.version,
            snapshot: true,
            cluster: Some((self.cluster_id, self.cluster_configs.clone())),
            nodes: self.nodes.values().cloned().collect(),
            gone_nodes: Vec::new(),
            topics: self.topics.values().map(|t| t.delta(t.numbered().map(|(n, _)| n))).collect(),
            deleted: Vec::new(),
        }
    }

    /// Makes this image what the delta leads to. What only the controller needs (ids to hand out) is not in it.
    pub fn adopt(&mut self, delta: &Delta) {
        if delta.snapshot {
            *self = Image::default();
        }
        self.version = delta.version;
        if let Some((cluster_id, configs)) = &delta.cluster {
            self.cluster_id = *cluster_id;
            self.cluster_configs = configs.clone();
        }
        for node in &delta.nodes {
            self.nodes.insert(node.id, node.clone());
        }
        for node in &delta.gone_nodes {
            self.nodes.remove(node);
        }
        // Deletions first: a topic may have been deleted and made again within one delta.
        for (id, name) in &delta.deleted {
            self.topic_names.remove(id);
            if self.topics.get(name).is_some_and(|t| t.id == *id) {
                self.topics.remove(name);
            }
        }
        for topic in &delta.topics {
            self.adopt_topic(topic);
        }
    }

    fn adopt_topic(&mut self, delta: &TopicDelta) {
        let known = self.topics.get(&delta.name).filter(|t| t.id == delta.id);
        let mut partitions: Vector<Partition> = known.map(|t| t.partitions.clone()).unwrap_or_default();
        for (number, partition) in &delta.partitions {
            match usize::try_from(number.0) {
                Ok(n) if n < partitions.len() => drop(partitions.set(n, partition.clone())),
                _ => partitions.push_back(partition.clone()),
            }
        }
        let topic =
            Topic { id: delta.id, name: delta.name.clone(), configs: delta.configs.clone(), partitions };
        self.topic_names.insert(delta.id, delta.name.clone());
        self.topics.insert(delta.name.clone(), Arc::new(topic));
    }
}

impl Topic {
    fn delta(&self, partitions: impl Iterator<Item = PartitionIndex>) -> TopicDelta {
        TopicDelta {
            id: self.id,
            name: self.name.clone(),
            configs: self.configs.clone(),
            partitions: partitions.filter_map(|n| Some((n, self.partition(n)?.clone()))).collect(),
        }
    }
}

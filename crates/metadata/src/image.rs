use std::{fmt, sync::Arc};

use domain::{
    ClusterId, ConfigOverrides, DirectoryId, NodeEpoch, NodeId, PartitionIndex, ProducerId, TopicConfig,
    TopicId, TopicName,
};
use imbl::{OrdMap, OrdSet, Vector};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Changes, Partition, Standing, placement::Load};

/// All metadata of a cluster at one point of the controller's log. A clone shares its structure and costs
/// nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// The index of the last raft entry in this image; watchers resume from here.
    pub version: u64,
    pub cluster_id: Option<ClusterId>,
    pub nodes: OrdMap<NodeId, Arc<Node>>,
    pub topics: OrdMap<TopicName, Arc<Topic>>,
    pub topic_names: OrdMap<TopicId, TopicName>,
    /// Defaults for all topics.
    pub cluster_configs: ConfigOverrides,
    /// The first producer id that was not handed out yet.
    pub next_producer_id: ProducerId,
    /// The epoch that the next registration gets.
    pub next_node_epoch: NodeEpoch,
    /// What each node's last registration was told by, and what it came to.
    pub(crate) registrations: OrdMap<NodeId, (Uuid, Standing)>,
    /// What each node was given; placement evens it out.
    pub(crate) loads: OrdMap<NodeId, Load>,
    /// The folders of nodes that were drained and left: they hold nothing that counts, and never come back as they are.
    #[serde(default)]
    pub(crate) retired: OrdSet<DirectoryId>,
    /// Whether replicas are moved to where there is room for them, and how fast.
    #[serde(default)]
    pub rebalance: Rebalance,
}

/// A storage node as it registered last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub id: NodeId,
    pub epoch: NodeEpoch,
    pub state: NodeState,
    pub directory: DirectoryId,
    /// Where Kafka clients and other nodes reach it.
    pub kafka: Endpoint,
    /// Its `/livez`, `/readyz` and `/metrics`.
    pub http: Endpoint,
    pub rack: Option<String>,
    /// It is to give its replicas away, and gets no new ones. It serves what it has meanwhile.
    #[serde(default)]
    pub draining: bool,
    /// It drains because the set of nodes was made smaller than its ordinal; it is forgotten when it is gone.
    #[serde(default)]
    pub scaled_in: bool,
}

/// How replicas are moved about, at an operator's word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rebalance {
    /// Nothing new is moved.
    pub paused: bool,
    /// How many bytes of moving replicas a node takes in, and gives out, in a second; `None`: as configured.
    pub bytes_per_second_max: Option<u64>,
}

/// Whether a node takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeState {
    /// Registered, but not (or no longer) heard of: it leads nothing and is in no ISR.
    Fenced,
    Active,
    /// In a controlled shutdown: alive, but it leads nothing that another can lead and is taken into no ISR
    /// (KIP-841).
    Stopping,
}

/// A host and a port that somebody else can connect to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Endpoint {
    pub host: String,
    pub port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topic {
    pub id: TopicId,
    pub name: TopicName,
    pub configs: ConfigOverrides,
    pub partitions: Vector<Partition>,
}

impl Image {
    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.topics.get(self.topic_names.get(&id)?)
    }

    pub fn partition(&self, topic: &str, partition: PartitionIndex) -> Option<&Partition> {
        self.topics.get(topic)?.partition(partition)
    }

    /// The node that leads the partition, if one does and it is known.
    pub fn leader_of(&self, topic: &str, partition: PartitionIndex) -> Option<&Arc<Node>> {
        self.nodes.get(&self.partition(topic, partition)?.leader?)
    }

    pub fn active_nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.values().filter(|n| n.state == NodeState::Active)
    }

    /// The nodes that new replicas go to.
    pub fn placeable_nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.active_nodes().filter(|n| !n.draining)
    }

    /// The nodes that are heard of: active or stopping.
    pub fn live_nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.values().filter(|n| n.state != NodeState::Fenced)
    }

    pub(crate) fn is_active(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|n| n.state == NodeState::Active)
    }

    /// Puts the partition's next state in place and keeps the replica counts true.
    pub(crate) fn put_partition(
        &mut self,
        name: &TopicName,
        number: PartitionIndex,
        partition: Partition,
        changes: &mut Changes,
    ) {
        let topic = self.topics.get_mut(name).map(Arc::make_mut);
        let known = topic.zip(usize::try_from(number.0).ok()).and_then(|(t, n)| t.partitions.get_mut(n));
        let Some(known) = known else { return };
        let now = partition.replicas.clone();
        let before = std::mem::replace(known, partition).replicas;
        changes.partition(name, number);
        if before != now {
            self.count_replicas(&before, Load::less);
            self.count_replicas(&now, Load::more);
        }
    }

    /// Counts a partition's replicas in or out.
    pub(crate) fn count_replicas(&mut self, replicas: &[NodeId], count: fn(&mut Load, bool)) {
        for (place, node) in replicas.iter().enumerate() {
            count(self.loads.entry(*node).or_default(), place == 0);
        }
    }

    /// The topic's settings in force.
    pub fn topic_config(&self, topic: &Topic) -> TopicConfig {
        TopicConfig::effective(&topic.configs, &self.cluster_configs)
    }

    /// How many partitions there are in all topics.
    pub fn partition_count(&self) -> usize {
        self.topics.values().map(|t| t.partitions.len()).sum()
    }
}

impl Topic {
    pub fn partition(&self, partition: PartitionIndex) -> Option<&Partition> {
        self.partitions.get(usize::try_from(partition.0).ok()?)
    }

    /// The partitions with their numbers.
    pub fn numbered(&self) -> impl Iterator<Item = (PartitionIndex, &Partition)> {
        (0..).map(PartitionIndex).zip(self.partitions.iter())
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NodeState::Fenced => "fenced",
            NodeState::Active => "active",
            NodeState::Stopping => "stopping",
        })
    }
}

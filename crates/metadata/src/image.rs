use std::{fmt, sync::Arc};

use domain::{
    ClusterId, ConfigOverrides, DirectoryId, LeaderEpoch, NodeEpoch, NodeId, PartitionEpoch, PartitionIndex,
    ProducerId, TopicConfig, TopicId, TopicName,
};
use imbl::{OrdMap, Vector};
use serde::{Deserialize, Serialize};

/// All metadata of a cluster at one point of the controller's log. A clone shares its structure and costs nothing.
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
    /// How many replicas each node was given; placement evens them out.
    pub(crate) replica_counts: OrdMap<NodeId, u32>,
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
}

/// Whether a node takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeState {
    /// Registered, but not (or no longer) heard of: it leads nothing.
    Fenced,
    Active,
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

/// Who holds a partition and who leads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// In the order of preference: the first is the preferred leader.
    pub replicas: Vec<NodeId>,
    pub isr: Vec<NodeId>,
    pub leader: Option<NodeId>,
    pub leader_epoch: LeaderEpoch,
    pub epoch: PartitionEpoch,
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

impl Partition {
    /// A partition that nobody has led yet.
    pub(crate) fn new(replicas: Vec<NodeId>) -> Self {
        Self {
            isr: replicas.clone(),
            replicas,
            leader: None,
            leader_epoch: LeaderEpoch(-1),
            epoch: PartitionEpoch(0),
        }
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
        })
    }
}

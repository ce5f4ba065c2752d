use domain::{ClusterId, ConfigOverrides, DirectoryId, NodeEpoch, NodeId, ProducerId, TopicId, TopicName};
use serde::{Deserialize, Serialize};

use crate::{Changes, Endpoint, Refusal};

/// A change of the cluster's metadata, as the controller's log holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Gives the cluster its identity; refused without effect when it has one.
    NameCluster {
        cluster_id: ClusterId,
    },
    RegisterNode(NodeRegistration),
    /// The node is not heard of any more.
    FenceNode {
        node: NodeId,
        epoch: NodeEpoch,
    },
    /// The node has caught up and takes part.
    UnfenceNode {
        node: NodeId,
        epoch: NodeEpoch,
    },
    CreateTopic(TopicSpec),
    DeleteTopic {
        name: TopicName,
    },
    /// Raises the number of partitions to `count`. `assignments` names the replicas of the new ones, or is empty.
    AddPartitions {
        topic: TopicName,
        count: i32,
        assignments: Vec<Vec<NodeId>>,
    },
    /// `topic: None` changes the defaults of all topics.
    AlterConfigs {
        topic: Option<TopicName>,
        changes: Vec<ConfigChange>,
    },
    AllocateProducerIds {
        count: i32,
    },
}

/// What a storage node says of itself when it starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRegistration {
    pub node: NodeId,
    /// What the node's folder remembers; `None` when it was formatted just now.
    pub cluster_id: Option<ClusterId>,
    pub directory: DirectoryId,
    pub kafka: Endpoint,
    pub http: Endpoint,
    pub rack: Option<String>,
}

/// A topic to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicSpec {
    /// Chosen by who asks, so that asking again after a lost answer is not a second topic.
    pub id: TopicId,
    pub name: TopicName,
    /// `None`: the default, 1.
    pub partitions: Option<i32>,
    /// `None`: the default, 1.
    pub replication_factor: Option<i16>,
    /// The replicas of each partition, instead of the two numbers; empty: placed by the controller.
    pub assignments: Vec<Vec<NodeId>>,
    pub configs: ConfigOverrides,
}

/// One change of one setting (KIP-339).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigChange {
    pub name: String,
    pub operation: ConfigOperation,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConfigOperation {
    Set(String),
    /// Back to the default.
    Delete,
    /// Adds to a list.
    Append(String),
    /// Takes from a list.
    Subtract(String),
}

/// What applying a command came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub result: Result<Applied, Refusal>,
    /// What of the image changed; nothing when the command was refused.
    pub changes: Changes,
}

/// The answer to a command that was carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Applied {
    Done,
    Registered { epoch: NodeEpoch, cluster_id: ClusterId },
    TopicCreated { id: TopicId, partitions: i32, replication_factor: i16 },
    ProducerIds { first: ProducerId, count: i32 },
}

use domain::{
    ClusterId, ConfigOverrides, DirectoryId, LeaderEpoch, NodeEpoch, NodeId, Offset, PartitionEpoch,
    PartitionIndex, ProducerId, TopicId, TopicName,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{AlterRefusal, Changes, ElectRefusal, Endpoint, Partition, Rebalance, Refusal};

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
    /// Nodes that are not heard of any more: all at once, so that none of them is taken for the last one. An
    /// incarnation that is not the registered one is passed over.
    FenceNodes {
        nodes: Vec<(NodeId, NodeEpoch)>,
    },
    /// The node has caught up and takes part.
    UnfenceNode {
        node: NodeId,
        epoch: NodeEpoch,
    },
    /// The node begins a controlled shutdown: its leaderships move and it leaves every ISR that it can leave.
    StopNode {
        node: NodeId,
        epoch: NodeEpoch,
    },
    /// A leader proposes in-sync replicas (KIP-497), for as many partitions as it likes.
    AlterPartitions {
        node: NodeId,
        node_epoch: NodeEpoch,
        changes: Vec<IsrChange>,
    },
    /// A node says where its logs end, for partitions that it is among the last known members of (INVARIANTS
    /// R13), or that they are damaged.
    ReportReplicas {
        node: NodeId,
        epoch: NodeEpoch,
        ends: Vec<ReplicaReport>,
    },
    /// Elects leaders at an operator's word (KIP-460), or the preferred ones back.
    ElectLeaders {
        kind: ElectionKind,
        partitions: Vec<(TopicName, PartitionIndex)>,
    },
    /// Gives partitions other replicas (KIP-455); `None` cancels what is under way.
    Reassign {
        changes: Vec<(TopicName, PartitionIndex, Option<Vec<NodeId>>)>,
    },
    CreateTopic(TopicSpec),
    DeleteTopic {
        name: TopicName,
    },
    /// Raises the number of partitions to `count`. `assignments` names the replicas of the new ones, or is
    /// empty.
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
    /// A node is to give its replicas away, or not any more.
    SetDraining {
        node: NodeId,
        draining: bool,
        /// See [`Node::scaled_in`](crate::Node::scaled_in).
        scaled_in: bool,
    },
    /// A drained node leaves for good: it is forgotten, and its folder never comes back as it is. Refused while it is
    /// not draining or is a replica of anything.
    RetireNode {
        node: NodeId,
        epoch: NodeEpoch,
    },
    SetRebalance(Rebalance),
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
    /// The node epoch that the folder durably recorded last.
    pub previous_epoch: Option<NodeEpoch>,
    /// The node's own proof that its logs lost nothing: a clean shutdown or the same boot, a working fsync,
    /// and at most one incomplete final batch cut from each log (INVARIANTS R10).
    pub intact: bool,
    /// Replicas that are damaged below what was flushed: they lose their places though the node keeps its own.
    pub damaged: Vec<(TopicId, PartitionIndex)>,
    /// Chosen anew for each registration, and the same when it is sent again because the answer was lost: then
    /// it gets the same epoch, and keeps the standing that it had.
    pub incarnation: Option<Uuid>,
}

/// A partition's in-sync replicas as its leader proposes them, compared and set on both epochs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IsrChange {
    pub topic: TopicId,
    pub partition: PartitionIndex,
    /// The epoch that the proposer leads in.
    pub leader_epoch: LeaderEpoch,
    /// The state that the proposal starts from.
    pub partition_epoch: PartitionEpoch,
    /// Each member in the incarnation that the leader saw catch up (KIP-903).
    pub isr: Vec<(NodeId, NodeEpoch)>,
}

/// Where a replica's log ends, as its node says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaReport {
    pub topic: TopicId,
    pub partition: PartitionIndex,
    /// The leader epoch, without a leader, that it is reported in: in another one the log may be another. -1 if it is
    /// damaged.
    pub leader_epoch: LeaderEpoch,
    pub log_start: Offset,
    /// -1: it is damaged.
    pub log_end: Offset,
    /// Its leader epochs and where they begin, in order; the last ones, if they are many.
    pub epochs: Vec<(LeaderEpoch, Offset)>,
}

/// What kind of leader is asked for (KIP-460).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ElectionKind {
    /// The first replica, if it is in sync.
    Preferred,
    /// Any live replica, where there is no leader; records may be lost.
    Unclean,
}

/// A topic to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicSpec {
    /// Chosen by who asks, so that asking again after a lost answer is not a second topic.
    pub id: TopicId,
    pub name: TopicName,
    /// `None`: the default, 1.
    pub partitions: Option<i32>,
    /// `None` or -1: the default, 3, or as many as there are active nodes.
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
    Registered {
        epoch: NodeEpoch,
        cluster_id: ClusterId,
        standing: Standing,
    },
    TopicCreated {
        id: TopicId,
        partitions: i32,
        replication_factor: i16,
    },
    ProducerIds {
        first: ProducerId,
        count: i32,
    },
    /// In the order of the proposals: the whole new state, or why there is none.
    Altered(Vec<Result<Partition, AlterRefusal>>),
    /// In the order of the partitions asked for.
    Elected(Vec<Result<(), ElectRefusal>>),
    /// In the order of the changes asked for.
    Reassigned(Vec<Result<(), Refusal>>),
}

/// Whether a node that registered kept its places in ISR and ELR (INVARIANTS R10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// It never registered before and has nothing to keep.
    New,
    /// Its disk is proved to hold what it held.
    Kept,
    /// It came with another data folder.
    OtherDirectory,
    /// Its folder did not record the incarnation that was handed out last.
    OtherEpoch { recorded: Option<NodeEpoch>, handed_out: NodeEpoch },
    /// It could not prove its logs intact.
    NotIntact,
}

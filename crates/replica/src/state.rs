use domain::{LeaderEpoch, NodeEpoch, NodeId, Offset, PartitionEpoch};

/// What the controller decided about a partition. It is adopted as a whole: an ISR without the minimum that was in
/// force with it could commit what it must not (KAFKA-16540).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionState {
    pub leader: Option<NodeId>,
    pub leader_epoch: LeaderEpoch,
    /// Rises with every change; older states are ignored.
    pub epoch: PartitionEpoch,
    pub replicas: Vec<NodeId>,
    pub isr: Vec<NodeId>,
    /// The high watermark stands still while the ISR has fewer members.
    pub min_isr: u32,
    /// The leader was elected without proof that it has everything; it says so once it leads.
    pub recovering: bool,
}

/// Where a replica's log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEnd {
    /// The offset that the next record gets.
    pub end: Offset,
    /// What counts for the high watermark: the same, or the flushed end where the topic flushes before it acknowledges.
    pub counted: Offset,
}

impl LogEnd {
    /// Of a log in which everything counts.
    pub fn all(end: Offset) -> Self {
        Self { end, counted: end }
    }
}

/// A leader's wish to change the ISR, for the controller to compare and set (KIP-497).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    pub leader_epoch: LeaderEpoch,
    /// The state that it starts from.
    pub partition_epoch: PartitionEpoch,
    /// Every member with the registration that it is known by (KIP-903).
    pub isr: Vec<(NodeId, NodeEpoch)>,
}

/// A follower's fetch, as far as the leader's decisions go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowerFetch {
    pub node: NodeId,
    /// The follower's registration (KIP-903).
    pub node_epoch: NodeEpoch,
    /// The leader epoch that the follower believes in.
    pub leader_epoch: LeaderEpoch,
    /// Where its log ends, as far as it counts.
    pub offset: Offset,
    /// Where its log starts.
    pub start: Offset,
}

/// Why a replica does not serve a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplicaRefusal {
    #[error("this node does not lead the partition")]
    NotLeader,
    #[error("leader epoch {got} is older than the partition's {current}")]
    FencedEpoch { got: LeaderEpoch, current: LeaderEpoch },
    #[error("leader epoch {got} is newer than the {current} known here")]
    UnknownEpoch { got: LeaderEpoch, current: LeaderEpoch },
    #[error("node {0} holds no replica of the partition")]
    NotReplica(NodeId),
    #[error("node epoch {got} of node {node} is older than its {current}")]
    StaleNode { node: NodeId, got: NodeEpoch, current: NodeEpoch },
    #[error("{isr} replicas are in sync, acks=all needs {min}")]
    NotEnoughReplicas { isr: usize, min: u32 },
}

use domain::{DirectoryId, LeaderEpoch, NodeEpoch, NodeId, Offset, PartitionEpoch};
use serde::{Deserialize, Serialize};

/// Who holds a partition and who leads it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// In the order of preference: the first is the preferred leader.
    pub replicas: Vec<NodeId>,
    /// The in-sync replicas, in the order of `replicas`.
    pub isr: Vec<NodeId>,
    /// The eligible leader replicas (KIP-966): out of the ISR, but nothing was committed without them. Empty
    /// while the ISR is not smaller than `min_isr`.
    pub elr: Vec<NodeId>,
    /// The last members of ISR and ELR, once both are empty (INVARIANTS R13). Members report their log ends;
    /// when all have, the longest log leads.
    pub last_known: Vec<LastKnown>,
    /// Members that came back without proof of their disk since the ISR fell below `min_isr`. They have every
    /// committed record unless a power cut took it, so they count among the last known should the ISR and the
    /// ELR become empty.
    pub unproven: Vec<(NodeId, DirectoryId)>,
    pub leader: Option<NodeId>,
    pub leader_epoch: LeaderEpoch,
    pub epoch: PartitionEpoch,
    /// min(`min.insync.replicas`, replication factor). It travels with the ISR that it is compared to
    /// (KAFKA-16540).
    pub min_isr: u32,
    /// The leader was not elected from ISR or ELR: records may be missing. It ends with the leader's first
    /// accepted ISR.
    pub recovering: bool,
    /// Replicas that a reassignment adds and that are not all in sync yet (KIP-455).
    pub adding: Vec<NodeId>,
    /// Replicas that leave when the reassignment is complete.
    pub removing: Vec<NodeId>,
}

/// One of the last members of ISR and ELR.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastKnown {
    pub node: NodeId,
    /// The disk that it had. Another one does not count.
    pub directory: DirectoryId,
    /// What its log holds, once it said so. It counts only while `node_epoch` is the registered one.
    pub position: Option<ReplicaEnd>,
}

/// Where a replica's log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaEnd {
    /// The incarnation that reported it.
    pub node_epoch: NodeEpoch,
    /// The leader epoch of the last batch; -1: the log is empty.
    pub last_epoch: LeaderEpoch,
    pub log_end: Offset,
}

impl Partition {
    /// Whether replicas are being added or removed.
    pub fn is_reassigning(&self) -> bool {
        !self.adding.is_empty() || !self.removing.is_empty()
    }

    /// The replicas before the reassignment that is under way; all of them when none is.
    pub fn original_replicas(&self) -> Vec<NodeId> {
        without(&self.replicas, &self.adding)
    }

    /// The replicas after the reassignment that is under way; all of them when none is.
    pub fn target_replicas(&self) -> Vec<NodeId> {
        without(&self.replicas, &self.removing)
    }

    /// Neither ISR nor ELR has a member: only a last known one, or an operator, can bring a leader back.
    pub fn is_lost(&self) -> bool {
        self.isr.is_empty() && self.elr.is_empty()
    }
}

/// Those of `nodes` that are not among `gone`, in their order.
pub(crate) fn without(nodes: &[NodeId], gone: &[NodeId]) -> Vec<NodeId> {
    nodes.iter().copied().filter(|n| !gone.contains(n)).collect()
}

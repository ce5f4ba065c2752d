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
    /// The last members of ISR and ELR, once both are empty (INVARIANTS R13), and the other replicas. All report
    /// their log ends; when those have that are waited for, and the others that are there, the longest log leads.
    pub last_known: Vec<LastKnown>,
    /// Members that came back without proof of their disk since the ISR fell below `min_isr`. They have every
    /// committed record unless a power cut took it, so they count among the last known should the ISR and the
    /// ELR become empty.
    pub unproven: Vec<(NodeId, DirectoryId)>,
    /// Such members from before the ISR was last seen to be large enough, as long as no leader has had one accepted
    /// since: after a power cut of everything the rest of the ISR may be dead, too, and nobody has noticed yet.
    pub former: Vec<(NodeId, DirectoryId)>,
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

/// One of the last members of ISR and ELR, or another replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastKnown {
    pub node: NodeId,
    /// The disk that it had. Another one does not count.
    pub directory: DirectoryId,
    /// What its log holds, once it said so. It counts only while `node_epoch` is the registered one.
    pub position: Option<ReplicaEnd>,
    /// Nobody leads before it has reported. The others are asked as far as they are there: what they have on
    /// their disks may be more than what a power cut left to the last ones.
    pub waited_for: bool,
    /// It was in ISR or ELR to the end. What the others have counts only behind all that one of these has: they
    /// may have been left behind in an earlier epoch, with records that were never committed.
    pub to_the_end: bool,
}

/// Where a replica's log ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaEnd {
    /// The incarnation that reported it.
    pub node_epoch: NodeEpoch,
    /// What lies below was committed, and removed.
    pub log_start: Offset,
    /// -1: the log is damaged, and no other value means anything.
    pub log_end: Offset,
    /// Its leader epochs and where they begin, in order; the last ones, if they are many.
    pub epochs: Vec<(LeaderEpoch, Offset)>,
}

impl ReplicaEnd {
    /// Whether anything of the log may be used.
    pub fn is_sound(&self) -> bool {
        self.log_end.0 >= 0
    }

    /// What decides between two: the greater one leads. -1 for the epoch of a log that has none.
    pub fn position(&self) -> (LeaderEpoch, Offset) {
        (self.epochs.last().map_or(LeaderEpoch::UNKNOWN, |(epoch, _)| *epoch), self.log_end)
    }

    /// Whether every record of the other log is in this one, too: one leader wrote each epoch, so it is if this log
    /// goes as far in the epoch of the other's last record, or begins behind that.
    pub fn contains(&self, other: &ReplicaEnd) -> bool {
        if self.log_start >= other.log_end {
            return true;
        }
        let with_records = other.epochs.iter().rev().find(|(_, start)| *start < other.log_end);
        let Some((epoch, _)) = with_records else { return self.log_end >= other.log_end };
        let Some(place) = self.epochs.iter().position(|(known, _)| known == epoch) else { return false };
        let end = self.epochs.get(place + 1).map_or(self.log_end, |(_, start)| *start);
        end >= other.log_end
    }
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

    /// Without a leader: those whose reports it waits for.
    pub fn still_waits_for(&self) -> impl Iterator<Item = NodeId> {
        let silent = |k: &&LastKnown| k.waited_for && k.position.is_none();
        self.last_known.iter().filter(silent).map(|k| k.node)
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

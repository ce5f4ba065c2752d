//! The controller: linearizable, so each of its decisions is one step.

use crate::{
    ids::{LeaderEpoch, NodeEpoch, NodeId, NodeSet, PartitionEpoch, REPLICAS},
    mutation::Mutation,
};

/// The partition's state: what the controller decides and leaders adopt as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Who leads, if anybody can.
    pub leader: Option<NodeId>,
    /// The epoch of that leadership.
    pub leader_epoch: LeaderEpoch,
    /// Counts every change of this state.
    pub partition_epoch: PartitionEpoch,
    /// The in-sync replicas.
    pub isr: NodeSet,
    /// The eligible leader replicas (KIP-966).
    pub elr: NodeSet,
    /// min(`min.insync.replicas`, replication factor).
    pub min_isr: u8,
}

/// What the controller knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Controller {
    /// The node epoch handed out last, a node.
    pub registered: [NodeEpoch; REPLICAS],
    /// Nodes that are fenced.
    pub fenced: NodeSet,
    /// The one partition.
    pub partition: Partition,
    /// Its state under the leader before; kept only under `Mutation::OlderStateAfterRestart`.
    pub past: Option<Partition>,
}

/// A leader's AlterPartition request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Who sent it.
    pub from: NodeId,
    /// The epoch it leads in.
    pub leader_epoch: LeaderEpoch,
    /// The partition state it builds on.
    pub partition_epoch: PartitionEpoch,
    /// The ISR it asks for.
    pub isr: NodeSet,
    /// Who is new in it, under the node epoch of its fetches (KIP-903). The other members' epochs need no word: a new
    /// registration of theirs takes them out of the ISR, which the partition epoch tells.
    pub joiner: Option<(NodeId, NodeEpoch)>,
}

/// What is to become of the partition, besides the leader that follows from it.
pub(crate) struct Change {
    pub(crate) isr: NodeSet,
    /// Nodes that came back without proof of an intact disk (R10).
    pub(crate) unproven: NodeSet,
    pub(crate) min_isr: u8,
    /// A leadership that ends although its node might go on.
    pub(crate) ended: Option<NodeId>,
}

impl Controller {
    pub(crate) fn unchanged(&self) -> Change {
        let Partition { isr, min_isr, .. } = self.partition;
        Change { isr, unproven: NodeSet::EMPTY, min_isr, ended: None }
    }

    /// Decides every change of the partition: ELR, leader, epochs. `elect` is the choice among those who may lead:
    /// none when the leader stays or nobody can lead. Any other choice is no step, so nothing comes back.
    pub(crate) fn settle(mut self, change: &Change, elect: Option<NodeId>) -> Option<Self> {
        let old = self.partition;
        let mut new = Partition { isr: change.isr, min_isr: change.min_isr, ..old };
        new.elr = eligible(&old, new.isr, new.min_isr).minus(change.unproven);
        let active = NodeSet::ALL.minus(self.fenced);
        let stays =
            |leader: NodeId| new.isr.intersection(active).contains(leader) && change.ended != Some(leader);
        if old.leader.is_some_and(stays) {
            if elect.is_some() {
                return None;
            }
        } else {
            let others = change.ended.map_or(new.isr, |ended| new.isr.without(ended));
            let in_sync = others.intersection(active);
            let electable = if in_sync.is_empty() { new.elr.intersection(active) } else { in_sync };
            match elect {
                Some(choice) if !electable.contains(choice) => return None,
                None if !electable.is_empty() => return None,
                _ => {}
            }
            if let Some(choice) = elect.filter(|_| in_sync.is_empty()) {
                new.isr = NodeSet::only(choice);
                new.elr = if new.min_isr <= 1 { NodeSet::EMPTY } else { new.elr.without(choice) };
            }
            new.leader = elect;
            if elect != old.leader || change.ended.is_some() {
                new.leader_epoch = old.leader_epoch.next();
            }
        }
        if new != old {
            new.partition_epoch = PartitionEpoch(old.partition_epoch.0 + 1);
        }
        self.partition = new;
        Some(self)
    }

    /// A fenced node leaves the ISR, even as its last member.
    pub(crate) fn fence(mut self, node: NodeId, elect: Option<NodeId>) -> Option<Self> {
        self.fenced = self.fenced.with(node);
        let isr = self.partition.isr.without(node);
        self.settle(&Change { isr, ..self.unchanged() }, elect)
    }

    /// Nobody joins an ISR by being unfenced, but a partition without a leader may get one.
    pub(crate) fn unfence(mut self, node: NodeId, elect: Option<NodeId>) -> Option<Self> {
        self.fenced = self.fenced.without(node);
        self.settle(&self.unchanged(), elect)
    }

    /// A registration hands out a new node epoch, fences, ends the node's leaderships, and without proof takes its
    /// place in the ELR too.
    pub(crate) fn register(mut self, node: NodeId, proven: bool, elect: Option<NodeId>) -> Option<Self> {
        let epoch = &mut self.registered[node.index()];
        *epoch = NodeEpoch(epoch.0 + 1);
        self.fenced = self.fenced.with(node);
        let unproven = if proven { NodeSet::EMPTY } else { NodeSet::only(node) };
        let isr = self.partition.isr.without(node);
        let ended = self.partition.leader.filter(|leader| *leader == node);
        self.settle(&Change { isr, unproven, ended, ..self.unchanged() }, elect)
    }

    /// Moves the leadership to another member of the ISR.
    pub(crate) fn hand_over(self, to: NodeId) -> Option<Self> {
        let ended = self.partition.leader?;
        if ended == to || !self.partition.isr.contains(to) {
            return None;
        }
        self.settle(&Change { ended: Some(ended), ..self.unchanged() }, Some(to))
    }

    /// Changes min ISR and the ELR that follows from it in one step (KAFKA-16540).
    pub(crate) fn set_min_isr(self, min_isr: u8) -> Option<Self> {
        self.settle(&Change { min_isr, ..self.unchanged() }, None)
    }

    /// Whether compare-and-set lets the proposal through.
    #[must_use]
    pub fn current(&self, proposal: &Proposal, mutation: Option<Mutation>) -> bool {
        let partition = &self.partition;
        partition.leader == Some(proposal.from)
            && partition.leader_epoch == proposal.leader_epoch
            && (partition.partition_epoch == proposal.partition_epoch
                || mutation == Some(Mutation::NoPartitionEpochCheck))
    }

    /// Whether who joins may: not fenced (KIP-841), under the registered node epoch (KIP-903).
    #[must_use]
    pub fn eligible(&self, proposal: &Proposal) -> (bool, bool) {
        proposal.joiner.map_or((true, true), |(node, epoch)| {
            (!self.fenced.contains(node), self.registered[node.index()] == epoch)
        })
    }

    /// Takes an ISR as proposed. An unchanged one counts as a change too: a leader learns by it that no older
    /// proposal can come true any more.
    pub(crate) fn accept(self, proposal: &Proposal) -> Option<Self> {
        let epoch = self.partition.partition_epoch;
        let mut next = self.settle(&Change { isr: proposal.isr, ..self.unchanged() }, None)?;
        next.partition.partition_epoch = PartitionEpoch(epoch.0 + 1);
        Some(next)
    }
}

/// (ISR ∪ ELR) − the new ISR while that is below min ISR, nobody otherwise.
fn eligible(old: &Partition, isr: NodeSet, min_isr: u8) -> NodeSet {
    if isr.len() >= min_isr { NodeSet::EMPTY } else { old.isr.union(old.elr).minus(isr) }
}

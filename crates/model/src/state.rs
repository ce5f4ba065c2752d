//! The whole state.

use std::fmt;

use crate::{
    bounds::{Bounds, Budget},
    controller::{Controller, Partition, Proposal},
    ids::{LeaderEpoch, NodeEpoch, NodeId, NodeSet, PartitionEpoch, REPLICAS},
    log::Log,
    replica::{Fetch, Lead, Node, Role},
    rules::{Breaches, Event},
};

/// The most proposals that can be on their way at once.
pub const PROPOSALS_MAX: usize = 3;

/// One state of controller, nodes and network, with the ghost log of what was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// The controller.
    pub controller: Controller,
    /// The nodes.
    pub nodes: [Node; REPLICAS],
    /// Proposals on their way to the controller, in no order that matters.
    pub proposals: [Option<Proposal>; PROPOSALS_MAX],
    /// The controller's last answer to a proposal, until its leader adopts it or something newer.
    pub answer: Option<Partition>,
    /// C: every committed record.
    pub committed: Log,
    /// Nodes that lost power once; no part of a state's identity.
    pub unclean: NodeSet,
    /// What may still happen.
    pub left: Budget,
    /// Rules that the last step broke.
    pub breaches: Breaches,
    /// What the last step was an example of; no part of a state's identity.
    pub event: Option<Event>,
}

impl State {
    /// Three empty replicas in one ISR, led by node 0, all aware of it.
    #[must_use]
    pub fn start(bounds: &Bounds) -> Self {
        let (leader, leader_epoch) = (NodeId(0), LeaderEpoch(1));
        let partition = Partition {
            leader: Some(leader),
            leader_epoch,
            partition_epoch: PartitionEpoch(1),
            isr: NodeSet::ALL,
            elr: NodeSet::EMPTY,
            min_isr: bounds.min_isr,
        };
        let follower = Node {
            log: Log::default(),
            high_watermark: 0,
            epoch: leader_epoch,
            role: Role::Follower(leader),
            ends: [None; REPLICAS],
            fetch: Fetch::Requested,
            late: None,
            late_answer: None,
            image: Log::default(),
            config_min_isr: bounds.min_isr,
        };
        let first = Node { role: Role::Leader(Lead::of(&partition, 0)), ..follower };
        let registered = [NodeEpoch(1); REPLICAS];
        Self {
            controller: Controller { registered, fenced: NodeSet::EMPTY, partition, past: None },
            nodes: [first, follower, follower],
            proposals: [None; PROPOSALS_MAX],
            answer: None,
            committed: Log::default(),
            unclean: NodeSet::EMPTY,
            left: bounds.budget,
            breaches: Breaches::default(),
            event: None,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Partition { leader, leader_epoch, partition_epoch, isr, elr, min_isr } =
            self.controller.partition;
        let leader = leader.map_or("-".to_owned(), |leader| leader.0.to_string());
        write!(f, "leader {leader} epoch {} v{} isr {isr}", leader_epoch.0, partition_epoch.0)?;
        write!(f, " elr {elr} min {min_isr} fenced {} │ C {} │", self.controller.fenced, self.committed)?;
        for (name, node) in self.nodes.iter().enumerate() {
            let role = match node.role {
                Role::Idle => "idle".to_owned(),
                Role::Follower(leader) => format!("follows {}@{}", leader.0, node.epoch.0),
                Role::Leader(lead) => {
                    format!("LEADS @{} v{} M {}", node.epoch.0, lead.partition_epoch.0, lead.maximal)
                }
            };
            write!(f, " {name}: {} hw {} {role};", node.log, node.high_watermark)?;
        }
        Ok(())
    }
}

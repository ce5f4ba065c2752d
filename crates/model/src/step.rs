//! What a step leads to: the controller's decisions, restarts, and what nodes adopt.

use crate::{
    action::Action,
    bounds::Bounds,
    controller::{Controller, Partition, Proposal},
    ids::{LeaderEpoch, NodeId},
    log::Log,
    mutation::Mutation,
    replica::{Fetch, Lead, Node, Role},
    rules::Event,
    state::State,
};

/// The protocol at some bounds, whole or with a mutation.
pub(crate) struct Step<'a> {
    pub(crate) bounds: &'a Bounds,
    pub(crate) mutation: Option<Mutation>,
    pub(crate) next: State,
}

impl Step<'_> {
    pub(crate) fn mutated(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    pub(crate) fn node(&mut self, node: NodeId) -> &mut Node {
        &mut self.next.nodes[node.index()]
    }

    /// Takes the step; nothing if it changes nothing.
    pub(crate) fn take(mut self, action: Action, was: &State) -> Option<State> {
        let controller = self.next.controller;
        match action {
            Action::Append(node) => self.append(node),
            Action::Fetch(node) => self.fetch(node)?,
            Action::Take(node) => self.take_answer(node),
            Action::TakeLate(node) => {
                let answer = self.node(node).late_answer.take()?;
                self.follow(node, &answer);
            }
            Action::LateFetch(node) => self.late_fetch(node)?,
            Action::Adopt(node) => self.adopt(node, &controller.partition)?,
            Action::AdoptPast(node) => self.adopt(node, &controller.past?)?,
            Action::AdoptAnswer(node) => self.adopt_answer(node)?,
            Action::AdoptMinIsr(node) => self.adopt_min_isr(node)?,
            Action::Propose(node, isr) => self.propose(node, isr)?,
            Action::Decide(at) => self.decide(at)?,
            Action::Fence(node, elect) => {
                self.next.left.fences -= 1;
                self.decided(controller.fence(node, elect)?);
            }
            Action::Unfence(node, elect) => self.decided(controller.unfence(node, elect)?),
            Action::HandOver(to) => {
                self.next.left.moves -= 1;
                self.decided(controller.hand_over(to)?);
            }
            Action::Kill(node, elect) => {
                self.next.left.kills -= 1;
                self.restart(node, self.next.nodes[node.index()].log);
                self.decided(controller.register(node, true, elect)?);
            }
            Action::PowerCut(node, end, elect) => {
                self.next.left.power_cuts -= 1;
                self.next.unclean = self.next.unclean.with(node);
                self.restart(node, self.next.nodes[node.index()].log.below(end));
                let proven = self.mutated(Mutation::UncleanElrMember);
                self.decided(controller.register(node, proven, elect)?);
            }
            Action::Rollback(node, elect) => {
                self.next.left.rollbacks -= 1;
                self.restart(node, self.next.nodes[node.index()].image);
                let proven = self.mutated(Mutation::BootIdOnly);
                self.decided(controller.register(node, proven, elect)?);
            }
            Action::SetMinIsr(min_isr) => {
                self.next.left.min_isr_changes -= 1;
                self.decided(controller.set_min_isr(min_isr)?);
            }
        }
        self.forget_what_cannot_matter();
        Some(self.next).filter(|next| next != was)
    }

    /// A node takes over a partition state that is newer than its own.
    fn adopt(&mut self, node: NodeId, partition: &Partition) -> Option<()> {
        let at = &self.next.nodes[node.index()];
        if partition.leader_epoch > at.epoch {
            self.change_role(node, partition);
        } else {
            let lead = at.lead()?;
            if partition.leader_epoch != at.epoch || partition.partition_epoch <= lead.partition_epoch {
                return None;
            }
            let start = lead.start;
            self.node(node).role = Role::Leader(Lead::of(partition, start));
        }
        self.advance(node);
        Some(())
    }

    fn change_role(&mut self, node: NodeId, partition: &Partition) {
        let fencing = !self.mutated(Mutation::NoEpochFencing);
        let forgets = !self.mutated(Mutation::NoFetchInEpochCheck);
        self.outlive_request(node);
        let at = self.node(node);
        at.epoch = partition.leader_epoch;
        at.role = match partition.leader {
            None => Role::Idle,
            Some(leader) if leader == node => Role::Leader(Lead::of(partition, at.log.end())),
            Some(leader) => Role::Follower(leader),
        };
        if forgets {
            at.ends = Default::default();
        }
        let overtaken = std::mem::replace(&mut at.fetch, Fetch::Requested);
        if let (Fetch::Answered(answer), false, Role::Follower(_)) = (overtaken, fencing, at.role) {
            at.late_answer = Some(answer);
        }
        if matches!(at.role, Role::Follower(_)) && self.mutated(Mutation::TruncateToHighWatermark) {
            self.truncate(node, self.next.nodes[node.index()].high_watermark);
        }
    }

    fn adopt_answer(&mut self, node: NodeId) -> Option<()> {
        let answer = self.next.answer.take_if(|answer| answer.leader == Some(node))?;
        // The same as adopting the controller's state, unless that has moved on.
        if answer == self.next.controller.partition {
            return None;
        }
        self.next.event = Some(Event::StaleAnswer);
        self.adopt(node, &answer)
    }

    fn adopt_min_isr(&mut self, node: NodeId) -> Option<()> {
        let min_isr = self.next.controller.partition.min_isr;
        let at = self.node(node);
        if at.config_min_isr == min_isr {
            return None;
        }
        at.config_min_isr = min_isr;
        self.advance(node);
        Some(())
    }

    /// The controller's state after one of its decisions.
    pub(crate) fn decided(&mut self, controller: Controller) {
        let (old, new) = (self.next.controller.partition, controller.partition);
        if let Some(leader) = new.leader.filter(|_| new.leader != old.leader) {
            let in_sync = old.isr.contains(leader);
            self.next.event = Some(if in_sync { Event::LeaderChanged } else { Event::ElrElected });
        }
        self.next.controller = controller;
        if self.mutated(Mutation::OlderStateAfterRestart) && new.leader_epoch != old.leader_epoch {
            self.next.controller.past = Some(old);
        }
    }

    /// The process dies and starts anew with this much of its log. Its registration is part of the same step: in
    /// between it could only wait.
    fn restart(&mut self, node: NodeId, log: Log) {
        self.outlive_request(node);
        let keeps_images = self.bounds.budget.rollbacks > 0;
        let at = self.node(node);
        *at = Node {
            log,
            high_watermark: 0,
            epoch: LeaderEpoch::default(),
            role: Role::Idle,
            ends: Default::default(),
            fetch: Fetch::Requested,
            late_answer: None,
            image: if keeps_images { log } else { Default::default() },
            ..*at
        };
    }

    /// Drops what is on its way and could only be refused, so that states which behave alike are one.
    fn forget_what_cannot_matter(&mut self) {
        let controller = self.next.controller;
        let outrun = |proposal: &mut Proposal| !controller.current(proposal, self.mutation);
        for place in &mut self.next.proposals {
            if place.take_if(outrun).is_some() {
                self.next.event = self.next.event.or(Some(Event::ProposalOutrun));
            }
        }
        if let Some(answer) = self.next.answer {
            let adopted = |leader: NodeId| {
                let at = &self.next.nodes[leader.index()];
                let lead = at.lead().filter(|_| at.epoch == answer.leader_epoch);
                lead.is_none_or(|lead| lead.partition_epoch >= answer.partition_epoch)
            };
            if answer.leader.is_none_or(adopted) {
                self.next.answer = None;
            }
        }
        for node in NodeId::all() {
            let late = self.next.nodes[node.index()].late;
            if late.is_some_and(|request| !self.may_matter(node, &request)) {
                self.node(node).late = None;
            }
        }
    }
}

//! Leading: appending, proposing an ISR, moving the high watermark.

use crate::{
    controller::Proposal,
    ids::{NodeId, NodeSet},
    log::Log,
    mutation::Mutation,
    replica::{Lead, Role},
    rules::{Event, Rule},
    step::Step,
};

impl Step<'_> {
    pub(crate) fn append(&mut self, node: NodeId) {
        let at = self.node(node);
        at.log.push(at.epoch);
        self.advance(node);
    }

    pub(crate) fn propose(&mut self, node: NodeId, isr: NodeSet) -> Option<()> {
        let any_start = self.mutated(Mutation::JoinBelowEpochStart);
        let at = self.node(node);
        let (lead, epoch) = (*at.lead()?, at.epoch);
        let joiner = match isr.minus(lead.isr).iter().next() {
            None => None,
            Some(joiner) => {
                let known = at.ends[joiner.index()]?;
                if known.end < at.high_watermark || (known.end < lead.start && !any_start) {
                    return None;
                }
                Some((joiner, known.node_epoch))
            }
        };
        at.role = Role::Leader(Lead { maximal: lead.maximal.union(isr), ..lead });
        self.next.left.proposals -= 1;
        let free = self.next.proposals.iter_mut().find(|place| place.is_none())?;
        let partition_epoch = lead.partition_epoch;
        *free = Some(Proposal { from: node, leader_epoch: epoch, partition_epoch, isr, joiner });
        Some(())
    }

    pub(crate) fn decide(&mut self, at: usize) -> Option<()> {
        let proposal = self.next.proposals[at].take()?;
        let controller = self.next.controller;
        if !controller.current(&proposal, self.mutation) {
            return Some(());
        }
        let (active, registered) = controller.eligible(&proposal);
        if !(active || self.mutated(Mutation::FencedNodeJoins))
            || !(registered || self.mutated(Mutation::StaleNodeEpochJoins))
        {
            return Some(());
        }
        if !(active && registered) {
            self.next.breaches.note(Rule::IsrJoin);
        }
        self.decided(controller.accept(&proposal)?);
        self.next.answer = Some(self.next.controller.partition);
        if proposal.joiner.is_some_and(|(node, _)| self.next.unclean.contains(node)) {
            self.next.event = Some(Event::UncleanRejoined);
        }
        Some(())
    }

    /// The leader moves its high watermark as far as it may. It does so in the same step as what allows it, as the
    /// replica does.
    pub(crate) fn advance(&mut self, node: NodeId) {
        let whole = !self.mutated(Mutation::NoMaximalIsr);
        let apart = self.mutated(Mutation::MinIsrApart);
        let at = &self.next.nodes[node.index()];
        let Some(lead) = at.lead() else { return };
        let min_isr = if apart { at.config_min_isr } else { lead.min_isr };
        let reached = at.reached_by(node, if whole { lead.maximal } else { lead.isr });
        if lead.isr.len() < min_isr || reached <= at.high_watermark {
            return;
        }
        let fetched = |member: NodeId| {
            member == node
                || at.ends[member.index()].is_some_and(|k| k.learned_in == at.epoch && k.end >= reached)
        };
        if lead.isr.len() < lead.min_isr || !lead.maximal.iter().all(fetched) {
            self.next.breaches.note(Rule::HighWatermarkMoves);
        }
        let seen = at.log.below(reached);
        let deposed = at.epoch < self.next.controller.partition.leader_epoch;
        self.node(node).high_watermark = reached;
        self.commit(&seen, deposed);
    }

    fn commit(&mut self, seen: &Log, deposed: bool) {
        let committed = &mut self.next.committed;
        if seen.contains(committed) {
            if seen.end() > committed.end() {
                self.next.event = Some(if deposed { Event::DeposedCommitted } else { Event::Committed });
            }
            *committed = *seen;
        } else if !committed.contains(seen) {
            self.next.breaches.note(Rule::CommittedPrefix);
        }
    }
}

//! How a leader has the ISR changed.

use domain::{NodeEpoch, NodeId, PartitionIndex};
use metadata::{AlterRefusalKind, Applied, Command, IsrChange, Refusal};
use replica::Proposal;

use crate::{
    event::{Message, Party},
    mutation::Mutation,
    node::Call,
    world::World,
};

const ALTER_US: u64 = 40_000;

impl World {
    /// Proposes the change of the ISR that is due, if any.
    pub(crate) fn propose_isr(&mut self, n: usize, p: usize) {
        let (now_ms, lag_max_ms) = (self.node_ms(n), self.setup.lag_max_ms);
        let proposal = match self.bent_proposal(n, p) {
            Some(bent) => bent,
            None => {
                let registered = self.registered(n, p);
                let Some((local, _)) = self.nodes[n].both(p) else { return };
                local.replica.propose(now_ms, lag_max_ms, |node| registered[node.0 as usize])
            }
        };
        let Some(proposal) = proposal else { return };
        self.note_proposal(p, &proposal);
        self.send_alter(n, vec![(p, proposal)]);
    }

    fn note_proposal(&mut self, p: usize, proposal: &Proposal) {
        if let Some(leadership) = self.ghost.partitions[p].leaderships.get_mut(&proposal.leader_epoch) {
            let members = proposal.isr.iter().map(|(node, _)| (proposal.partition_epoch, *node));
            leadership.proposed.extend(members);
        }
    }

    /// The node epochs of those who are active, as this node's image has them; its own in any case.
    pub(crate) fn registered(&self, n: usize, p: usize) -> Vec<Option<NodeEpoch>> {
        let Some(process) = self.nodes[n].process.as_ref() else { return vec![None; self.nodes.len()] };
        let everybody = matches!(self.mutation, Some(Mutation::NoKip841));
        let fetches = self.nodes[n].local(p).map(|l| &l.fetches);
        let epoch_of = |member: usize| {
            if member == n {
                return process.epoch;
            }
            let id = NodeId(member as i32);
            if self.mutation == Some(Mutation::NoKip903) {
                return fetches.and_then(|f| f.get(&id)).map(|(epoch, _)| *epoch);
            }
            let node = process.image.nodes.get(&id)?;
            (everybody || node.state == metadata::NodeState::Active).then_some(node.epoch)
        };
        (0..self.nodes.len()).map(epoch_of).collect()
    }

    pub(crate) fn send_alter(&mut self, n: usize, proposals: Vec<(usize, Proposal)>) {
        let now = self.now_us;
        let (call, me) = (self.fresh_id(), self.node_id(n));
        let changes = proposals.iter().map(|(p, proposal)| IsrChange {
            topic: self.topics[*p].1,
            partition: PartitionIndex(0),
            leader_epoch: proposal.leader_epoch,
            partition_epoch: proposal.partition_epoch,
            isr: proposal.isr.clone(),
        });
        let changes: Vec<_> = changes.collect();
        let Some(process) = self.nodes[n].process.as_mut() else { return };
        let Some(node_epoch) = process.epoch else { return };
        // One call at a time; what is outstanding besides goes with the next tick.
        if process.altering.as_ref().is_some_and(|(call, _)| now < call.until_us) {
            return;
        }
        process.altering = Some((Call { id: call, until_us: now + ALTER_US }, proposals));
        let controller = Party::Controller(process.controller);
        let command = Box::new(Command::AlterPartitions { node: me, node_epoch, changes });
        self.send(Party::Node(n), controller, Message::Propose { call, command });
    }

    pub(crate) fn on_altered(&mut self, n: usize, call: u64, result: Result<Applied, Refusal>) {
        let Some(process) = self.nodes[n].process.as_mut() else { return };
        let Some((_, proposals)) = process.altering.take_if(|(c, _)| c.id == call) else { return };
        // This incarnation is not the registered one: the next heartbeat tells.
        let Ok(Applied::Altered(results)) = result else { return };
        for ((p, proposal), result) in proposals.iter().zip(results) {
            match result {
                // It may be older than the metadata that took the replica away.
                Ok(_) if self.nodes[n].local(*p).is_none() => {}
                Ok(partition) => self.follow_state(n, *p, &partition, true),
                Err(refusal) => {
                    let kind = refusal.kind;
                    self.trace(Party::Node(n), format_args!("t{p}: ISR refused: {refusal}"));
                    let for_good =
                        matches!(kind, AlterRefusalKind::Ineligible | AlterRefusalKind::InvalidIsr);
                    if for_good {
                        self.refused(n, *p, proposal);
                    }
                }
            }
        }
    }

    fn refused(&mut self, n: usize, p: usize, proposal: &Proposal) {
        let (registered, bent) = (self.registered(n, p), self.mutation);
        let Some((local, _)) = self.nodes[n].both(p) else { return };
        if local.replica.outstanding() != Some(proposal) {
            return;
        }
        if bent == Some(Mutation::RefusedRevertedAtOnce) {
            return local.replica.forget_proposal();
        }
        if let Some(instead) = local.replica.refused(|node| registered[node.0 as usize]) {
            self.note_proposal(p, &instead);
        }
    }
}

//! Where mutations bend what goes into the pure crates and what comes out.

use std::sync::Arc;

use domain::LeaderEpoch;
use metadata::{Command, Image, Node, NodeState};
use replica::{FollowerFetch, PartitionState, Proposal};

use crate::{mutation::Mutation, world::World};

impl World {
    /// A command on its way into the controllers' state machine.
    pub(crate) fn bent_command(&mut self, command: Command) -> Command {
        match (self.mutation, command) {
            (Some(Mutation::NoKip841), Command::AlterPartitions { node, node_epoch, changes }) => {
                let members: Vec<_> =
                    changes.iter().flat_map(|c| &c.isr).map(|(member, _)| *member).collect();
                for member in members {
                    if let Some(known) = self.controllers.image.nodes.get(&member).cloned() {
                        let active = Node { state: NodeState::Active, ..Node::clone(&known) };
                        self.controllers.image.nodes.insert(member, Arc::new(active));
                    }
                }
                Command::AlterPartitions { node, node_epoch, changes }
            }
            (Some(Mutation::NoKip903), Command::AlterPartitions { node, node_epoch, mut changes }) => {
                for (member, epoch) in changes.iter_mut().flat_map(|c| &mut c.isr) {
                    *epoch = self.controllers.image.nodes.get(member).map_or(*epoch, |n| n.epoch);
                }
                Command::AlterPartitions { node, node_epoch, changes }
            }
            (
                Some(Mutation::NoPartitionEpochCheck),
                Command::AlterPartitions { node, node_epoch, mut changes },
            ) => {
                for change in &mut changes {
                    let topic = self.controllers.image.topic_by_id(change.topic);
                    let state = topic.and_then(|t| t.partition(change.partition));
                    change.partition_epoch = state.map_or(change.partition_epoch, |s| s.epoch);
                }
                Command::AlterPartitions { node, node_epoch, changes }
            }
            (Some(Mutation::UncleanElrMember), Command::RegisterNode(mut registration)) => {
                let id = registration.node;
                let topics = self.controllers.image.topics.values();
                let eligible = topics.flat_map(|t| t.partitions.iter()).any(|p| p.elr.contains(&id));
                if let Some(known) = self.controllers.image.nodes.get(&id).filter(|_| eligible) {
                    registration.previous_epoch = Some(known.epoch);
                    registration.intact = true;
                }
                Command::RegisterNode(registration)
            }
            (Some(Mutation::BootIdWithoutNodeEpoch), Command::RegisterNode(mut registration)) => {
                let known = self.controllers.image.nodes.get(&registration.node);
                registration.previous_epoch = known.map(|n| n.epoch);
                Command::RegisterNode(registration)
            }
            (_, command) => command,
        }
    }

    /// Takes back what [`World::bent_command`] did to the image, or undoes what the command did.
    pub(crate) fn unbend(&mut self, command: &Command, before: &Image) {
        match (self.mutation, command) {
            (Some(Mutation::NoKip841), Command::AlterPartitions { .. }) => {
                self.controllers.image.nodes = before.nodes.clone();
            }
            (Some(Mutation::RegistrationKeepsLeadership), Command::RegisterNode(_)) => {
                self.controllers.image.topics = before.topics.clone();
            }
            (Some(Mutation::OnlyTheLastAsked), _) => self.forget_all_but_the_last(),
            _ => {}
        }
    }

    /// The others' entries are for disks that nobody has.
    fn forget_all_but_the_last(&mut self) {
        let mut topics = self.controllers.image.topics.clone();
        for (name, topic) in &self.controllers.image.topics {
            let mut bent = metadata::Topic::clone(topic);
            for known in bent.partitions.iter_mut().flat_map(|p| &mut p.last_known).filter(|k| !k.to_the_end)
            {
                known.directory = domain::DirectoryId(uuid::Uuid::nil());
                (known.waited_for, known.position) = (false, None);
            }
            topics.insert(name.clone(), std::sync::Arc::new(bent));
        }
        self.controllers.image.topics = topics;
    }

    /// A state on its way into a replica.
    pub(crate) fn bent_state(&self, n: usize, p: usize, mut state: PartitionState) -> PartitionState {
        let configured = self.nodes[n].process.as_ref().and_then(|process| process.configured_min[p]);
        if self.mutation == Some(Mutation::MinIsrApart)
            && let Some(min_isr) = configured
        {
            state.min_isr = min_isr;
        }
        state
    }

    /// What a node knows of the configs, by a way of their own.
    pub(crate) fn note_configs(&mut self, n: usize) {
        if self.mutation != Some(Mutation::MinIsrApart) {
            return;
        }
        let Some(process) = self.nodes[n].process.as_mut() else { return };
        for (known, (name, _)) in process.configured_min.iter_mut().zip(&self.topics) {
            let topic = process.image.topics.get(name);
            let minimum = topic.map(|topic| process.image.topic_config(topic).min_insync_replicas);
            *known = minimum.and_then(|minimum| u32::try_from(minimum).ok());
        }
    }

    /// A new leader, just begun.
    pub(crate) fn bent_leadership(&mut self, n: usize, p: usize, epoch: LeaderEpoch) {
        let now_ms = self.node_ms(n);
        let mutation = self.mutation;
        let Some((local, log)) = self.nodes[n].both(p) else { return };
        match mutation {
            Some(Mutation::NoFetchInEpochCheck) => {
                for (node, (node_epoch, offset)) in local.fetches.clone() {
                    let offset = offset.min(log.end());
                    let start = log.start();
                    let fetch = FollowerFetch { node, node_epoch, leader_epoch: epoch, offset, start };
                    let _ = local.replica.fetched(now_ms, fetch);
                }
            }
            Some(Mutation::ProducersForgotten) => log.producers.clear(),
            _ => {}
        }
    }

    /// Whether a proposal is due that the replica itself would not make.
    pub(crate) fn joins_early(&self, n: usize, p: usize) -> bool {
        self.mutation == Some(Mutation::JoinWithoutEpochStart) && self.early_joiner(n, p).is_some()
    }

    fn early_joiner(&self, n: usize, p: usize) -> Option<(domain::NodeId, domain::NodeEpoch)> {
        let local = self.nodes[n].local(p)?;
        let state = local.replica.state()?;
        let known = self.registered(n, p);
        let joins = |node: &&domain::NodeId| {
            !state.isr.contains(node)
                && local.replica.end_of(**node).is_some_and(|end| end >= local.replica.high_watermark())
        };
        let node = state.replicas.iter().find(joins)?;
        Some((*node, known[node.0 as usize]?))
    }

    /// The proposal that a bent leader makes; `None` where it does as usual.
    pub(crate) fn bent_proposal(&mut self, n: usize, p: usize) -> Option<Option<Proposal>> {
        let (now_ms, lag_max_ms) = (self.node_ms(n), self.setup.lag_max_ms);
        let registered = self.registered(n, p);
        match self.mutation? {
            Mutation::NoMaximalIsr => {
                // The replica itself never hears of it.
                let busy = self.nodes[n].process.as_ref().is_some_and(|process| process.altering.is_some());
                let local = self.nodes[n].local(p).filter(|_| !busy)?;
                Some(local.replica.clone().propose(now_ms, lag_max_ms, |node| registered[node.0 as usize]))
            }
            Mutation::JoinWithoutEpochStart => {
                let (node, epoch) = self.early_joiner(n, p)?;
                let state = self.nodes[n].local(p)?.replica.state()?;
                let members = state.isr.iter().map(|m| Some((*m, registered[m.0 as usize]?)));
                let mut isr = members.collect::<Option<Vec<_>>>()?;
                isr.push((node, epoch));
                Some(Some(Proposal { leader_epoch: state.leader_epoch, partition_epoch: state.epoch, isr }))
            }
            _ => None,
        }
    }
}

use std::sync::Arc;

use domain::NodeId;

use crate::{Changes, Image, NodeState, Partition, Topic};

impl Image {
    /// Chooses leaders again wherever the node holds a replica, after it came, went, or registered anew.
    pub(crate) fn reelect_around(&mut self, node: NodeId, incarnation_ended: bool, changes: &mut Changes) {
        let active: Vec<NodeId> = self.active_nodes().map(|n| n.id).collect();
        let mut touched: Vec<Arc<Topic>> = Vec::new();
        for topic in self.topics.values() {
            let changed: Vec<_> = topic
                .numbered()
                .filter(|(_, p)| p.replicas.contains(&node))
                .filter_map(|(n, p)| {
                    let mut next = p.clone();
                    if incarnation_ended && next.leader == Some(node) {
                        next.set_leader(None);
                    }
                    next.elect(&active);
                    (next != *p).then_some((n, next))
                })
                .collect();
            if changed.is_empty() {
                continue;
            }
            let mut topic = Topic::clone(topic);
            for (n, partition) in changed {
                changes.partition(&topic.name, n);
                topic.partitions.set(n.0 as usize, partition);
            }
            touched.push(Arc::new(topic));
        }
        for topic in touched {
            self.topics.insert(topic.name.clone(), topic);
        }
    }

    /// How many partitions have this node as their only in-sync replica.
    pub(crate) fn sole_isr_count(&self, node: NodeId) -> usize {
        self.topics.values().flat_map(|t| t.partitions.iter()).filter(|p| p.isr == [node]).count()
    }

    pub(crate) fn is_active(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|n| n.state == NodeState::Active)
    }
}

impl Partition {
    /// The leader stays while it is active and in sync; else the first active member of the ISR in the order of
    /// assignment leads. With none left the partition has no leader and keeps its ISR: only those hold its data.
    pub(crate) fn elect(&mut self, active: &[NodeId]) {
        let eligible = |n: &NodeId| self.isr.contains(n) && active.contains(n);
        if self.leader.as_ref().is_some_and(eligible) {
            return;
        }
        let next = self.replicas.iter().copied().find(|n| eligible(n));
        if next != self.leader {
            self.set_leader(next);
        }
    }

    fn set_leader(&mut self, leader: Option<NodeId>) {
        self.leader = leader;
        self.leader_epoch = self.leader_epoch.next();
        self.epoch = self.epoch.next();
    }
}

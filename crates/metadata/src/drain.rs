use std::sync::Arc;

use domain::{NodeEpoch, NodeId, PartitionIndex, TopicName};

use crate::{Applied, Changes, Image, Node, Partition, Refusal, RefusalKind};

impl Image {
    pub(crate) fn set_draining(
        &mut self,
        id: NodeId,
        draining: bool,
        scaled_in: bool,
        changes: &mut Changes,
    ) -> Result<Applied, Refusal> {
        let unknown = || Refusal::new(RefusalKind::UnknownNode, format!("node {id} never registered"));
        let node = self.nodes.get(&id).ok_or_else(unknown)?;
        let scaled_in = draining && scaled_in;
        if (node.draining, node.scaled_in) != (draining, scaled_in) {
            let node = Node { draining, scaled_in, ..Node::clone(node) };
            self.nodes.insert(id, Arc::new(node));
            changes.nodes.insert(id);
        }
        Ok(Applied::Done)
    }

    /// Forgets a node that gave everything away. Nothing may still count on what it has: not as a replica, and not as one
    /// of those that a partition without a leader waits for.
    pub(crate) fn retire(
        &mut self,
        id: NodeId,
        epoch: NodeEpoch,
        changes: &mut Changes,
    ) -> Result<Applied, Refusal> {
        let node = self.registered(id, epoch)?;
        let refuse = |message: String| Err(Refusal::new(RefusalKind::NotDrained, message));
        if !node.draining {
            return refuse(format!("node {id} is not being drained"));
        }
        if let Some((topic, number)) = self.needs(id) {
            return refuse(format!("node {id} still has a replica of {topic}-{number}"));
        }
        let directory = node.directory;
        self.nodes.remove(&id);
        self.registrations.remove(&id);
        self.loads.remove(&id);
        self.retired.insert(directory);
        changes.nodes.insert(id);
        Ok(Applied::Done)
    }

    /// A partition that counts on the node, if there is one.
    pub fn needs(&self, id: NodeId) -> Option<(TopicName, PartitionIndex)> {
        let counts_on = |p: &Partition| p.replicas.contains(&id) || p.last_known.iter().any(|k| k.node == id);
        self.topics.values().find_map(|topic| {
            let (number, _) = topic.numbered().find(|(_, p)| counts_on(p))?;
            Some((topic.name.clone(), number))
        })
    }

    /// How many replicas the node has.
    pub fn replica_count(&self, id: NodeId) -> u32 {
        self.loads.get(&id).map_or(0, |load| load.replicas)
    }
}

use domain::{NodeId, PartitionIndex, TopicName};

use crate::{Image, NodeState, Partition};

/// A partition that would have too few replicas in sync if the node stopped now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub topic: TopicName,
    pub partition: PartitionIndex,
    /// In sync without the node.
    pub in_sync: usize,
    pub needed: usize,
}

impl Image {
    /// A partition for whose sake the node should not stop yet; `None`: it may. What waiting cannot help holds nobody back: a
    /// partition that has no more replicas than it needs in sync.
    pub fn holds_back(&self, node: NodeId) -> Option<Held> {
        self.topics.values().find_map(|topic| {
            topic.numbered().find_map(|(partition, state)| {
                let (in_sync, needed) = without_node(self, state, node)?;
                (in_sync < needed).then(|| Held { topic: topic.name.clone(), partition, in_sync, needed })
            })
        })
    }
}

/// How many are in sync without the node, and how many there should be; `None` where the node is not in sync itself.
///
/// At least the minimum, and two where there are three or more: when one restarts, the next that dies must not leave one.
fn without_node(image: &Image, partition: &Partition, node: NodeId) -> Option<(usize, usize)> {
    if !partition.isr.contains(&node) {
        return None;
    }
    let is_active = |n: &&NodeId| image.nodes.get(n).is_some_and(|n| n.state == NodeState::Active);
    let in_sync = partition.isr.iter().filter(|n| **n != node).filter(is_active).count();
    let others = partition.target_replicas().iter().filter(|n| **n != node).count();
    let min_isr = usize::try_from(partition.min_isr).unwrap_or(usize::MAX);
    // Where all replicas are needed in sync, waiting helps nobody.
    let needed = if others < min_isr { 0 } else { min_isr.max(others.min(2)) };
    Some((in_sync, needed))
}

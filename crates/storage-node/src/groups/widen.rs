use std::collections::BTreeMap;

use domain::{NodeId, PartitionIndex, TopicName};
use group::OFFSETS_TOPIC;
use metadata::{Image, Partition, REPLICATION_FACTOR_DEFAULT};

/// A partition's new replicas.
pub(super) type Wider = (TopicName, PartitionIndex, Option<Vec<NodeId>>);

/// What the partitions of `__consumer_offsets` lack that were made while fewer nodes were up: as many replicas as a topic
/// gets by default. They keep those that they have, and the new ones go to the nodes that have fewest.
pub(super) fn wider(image: &Image) -> Vec<Wider> {
    let Some(topic) = image.topics.get(OFFSETS_TOPIC) else { return Vec::new() };
    let active: Vec<NodeId> = image.placeable_nodes().map(|node| node.id).collect();
    let wanted = active.len().min(REPLICATION_FACTOR_DEFAULT);
    let mut load: BTreeMap<NodeId, usize> = active.iter().map(|node| (*node, 0)).collect();
    for node in topic.numbered().flat_map(|(_, partition)| &partition.replicas) {
        load.entry(*node).and_modify(|n| *n += 1);
    }
    let lacks = |partition: &Partition| !partition.is_reassigning() && partition.replicas.len() < wanted;
    let mut wider = Vec::new();
    for (number, partition) in topic.numbered().filter(|(_, partition)| lacks(partition)) {
        let mut replicas = partition.replicas.clone();
        while replicas.len() < wanted {
            let others = load.iter().filter(|(node, _)| !replicas.contains(node));
            let Some(node) = others.min_by_key(|(_, n)| **n).map(|(node, _)| *node) else { break };
            load.entry(node).and_modify(|n| *n += 1);
            replicas.push(node);
        }
        wider.push((topic.name.clone(), number, Some(replicas)));
    }
    wider
}

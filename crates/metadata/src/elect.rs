use std::collections::BTreeMap;

use domain::{NodeId, PartitionIndex, TopicName};

use crate::{
    Applied, Changes, ElectRefusal, ElectRefusalKind, ElectionKind, Image, Partition,
    settle::{Rules, Wish},
};

impl Image {
    /// Leaders at somebody's word, each partition by itself.
    pub(crate) fn elect_leaders(
        &mut self,
        kind: ElectionKind,
        partitions: &[(TopicName, PartitionIndex)],
        changes: &mut Changes,
    ) -> Applied {
        let results = partitions.iter().map(|(name, number)| {
            let topic = self.topics.get(name);
            let Some((topic, before)) = topic.and_then(|t| Some((t, t.partition(*number)?))) else {
                let message = format!("partition {name}-{number} does not exist");
                return Err(ElectRefusal::new(ElectRefusalKind::UnknownPartition, message));
            };
            let wish = match kind {
                ElectionKind::Preferred => self.preferred(before)?,
                ElectionKind::Unclean => unclean(before)?,
            };
            let next = Rules::new(self, topic).settle(before, &wish).filter(|next| next.leader.is_some());
            let Some(next) = next else {
                let message = "no replica is active".to_owned();
                return Err(ElectRefusal::new(ElectRefusalKind::EligibleLeadersNotAvailable, message));
            };
            self.put_partition(name, *number, next, changes);
            Ok(())
        });
        Applied::Elected(results.collect())
    }

    fn preferred(&self, partition: &Partition) -> Result<Wish, ElectRefusal> {
        let refuse = |kind, message: String| Err(ElectRefusal::new(kind, message));
        match partition.replicas.first() {
            Some(first) if partition.leader == Some(*first) => {
                let message = format!("node {first} leads already");
                refuse(ElectRefusalKind::ElectionNotNeeded, message)
            }
            Some(first) if self.can_take_over(partition, *first) => {
                Ok(Wish { leader: Some(*first), ..Wish::default() })
            }
            first => {
                let message = format!(
                    "node {}, the first replica, is not active and in sync",
                    first.map_or(-1, |n| n.0)
                );
                refuse(ElectRefusalKind::PreferredLeaderNotAvailable, message)
            }
        }
    }

    fn can_take_over(&self, partition: &Partition, node: NodeId) -> bool {
        partition.isr.contains(&node) && self.is_active(node)
    }

    /// At most `max` partitions that their first replica could lead but another does, spread over the nodes
    /// that would take over, so that a few at a time burden nobody much.
    pub fn preferred_leader_moves(&self, max: usize) -> Vec<(TopicName, PartitionIndex)> {
        let mut by_node: BTreeMap<NodeId, Vec<(&TopicName, PartitionIndex)>> = BTreeMap::new();
        for topic in self.topics.values() {
            for (number, partition) in topic.numbered() {
                let Some(first) = partition.replicas.first().filter(|n| partition.leader != Some(**n)) else {
                    continue;
                };
                if self.can_take_over(partition, *first) {
                    by_node.entry(*first).or_default().push((&topic.name, number));
                }
            }
        }
        let longest = by_node.values().map(Vec::len).max().unwrap_or(0);
        let rounds =
            (0..longest).flat_map(|round| by_node.values().filter_map(move |moves| moves.get(round)));
        rounds.take(max).map(|(topic, number)| ((*topic).clone(), *number)).collect()
    }
}

fn unclean(partition: &Partition) -> Result<Wish, ElectRefusal> {
    match partition.leader {
        None => Ok(Wish { unclean: true, ..Wish::default() }),
        Some(leader) => {
            let message = format!("node {leader} leads");
            Err(ElectRefusal::new(ElectRefusalKind::ElectionNotNeeded, message))
        }
    }
}

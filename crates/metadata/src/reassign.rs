use std::collections::BTreeSet;

use domain::{NodeId, PartitionIndex, TopicName};

use crate::{
    Applied, Changes, Image, Partition, Refusal, RefusalKind,
    partition::without,
    settle::{Assignment, Rules, Wish},
    topics::unknown_topic,
};

impl Image {
    /// Other replicas for partitions (KIP-455), each by itself. What is under way is replaced or, by `None`,
    /// cancelled.
    pub(crate) fn reassign(
        &mut self,
        wanted: &[(TopicName, PartitionIndex, Option<Vec<NodeId>>)],
        changes: &mut Changes,
    ) -> Applied {
        let results = wanted.iter().map(|(name, number, target)| {
            let topic = self.topics.get(name).ok_or_else(|| unknown_topic(name))?;
            let unknown = || {
                let message = format!("partition {name}-{number} does not exist");
                Refusal::new(RefusalKind::UnknownPartition, message)
            };
            let before = topic.partition(*number).ok_or_else(unknown)?;
            let assignment = match target {
                Some(target) => self.towards(before, target)?,
                None => back(before)?,
            };
            keeps_the_data(before, &assignment)?;
            let wish = Wish { assignment: Some(assignment), ..Wish::default() };
            if let Some(next) = Rules::new(self, topic).settle(before, &wish) {
                self.put_partition(name, *number, next, changes);
            }
            Ok(())
        });
        Applied::Reassigned(results.collect())
    }

    /// The way to the target, from the replicas before whatever is under way.
    fn towards(&self, partition: &Partition, target: &[NodeId]) -> Result<Assignment, Refusal> {
        let refuse = |message: String| Err(Refusal::new(RefusalKind::InvalidReplicaAssignment, message));
        if target.is_empty() {
            return refuse("no replica is named".to_owned());
        }
        if target.iter().collect::<BTreeSet<_>>().len() != target.len() {
            return refuse("a replica is named twice".to_owned());
        }
        if let Some(stranger) = target.iter().find(|n| !self.nodes.contains_key(n)) {
            return refuse(format!("node {stranger} never registered"));
        }
        let original = partition.original_replicas();
        let removing = without(&original, target);
        let replicas = target.iter().chain(&removing).copied().collect();
        Ok(Assignment { replicas, adding: without(target, &original), removing })
    }
}

/// The replicas before the reassignment that is under way.
fn back(partition: &Partition) -> Result<Assignment, Refusal> {
    if !partition.is_reassigning() {
        let message = "no reassignment is under way".to_owned();
        return Err(Refusal::new(RefusalKind::NoReassignmentInProgress, message));
    }
    let replicas = partition.original_replicas();
    Ok(Assignment { replicas, adding: Vec::new(), removing: Vec::new() })
}

/// Replicas that a former reassignment added leave at once when another takes its place. They must not be the
/// only ones that have the data.
fn keeps_the_data(partition: &Partition, assignment: &Assignment) -> Result<(), Refusal> {
    let stays = |n: &NodeId| assignment.replicas.contains(n);
    let kept = match partition.is_lost() {
        false => partition.isr.iter().chain(&partition.elr).any(stays),
        true => partition.last_known.iter().filter(|k| k.waited_for).all(|k| stays(&k.node)),
    };
    if kept {
        return Ok(());
    }
    let message = "the replicas that would leave are the only ones in sync".to_owned();
    Err(Refusal::new(RefusalKind::InvalidReplicaAssignment, message))
}

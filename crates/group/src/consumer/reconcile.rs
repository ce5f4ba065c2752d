use assign::Partitions;
use domain::{PartitionIndex, TopicId};

use super::{Consumer, Draft, target::target_of};
use crate::{CurrentAssignment, MemberState};

/// Brings one member a step nearer to its target. `owned` is what it says it owns; `None` if it says nothing. A
/// partition is given to it only once nobody else has it (INVARIANTS G4).
pub(crate) fn reconcile(draft: &mut Draft<'_>, id: &str, owned: Option<&Partitions>) {
    let Some(member) = draft.members.get(id) else { return };
    let current = &*member.current;
    if member.is_at(draft.target_epoch) {
        return;
    }
    let waits = current.state == MemberState::UnrevokedPartitions
        && owned.is_none_or(|owned| overlap(owned, &current.pending_revocation));
    if waits {
        return;
    }
    let target = target_of(draft, id);
    let next = next(draft, id, current, &target, owned);
    if next != *current {
        draft.write_current(id, next);
    }
}

fn next(
    group: &Consumer,
    id: &str,
    current: &CurrentAssignment,
    target: &Partitions,
    owned: Option<&Partitions>,
) -> CurrentAssignment {
    let mut assigned = both(&current.assigned, target);
    let to_revoke = without(&current.assigned, target);
    // What it does not own it need not give up.
    if owned.map_or(!to_revoke.is_empty(), |owned| overlap(owned, &to_revoke)) {
        return CurrentAssignment {
            state: MemberState::UnrevokedPartitions,
            assigned,
            pending_revocation: to_revoke,
            ..current.clone()
        };
    }
    let mut complete = true;
    for (topic, partitions) in without(target, &assigned) {
        for partition in partitions {
            match is_free(group, id, topic, partition) {
                true => drop(assigned.entry(topic).or_default().insert(partition)),
                false => complete = false,
            }
        }
    }
    let (epoch, moves) = (group.target_epoch, group.target_epoch != current.epoch);
    CurrentAssignment {
        epoch,
        previous_epoch: if moves { current.epoch } else { current.previous_epoch },
        state: if complete { MemberState::Stable } else { MemberState::UnreleasedPartitions },
        assigned,
        pending_revocation: Partitions::new(),
    }
}

/// Whether nobody but this member has the partition, or has yet to give it up.
pub(crate) fn is_free(group: &Consumer, id: &str, topic: TopicId, partition: PartitionIndex) -> bool {
    let has = |of: &Partitions| of.get(&topic).is_some_and(|partitions| partitions.contains(&partition));
    let mut others = group.members.iter().filter(|(other, _)| &***other != id);
    !others.any(|(_, other)| has(&other.current.assigned) || has(&other.current.pending_revocation))
}

fn both(a: &Partitions, b: &Partitions) -> Partitions {
    kept_of(a, |topic, partition| b.get(topic).is_some_and(|of| of.contains(partition)))
}

pub(crate) fn without(a: &Partitions, b: &Partitions) -> Partitions {
    kept_of(a, |topic, partition| b.get(topic).is_none_or(|of| !of.contains(partition)))
}

fn kept_of(from: &Partitions, keep: impl Fn(&TopicId, &PartitionIndex) -> bool) -> Partitions {
    let topics = from.iter().map(|(topic, partitions)| {
        (*topic, partitions.iter().filter(|partition| keep(topic, partition)).copied().collect())
    });
    topics.filter(|(_, of): &(_, std::collections::BTreeSet<_>)| !of.is_empty()).collect()
}

fn overlap(a: &Partitions, b: &Partitions) -> bool {
    a.iter().any(|(topic, of)| b.get(topic).is_some_and(|other| !of.is_disjoint(other)))
}

/// Whether `a` has nothing that `b` has not.
pub(super) fn is_part_of(a: &Partitions, b: &Partitions) -> bool {
    a.iter().all(|(topic, of)| of.is_empty() || b.get(topic).is_some_and(|other| of.is_subset(other)))
}

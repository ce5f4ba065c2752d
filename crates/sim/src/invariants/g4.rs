//! At most one owner of a partition at a time: the next one gets it after the former one gave it up or was fenced.

use std::collections::BTreeMap;

use super::{Checked, hold};
use crate::groups_ghost::{GroupsGhost, numbers};

/// By the log: nothing is assigned to one while another has it, or has yet to give it up.
pub(crate) fn assigned(ghost: &GroupsGhost) -> Checked {
    let mut owners = BTreeMap::new();
    for ((group, member), current) in &ghost.members {
        let all = numbers(&current.assigned).chain(numbers(&current.pending_revocation));
        for partition in all {
            let other = owners.insert((group, partition), member);
            hold("G4", other.is_none_or(|other| other == member), || {
                format!("{partition} of {group} is {member}'s and {other:?}'s")
            })?;
        }
    }
    Ok(())
}

/// As clients see it: one has got a partition that another believes to own still. Only who was fenced may believe so.
pub(crate) fn gained(ghost: &GroupsGhost, group: &str, partition: i32, by: &str, from: &str) -> Checked {
    let both = ghost.is_member(group, by) && ghost.is_member(group, from);
    hold("G4", !both, || format!("{by} has got {partition} of {group}, which {from} owns"))
}

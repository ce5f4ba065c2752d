//! No position is forgotten while its group is alive, nor before its time.

use super::{Checked, hold};
use crate::groups_ghost::GroupsGhost;

pub(crate) fn forgotten(
    ghost: &GroupsGhost,
    group: &str,
    partition: i32,
    now_ms: i64,
    retention_ms: i64,
) -> Checked {
    let alive = ghost.members_of(group).next();
    hold("G5", alive.is_none(), || {
        format!("the position of {partition} is forgotten while {group} has {alive:?}")
    })?;
    let position = ghost.positions.get(&(group.to_owned(), partition));
    hold("G5", position.is_none_or(|p| p.committed_at_ms + retention_ms <= now_ms), || {
        format!("the position of {partition} in {group}, {position:?}, is forgotten at {now_ms}")
    })
}

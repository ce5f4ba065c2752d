use std::sync::Arc;

use crate::{
    Groups,
    group::{Group, Kept},
};

impl Groups {
    /// Whether both keep the same, time-outs and calls that wait apart: for simulations, which compare a coordinator with
    /// what its log says.
    #[doc(hidden)]
    pub fn keeps_the_same_as(&self, other: &Groups) -> bool {
        let mut ours = self.groups.iter().filter(keeps_something);
        let mut theirs = other.groups.iter().filter(keeps_something);
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) => return true,
                (Some((id, group)), Some((other_id, other)))
                    if id == other_id
                        && group.kept == other.kept
                        && group.offsets == other.offsets
                        && group.sessions.kept == other.sessions.kept => {}
                _ => return false,
            }
        }
    }
}

fn keeps_something((_, group): &(&Arc<str>, &Group)) -> bool {
    group.kept != Kept::Nothing || !group.offsets.is_empty() || !group.sessions.kept.is_empty()
}

//! Effects only after commit: a state that a replica adopts is one that the controllers committed.

use metadata::Partition;

use super::{Checked, hold};
use crate::ghost::GhostPartition;

pub(crate) fn adopted(ghost: &GhostPartition, state: &Partition) -> Checked {
    hold("C1", ghost.states.get(&state.epoch) == Some(state), || {
        format!("{state:?} was adopted, committed is {:?}", ghost.states.get(&state.epoch))
    })
}

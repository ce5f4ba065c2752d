//! With flush before acknowledgement, an acknowledged record survives a power cut of every machine at once. And without
//! a power cut nothing is lost either way.

use domain::{LeaderEpoch, Offset};

use super::{Checked, hold};
use crate::ghost::GhostPartition;

/// A leader that was elected from the last known members begins; it has what was committed up to `agreed`.
pub(crate) fn recovered(
    ghost: &GhostPartition,
    unclean: bool,
    epoch: LeaderEpoch,
    agreed: Offset,
) -> Checked {
    let excused = unclean || ghost.bereaved;
    hold("R12", excused || agreed >= ghost.end(), || {
        format!(
            "RECOVERING in epoch {epoch} kept {agreed} of {} though no disk lost committed records",
            ghost.end()
        )
    })
}

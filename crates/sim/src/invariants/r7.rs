//! Truncation never goes below C: what a follower cuts was not committed in its leader's epoch or before. (A follower
//! of a deposed leader that is in no ISR may cut what a newer leader commits; R2 watches over those who may not.)

use domain::{LeaderEpoch, Offset};

use super::{Checked, hold};
use crate::{disk::Batch, ghost::GhostPartition};

pub(crate) fn truncated(ghost: &GhostPartition, epoch: LeaderEpoch, to: Offset, gone: &[Batch]) -> Checked {
    if !ghost.counts(epoch) {
        return Ok(());
    }
    let committed = gone.iter().find(|batch| ghost.has_by(batch, epoch));
    hold("R7", committed.is_none(), || {
        format!("a truncation to {to} in epoch {epoch} cut {committed:?}, which is committed")
    })
}

//! No member of ISR ∪ ELR cuts a record of C, and nobody cuts below its own high watermark. Nor does anybody cut what its
//! leader must have: what was committed by the end of that leader's epoch. (A follower of a deposed leader that is in
//! neither may cut what a newer leader commits.)

use domain::{LeaderEpoch, Offset};

use super::{Checked, hold};
use crate::{disk::Batch, ghost::GhostPartition};

/// A follower's truncation.
pub(crate) struct Cut<'a> {
    /// The leader epoch in which it follows.
    pub(crate) epoch: LeaderEpoch,
    pub(crate) to: Offset,
    /// Its own, before.
    pub(crate) high_watermark: Offset,
    /// It is the registered incarnation of a member of ISR ∪ ELR.
    pub(crate) member: bool,
    pub(crate) gone: &'a [Batch],
}

pub(crate) fn truncated(ghost: &GhostPartition, cut: &Cut<'_>) -> Checked {
    let Cut { epoch, to, high_watermark, member, gone } = *cut;
    let of_member = gone.iter().find(|batch| member && ghost.doubt.is_none() && ghost.has(batch));
    hold("R7", of_member.is_none(), || {
        format!("a member of ISR or ELR truncates to {to} and cuts {of_member:?}, which is committed")
    })?;
    if !ghost.counts(epoch) {
        return Ok(());
    }
    let committed = gone.iter().find(|batch| ghost.has_by(batch, epoch));
    hold("R7", committed.is_none(), || {
        format!("a truncation to {to} in epoch {epoch} cut {committed:?}, which is committed")
    })?;
    // After an excused election its high watermark may be of a history that has ended.
    hold("R7", !ghost.is_whole() || to >= high_watermark, || {
        format!("a truncation to {to} in epoch {epoch} goes below its own high watermark {high_watermark}")
    })
}

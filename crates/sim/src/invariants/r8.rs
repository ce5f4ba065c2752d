//! acks=all success ⇒ the record is committed, at the offset that was told.

use domain::{LeaderEpoch, Offset};

use super::{Checked, hold};
use crate::ghost::GhostPartition;

pub(crate) fn acknowledged(
    ghost: &GhostPartition,
    epoch: LeaderEpoch,
    offset: Offset,
    value: u64,
) -> Checked {
    // Where an excused loss left a log that begins higher up, nobody knows what C was below.
    if !ghost.counts(epoch) || offset < ghost.begins {
        return Ok(());
    }
    let there = ghost.at(offset);
    hold("R8", there.is_some_and(|b| b.value == value && b.base == offset), || {
        format!("value {value:x} was acknowledged at {offset} in epoch {epoch}, committed there is {there:?}")
    })
}

//! Consumers see only what lies below the high watermark.

use domain::{LeaderEpoch, Offset};

use super::{Checked, hold};
use crate::{disk::Batch, ghost::GhostPartition};

pub(crate) fn consumed(
    ghost: &GhostPartition,
    epoch: LeaderEpoch,
    position: Offset,
    batches: &[Batch],
) -> Checked {
    if !ghost.counts(epoch) {
        return Ok(());
    }
    let mut next = position;
    for batch in batches {
        hold("R9", batch.base == next, || format!("a consumer at {next} was given {batch:?}"))?;
        let there = ghost.at(batch.base);
        // Where an excused loss left a log that began higher up, nobody knows what C was below.
        let unknown = there.is_none() && batch.base < ghost.begins;
        hold("R9", unknown || there == Some(batch), || {
            format!("a consumer was given {batch:?} in epoch {epoch}, committed there is {there:?}")
        })?;
        next = batch.end();
    }
    Ok(())
}

//! C only grows. Replicas agree on every offset below their high watermarks; an offset is never used again.

use domain::{LeaderEpoch, Offset};

use super::{Checked, hold, r11};
use crate::{disk::Log, ghost::GhostPartition};

/// A leader's high watermark moved up: what lies below it is committed from now on.
pub(crate) fn committed(
    ghost: &mut GhostPartition,
    log: &mut Log,
    epoch: LeaderEpoch,
    high_watermark: Offset,
) -> Checked {
    if !ghost.counts(epoch) {
        return Ok(());
    }
    let (agreed, end) = (ghost.agreement(log), ghost.end());
    hold("R1", agreed >= end.min(high_watermark), || {
        let (ours, theirs) = (ghost.at(agreed), log.at(agreed));
        format!(
            "the leader of epoch {epoch} has {theirs:?} below its high watermark {high_watermark}, committed is {ours:?}"
        )
    })?;
    if high_watermark <= end {
        return Ok(());
    }
    hold("R1", log.end() >= high_watermark, || {
        format!("high watermark {high_watermark} is above the leader's log end {}", log.end())
    })?;
    // After an excused loss a log may begin above C's end.
    if ghost.floor > LeaderEpoch(0) && log.start() > end {
        ghost.begins = log.start();
    }
    let end = ghost.end();
    for batch in log.read(end, high_watermark, usize::MAX) {
        r11::committed(ghost, &batch)?;
        ghost.push(batch, epoch);
    }
    ghost.agreement(log);
    hold("R1", ghost.end() == high_watermark, || {
        format!("high watermark {high_watermark} is not where a batch ends ({})", ghost.end())
    })
}

/// A follower took over a high watermark.
pub(crate) fn known(
    ghost: &GhostPartition,
    log: &mut Log,
    epoch: LeaderEpoch,
    high_watermark: Offset,
) -> Checked {
    if !ghost.counts(epoch) {
        return Ok(());
    }
    hold("R1", high_watermark <= ghost.end(), || {
        format!(
            "a follower's high watermark {high_watermark} is above all that was committed, {}",
            ghost.end()
        )
    })?;
    let agreed = ghost.agreement(log);
    hold("R1", agreed >= high_watermark, || {
        let (ours, theirs) = (ghost.at(agreed), log.at(agreed));
        format!("a follower has {theirs:?} below its high watermark {high_watermark}, committed is {ours:?}")
    })
}

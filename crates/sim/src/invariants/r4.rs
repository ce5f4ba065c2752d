//! The high watermark advances only if |ISR| ≥ min ISR and all of the maximal ISR fetched past it in this leader epoch.
//! What a client can see of it never goes back.

use domain::{LeaderEpoch, NodeId, Offset, PartitionEpoch};

use super::{Checked, hold};
use crate::ghost::GhostPartition;

/// A leader's high watermark moved up; worked out again from the committed states and the fetches that were seen.
pub(crate) fn advanced(
    ghost: &GhostPartition,
    me: NodeId,
    epoch: LeaderEpoch,
    adopted: PartitionEpoch,
    counted: Offset,
    high_watermark: Offset,
) -> Checked {
    let (Some(leadership), Some(state)) = (ghost.leaderships.get(&epoch), ghost.states.get(&adopted)) else {
        return hold("R4", false, || format!("nobody began to lead in epoch {epoch} with state {adopted}"));
    };
    hold("R4", state.isr.len() >= state.min_isr as usize, || {
        format!("high watermark {high_watermark} with ISR {:?} of at least {}", state.isr, state.min_isr)
    })?;
    hold("R4", counted >= high_watermark, || {
        format!("high watermark {high_watermark} is above the leader's own end {counted}")
    })?;
    let proposed = leadership.proposed.iter().filter(|(base, _)| *base >= adopted).map(|(_, node)| *node);
    for member in state.isr.iter().copied().chain(proposed).filter(|n| *n != me) {
        let fetched = leadership.fetches.get(&member).map(|(_, offset)| *offset);
        hold("R4", fetched.is_some_and(|f| f >= high_watermark), || {
            format!(
                "high watermark {high_watermark} in epoch {epoch} though node {member} fetched {fetched:?}"
            )
        })?;
    }
    Ok(())
}

pub(crate) fn shown(before: Offset, now: Offset) -> Checked {
    hold("R4", now >= before, || format!("a client saw high watermark {before} and then {now}"))
}

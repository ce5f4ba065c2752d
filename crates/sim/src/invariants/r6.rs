//! A request with another leader epoch is refused, both ways. One leader incarnation per leader epoch.

use std::collections::BTreeMap;

use domain::{LeaderEpoch, Offset};

use super::{Checked, hold};
use crate::ghost::{GhostPartition, Leadership};

/// A node began to lead.
pub(crate) fn leads(
    ghost: &mut GhostPartition,
    epoch: LeaderEpoch,
    node: usize,
    life: u64,
    start: Offset,
) -> Checked {
    if let Some(known) = ghost.leaderships.get(&epoch) {
        return hold("R6", false, || {
            let (other, its) = (known.node, known.life);
            format!(
                "node {node} (life {life}) leads in epoch {epoch}, in which node {other} (life {its}) led"
            )
        });
    }
    let leadership = Leadership { node, life, start, fetches: BTreeMap::new(), proposed: Vec::new() };
    ghost.leaderships.insert(epoch, leadership);
    Ok(())
}

/// A leader served a request, or a follower used an answer.
pub(crate) fn served(asked: LeaderEpoch, current: LeaderEpoch) -> Checked {
    hold("R6", asked == current, || format!("a request of epoch {asked} was served in epoch {current}"))
}

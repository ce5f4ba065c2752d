//! Joining the ISR needs: log end ≥ the high watermark and ≥ the epoch's start, a fetch in this leader epoch, a node that
//! is neither fenced nor stopping (KIP-841), the registered node epoch (KIP-903).

use domain::{NodeEpoch, Offset};
use metadata::{Image, NodeState, Partition};

use super::{Checked, hold};
use crate::ghost::GhostPartition;

/// The controllers took a leader's proposal.
pub(crate) fn taken(ghost: &GhostPartition, image: &Image, before: &Partition, after: &Partition) -> Checked {
    for member in after.isr.iter().filter(|n| !before.isr.contains(n)) {
        let Some(node) = image.nodes.get(member) else { continue };
        hold("R5", node.state == NodeState::Active, || {
            format!("node {member} joined ISR {:?} while it is {}", after.isr, node.state)
        })?;
        let fetch =
            ghost.leaderships.get(&before.leader_epoch).and_then(|l| Some((l.start, l.fetches.get(member)?)));
        let committed = if ghost.counts(before.leader_epoch) { ghost.end() } else { Offset(0) };
        let joins = fetch
            .is_some_and(|(start, (epoch, end))| *end >= start && *end >= committed && *epoch == node.epoch);
        hold("R5", joins, || {
            let epoch: NodeEpoch = node.epoch;
            format!(
                "node {member} of epoch {epoch} joined ISR {:?} with (start, fetch) {fetch:?}, committed up to {committed}",
                after.isr
            )
        })?;
    }
    Ok(())
}

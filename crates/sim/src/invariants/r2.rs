//! Every running member of ISR ∪ ELR whose node epoch is the registered one contains C.

use metadata::{Image, Partition};

use super::{Checked, hold};
use crate::{ghost::GhostPartition, node::Node};

pub(crate) fn check(
    ghost: &GhostPartition,
    nodes: &mut [Node],
    image: &Image,
    number: usize,
    partition: &Partition,
) -> Checked {
    if ghost.doubt.is_some() {
        return Ok(());
    }
    let end = ghost.end();
    for member in partition.isr.iter().chain(&partition.elr) {
        let node = &mut nodes[member.0 as usize];
        let registered = image.nodes.get(member).map(|n| n.epoch);
        if node.epoch().is_none() || node.epoch() != registered {
            continue;
        }
        let agreed = match node.disk.logs[number].as_mut() {
            Some(log) => ghost.agreement(log),
            None => domain::Offset(0),
        };
        hold("R2", agreed >= end, || {
            format!(
                "partition {number}: node {member} is in ISR {:?} or ELR {:?} and has not what was committed at {agreed} (up to {end})",
                partition.isr, partition.elr
            )
        })?;
    }
    Ok(())
}

//! A current leader with |ISR| ≥ min ISR has a maximal ISR that includes the controller's ISR ∪ ELR.

use metadata::Partition;

use super::{Checked, hold};
use crate::node::Node;

pub(crate) fn check(nodes: &[Node], number: usize, partition: &Partition) -> Checked {
    let Some(leader) = partition.leader else { return Ok(()) };
    let Some(local) = nodes[leader.0 as usize].local(number) else { return Ok(()) };
    let Some(state) = local.replica.state() else { return Ok(()) };
    let leads = local.replica.leads() == Some(partition.leader_epoch);
    if !leads || state.isr.len() < state.min_isr as usize {
        return Ok(());
    }
    let maximal = local.replica.maximal_isr();
    let missing = partition.isr.iter().chain(&partition.elr).find(|n| !maximal.contains(n));
    hold("R3", missing.is_none(), || {
        format!(
            "partition {number}: the leader's maximal ISR {maximal:?} lacks one of ISR {:?}, ELR {:?}",
            partition.isr, partition.elr
        )
    })
}

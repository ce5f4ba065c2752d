//! A producer's batch is committed once, and after the one before it; a duplicate gets its original offset back.

use domain::{Offset, ProducerId};

use super::{Checked, hold};
use crate::{disk::Batch, ghost::GhostPartition};

pub(crate) fn committed(ghost: &GhostPartition, batch: &Batch) -> Checked {
    // A coordinator's records are told apart by what they say.
    if batch.producer == ProducerId::NONE {
        return Ok(());
    }
    let before = ghost.sequences.get(&(batch.producer, batch.sequence)).map(|(offset, _)| *offset);
    // What a replica was not given because retention had removed it elsewhere, it does not know.
    let known = before.filter(|offset| *offset >= ghost.forgotten_below);
    hold("R11", known.is_none(), || format!("{batch:?} was committed before, at {known:?}"))?;
    if !acks_all(batch.producer) || ghost.forgotten_below > Offset(0) || !ghost.is_whole() {
        return Ok(());
    }
    let earlier = ghost.sequences.range((batch.producer, 0)..(batch.producer, i32::MAX)).next_back();
    let next = earlier.map_or(0, |(_, (_, next))| *next);
    hold("R11", batch.sequence == next, || {
        format!("{batch:?} was committed where sequence {next} comes next")
    })
}

/// Simulated producers that wait for all replicas have odd ids. Others may lose what they took for appended.
pub(crate) fn acks_all(producer: ProducerId) -> bool {
    producer.0 % 2 == 1
}

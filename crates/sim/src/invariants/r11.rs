//! A producer's batch is committed once; a duplicate gets its original offset back.

use domain::{LeaderEpoch, Offset, ProducerId};

use super::{Checked, hold};
use crate::{disk::Batch, ghost::GhostPartition};

pub(crate) fn committed(ghost: &GhostPartition, batch: &Batch) -> Checked {
    let before = ghost.sequences.get(&(batch.producer, batch.sequence)).copied();
    // What retention removed may be forgotten with it.
    let known = before.filter(|offset| *offset >= ghost.retained_from);
    hold("R11", known.is_none(), || format!("{batch:?} was committed before, at {known:?}"))?;
    let gap = batch.sequence > 0
        && acks_all(batch.producer)
        && before.is_none()
        && !ghost.sequences.range((batch.producer, 0)..(batch.producer, batch.sequence)).any(|_| true)
        && ghost.retained_from == Offset(0)
        && ghost.floor == LeaderEpoch(0);
    hold("R11", !gap, || format!("{batch:?} was committed before its producer's first"))
}

/// Simulated producers that wait for all replicas have odd ids. Others may lose what they took for appended.
pub(crate) fn acks_all(producer: ProducerId) -> bool {
    producer.0 % 2 == 1
}

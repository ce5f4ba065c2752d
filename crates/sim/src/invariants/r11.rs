//! A producer's batch is committed once, and after the one before it; a duplicate gets its original offset back. Of an
//! idempotency key there is one batch.

use domain::{LeaderEpoch, Offset, ProducerId};

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
    if batch.producer.is_of_key() || !acks_all(batch.producer) || !remembers(ghost) {
        return Ok(());
    }
    let earlier = ghost.sequences.range((batch.producer, 0)..(batch.producer, i32::MAX)).next_back();
    let next = earlier.map_or(0, |(_, (_, next))| *next);
    hold("R11", batch.sequence == next, || {
        format!("{batch:?} was committed where sequence {next} comes next")
    })
}

/// Whether no replica had a reason to forget a producer.
fn remembers(ghost: &GhostPartition) -> bool {
    ghost.forgotten_below == Offset(0) && ghost.is_whole()
}

/// A request that was answered before is answered with the same offset.
pub(crate) fn answered_again(
    ghost: &GhostPartition,
    epoch: LeaderEpoch,
    value: u64,
    before: Option<Offset>,
    now: Offset,
) -> Checked {
    let same = before.is_none_or(|before| before == now);
    hold("R11", same || !remembers(ghost) || !ghost.counts(epoch), || {
        format!("value {value:x} of a key was acknowledged at {before:?} and again at {now}")
    })
}

/// What came under a key that others had used before is not written.
pub(crate) fn refused(ghost: &GhostPartition, epoch: LeaderEpoch, value: u64, at: Offset) -> Checked {
    hold("R11", !remembers(ghost) || !ghost.counts(epoch), || {
        format!("something else under the key of value {value:x} was written at {at}")
    })
}

/// Nobody took a key's own records for others.
pub(crate) fn not_reused(ghost: &GhostPartition, epoch: LeaderEpoch, value: u64) -> Checked {
    hold("R11", !remembers(ghost) || !ghost.counts(epoch), || {
        format!("value {value:x} was refused, as if its key had come with other records")
    })
}

/// Simulated producers that wait for all replicas have odd ids. Others may lose what they took for appended.
pub(crate) fn acks_all(producer: ProducerId) -> bool {
    producer.0 % 2 == 1
}

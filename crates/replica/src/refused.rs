use std::collections::BTreeMap;

use domain::{ProducerEpoch, ProducerId};
use records::BatchHeader;

/// Producers whose batch was refused for now (too few in sync, no room), and which one. They keep several in flight: if
/// the next one were told that it is out of order, or were taken because the cause has gone meanwhile, clients would
/// take that for a loss, begin a new epoch, and send again what is under way elsewhere. So all that comes behind the
/// refused batch is refused for the same reason, until that batch has come again. `R` says why.
#[derive(Debug)]
pub struct Refused<R> {
    by_producer: BTreeMap<ProducerId, Held<R>>,
}

#[derive(Debug)]
struct Held<R> {
    epoch: ProducerEpoch,
    sequence: i32,
    reason: R,
}

/// More producers than this are not remembered; what is lost is a courtesy.
const PRODUCERS_MAX: usize = 10_000;

impl<R> Default for Refused<R> {
    fn default() -> Self {
        Self { by_producer: BTreeMap::new() }
    }
}

impl<R: Copy> Refused<R> {
    /// A batch was refused for a reason that passes.
    pub fn note(&mut self, batch: &[u8], reason: R) {
        let Ok(header) = BatchHeader::parse(batch) else { return };
        if !follows_another(&header) || self.by_producer.len() >= PRODUCERS_MAX {
            return;
        }
        let (epoch, sequence) = (header.producer_epoch, header.base_sequence);
        let held = self.by_producer.entry(header.producer_id).or_insert(Held { epoch, sequence, reason });
        if held.epoch != epoch || behind(held.sequence, sequence) {
            *held = Held { epoch, sequence, reason };
        }
    }

    /// Why the batch must wait for one that was refused before it.
    pub fn check(&mut self, batch: &[u8]) -> Option<R> {
        if self.by_producer.is_empty() {
            return None;
        }
        let header = BatchHeader::parse(batch).ok().filter(follows_another)?;
        let held = self.by_producer.get(&header.producer_id)?;
        if held.epoch == header.producer_epoch && behind(header.base_sequence, held.sequence) {
            return Some(held.reason);
        }
        // It is the one, or an earlier one that was sent again, or a new beginning.
        if held.epoch != header.producer_epoch || held.sequence == header.base_sequence {
            self.by_producer.remove(&header.producer_id);
        }
        None
    }

    /// Whether no producer's batch waits to come again.
    pub fn is_empty(&self) -> bool {
        self.by_producer.is_empty()
    }

    pub fn clear(&mut self) {
        self.by_producer.clear();
    }
}

/// Whether the batch may have one of its producer before it: that of an idempotency key has none.
fn follows_another(header: &BatchHeader) -> bool {
    header.has_producer_id() && !header.producer_id.is_of_key()
}

/// Whether `sequence` comes behind `other` on the circle of sequences.
fn behind(sequence: i32, other: i32) -> bool {
    let distance = (i64::from(sequence) - i64::from(other)) & i64::from(i32::MAX);
    distance != 0 && distance < i64::from(i32::MAX) / 2
}

#[cfg(test)]
mod tests {
    use records::{BatchBuilder, Compression};

    use super::*;

    fn batch(epoch: i16, sequence: i32) -> Vec<u8> {
        let mut builder = BatchBuilder::new(Compression::None);
        builder.producer(ProducerId(7), ProducerEpoch(epoch), sequence);
        builder.push(0, None, Some(b"x"), &[]);
        builder.build().to_vec()
    }

    #[test]
    fn what_comes_behind_a_refused_batch_is_refused_for_the_same_reason_until_it_has_come_again() {
        let mut refused = Refused::default();
        assert_eq!(refused.check(&batch(0, 3)), None);
        refused.note(&batch(0, 3), "too few");
        assert_eq!(refused.check(&batch(0, 4)), Some("too few"));
        assert_eq!(refused.check(&batch(0, 2)), None, "an earlier one, sent again");
        assert_eq!(refused.check(&batch(0, 5)), Some("too few"));
        assert_eq!(refused.check(&batch(0, 3)), None);
        assert_eq!(refused.check(&batch(0, 4)), None);
    }

    #[test]
    fn the_first_refused_batch_counts_and_a_new_epoch_begins_anew() {
        let mut refused = Refused::default();
        refused.note(&batch(0, 3), "no room");
        refused.note(&batch(0, 4), "no room");
        assert_eq!(refused.check(&batch(0, 4)), Some("no room"));
        assert_eq!(refused.check(&batch(1, 0)), None);
        assert_eq!(refused.check(&batch(0, 4)), None);
        refused.note(&batch(1, i32::MAX), "no room");
        assert_eq!(refused.check(&batch(1, 0)), Some("no room"), "sequences wrap");
    }
}

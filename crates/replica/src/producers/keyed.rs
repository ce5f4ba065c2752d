use std::collections::BTreeMap;

use domain::{Offset, ProducerEpoch, ProducerId};
use records::BatchHeader;

use super::{ProducerBatch, ProducerRefusal, ProducerState, SequenceCheck};

/// A batch that was written under an idempotency key is remembered for ten minutes at least...
pub const KEYED_WINDOW_MS: i64 = 600_000;
/// ...as long as no more than so many later ones of the partition have come. One takes about 100 bytes, so a partition's
/// take 5 MB at most.
pub const KEYED_BATCHES_MAX: usize = 50_000;

/// The batches that were written under idempotency keys ([`ProducerId::of_key`]): one a key, and never another. They have
/// a window of their own, because there is a new one with every request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Keyed {
    by_id: BTreeMap<ProducerId, KeyedBatch>,
    /// By last offset: the order in which they are forgotten.
    by_offset: BTreeMap<Offset, ProducerId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct KeyedBatch {
    batch: ProducerBatch,
    seen_ms: i64,
}

impl KeyedBatch {
    fn is_expired(&self, now_ms: i64) -> bool {
        now_ms.saturating_sub(self.seen_ms) >= KEYED_WINDOW_MS
    }

    fn state(&self) -> ProducerState {
        let mut state = ProducerState::new(ProducerEpoch(0), self.seen_ms);
        state.push(self.batch);
        state
    }
}

impl Keyed {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn get(&self, id: ProducerId) -> Option<ProducerState> {
        self.by_id.get(&id).map(KeyedBatch::state)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ProducerId, ProducerState)> {
        self.by_id.iter().map(|(id, batch)| (*id, batch.state()))
    }

    /// The first batch of a key is appended, wherever its sequence starts; the same again is a duplicate; another one means
    /// that the key was used twice.
    pub(super) fn check(&self, header: &BatchHeader, now_ms: i64) -> Result<SequenceCheck, ProducerRefusal> {
        let Some(known) = self.by_id.get(&header.producer_id).filter(|known| !known.is_expired(now_ms))
        else {
            return Ok(SequenceCheck::Append);
        };
        match known.batch.has_range_of(header) {
            true => Ok(known.batch.as_duplicate()),
            false => Err(ProducerRefusal::KeyReused { producer: header.producer_id }),
        }
    }

    pub(super) fn record(&mut self, id: ProducerId, batch: ProducerBatch, seen_ms: i64) {
        self.by_offset.insert(batch.last_offset, id);
        if let Some(earlier) = self.by_id.insert(id, KeyedBatch { batch, seen_ms })
            && earlier.batch.last_offset != batch.last_offset
        {
            self.by_offset.remove(&earlier.batch.last_offset);
        }
        while self.by_id.len() > KEYED_BATCHES_MAX && self.forget_oldest() {}
    }

    /// Whether there was anything at or above `end`, which is forgotten.
    pub(super) fn truncate_to(&mut self, end: Offset) -> bool {
        let cut = self.by_offset.split_off(&end);
        cut.values().for_each(|id| {
            self.by_id.remove(id);
        });
        !cut.is_empty()
    }

    /// How many were too old.
    pub(super) fn expire(&mut self, now_ms: i64) -> usize {
        let before = self.len();
        let oldest =
            |keyed: &Self| keyed.by_offset.first_key_value().and_then(|(_, id)| keyed.by_id.get(id).copied());
        while oldest(self).is_some_and(|batch| batch.is_expired(now_ms)) && self.forget_oldest() {}
        before - self.len()
    }

    fn forget_oldest(&mut self) -> bool {
        self.by_offset.pop_first().is_some_and(|(_, id)| self.by_id.remove(&id).is_some())
    }
}

#[cfg(test)]
mod tests {
    use records::{Attributes, HEADER_BYTES};

    use super::{super::Producers, *};
    use crate::PRODUCER_EXPIRATION_MS;

    const NOW: i64 = 1_000_000;

    fn batch(key: u64, sequence: i32, count: i32, base: i64) -> BatchHeader {
        BatchHeader {
            base_offset: Offset(base),
            batch_length: HEADER_BYTES as i32,
            leader_epoch: domain::LeaderEpoch(0),
            magic: 2,
            crc: 0,
            attributes: Attributes(0),
            last_offset_delta: count - 1,
            base_timestamp: 5,
            max_timestamp: 5,
            producer_id: ProducerId::of_key(key << 2),
            producer_epoch: ProducerEpoch(0),
            base_sequence: sequence,
            record_count: count,
        }
    }

    fn after(batches: &[BatchHeader]) -> Producers {
        let mut producers = Producers::new();
        batches.iter().for_each(|batch| producers.record(batch, NOW));
        producers
    }

    fn duplicate_at(offset: i64) -> Result<SequenceCheck, ProducerRefusal> {
        Ok(SequenceCheck::Duplicate {
            base_offset: Offset(offset),
            last_offset: Offset(offset),
            timestamp: 5,
        })
    }

    #[test]
    fn a_keys_batch_is_appended_once_wherever_its_sequence_starts() {
        let sent = batch(1, 77, 3, 0);
        assert_eq!(Producers::new().check(&sent, NOW), Ok(SequenceCheck::Append));
        assert_eq!(Producers::new().check_first(&sent, NOW, 0), Ok(()), "to a new leader, too");
        let producers = after(&[batch(1, 77, 3, 100), batch(2, 77, 3, 103)]);
        let again =
            SequenceCheck::Duplicate { base_offset: Offset(100), last_offset: Offset(102), timestamp: 5 };
        assert_eq!(producers.check(&sent, NOW), Ok(again));
    }

    #[test]
    fn a_key_that_comes_with_other_records_is_refused_for_good() {
        let producers = after(&[batch(1, 77, 3, 100)]);
        // Neither what would be the next of a producer nor a part of it is taken.
        for other in [batch(1, 80, 1, 0), batch(1, 0, 3, 0), batch(1, 77, 2, 0), batch(1, 78, 2, 0)] {
            let refusal = producers.check(&other, NOW).unwrap_err();
            assert_eq!(refusal, ProducerRefusal::KeyReused { producer: other.producer_id });
            assert!(!refusal.may_be_under_way(0));
        }
    }

    #[test]
    fn sequences_go_on_at_zero_after_the_largest() {
        let producers = after(&[batch(1, i32::MAX, 2, 100)]);
        let again =
            SequenceCheck::Duplicate { base_offset: Offset(100), last_offset: Offset(101), timestamp: 5 };
        assert_eq!(producers.check(&batch(1, i32::MAX, 2, 0), NOW), Ok(again));
    }

    #[test]
    fn a_key_is_forgotten_after_its_window_and_no_sooner() {
        let mut producers = after(&[batch(1, 7, 1, 100)]);
        producers.record(&batch(2, 7, 1, 101), NOW + 1);
        let last = NOW + KEYED_WINDOW_MS - 1;
        assert_eq!(producers.check(&batch(1, 7, 1, 0), last), duplicate_at(100));
        assert_eq!(producers.expire(last, PRODUCER_EXPIRATION_MS), 0);
        assert_eq!(producers.check(&batch(1, 9, 1, 0), last + 1), Ok(SequenceCheck::Append));
        assert_eq!(producers.expire(last + 1, PRODUCER_EXPIRATION_MS), 1);
        assert_eq!(producers.check(&batch(2, 7, 1, 0), last + 1), duplicate_at(101));
        assert_eq!(producers.expire(last + 2, PRODUCER_EXPIRATION_MS), 1);
        assert!(producers.is_empty());
    }

    #[test]
    fn so_many_later_keys_push_one_out_but_no_producer() {
        let producer = BatchHeader { producer_id: ProducerId(4), ..batch(0, 0, 1, 0) };
        let most = KEYED_BATCHES_MAX as i64;
        let mut producers = after(&[producer, batch(0, 7, 1, 1)]);
        (1..most).for_each(|n| producers.record(&batch(n as u64, 7, 1, 1 + n), NOW));
        assert_eq!(producers.check(&batch(0, 7, 1, 0), NOW), duplicate_at(1));
        producers.record(&batch(most as u64, 7, 1, 1 + most), NOW);
        assert_eq!(producers.len(), KEYED_BATCHES_MAX + 1);
        assert_eq!(producers.check(&batch(0, 7, 1, 0), NOW), Ok(SequenceCheck::Append));
        assert_eq!(producers.check(&batch(1, 7, 1, 0), NOW), duplicate_at(2));
        assert!(producers.get(ProducerId(4)).is_some());
    }

    #[test]
    fn a_key_that_comes_again_after_its_window_counts_from_then_on() {
        let mut producers = after(&[batch(1, 7, 1, 100)]);
        let later = NOW + KEYED_WINDOW_MS;
        producers.record(&batch(1, 8, 1, 200), later);
        assert_eq!(producers.check(&batch(1, 8, 1, 0), later), duplicate_at(200));
        assert_eq!(producers.len(), 1);
        assert_eq!(producers.expire(later, PRODUCER_EXPIRATION_MS), 0);
        assert!(!producers.truncate_to(Offset(201)));
    }

    #[test]
    fn truncation_forgets_what_is_cut_and_says_so() {
        let mut producers = after(&[batch(1, 7, 2, 100), batch(2, 7, 2, 102)]);
        assert!(!producers.truncate_to(Offset(104)));
        assert!(producers.truncate_to(Offset(103)), "a batch is cut as a whole");
        assert_eq!(producers.check(&batch(2, 7, 2, 0), NOW), Ok(SequenceCheck::Append));
        assert!(producers.get(ProducerId::of_key(1 << 2)).is_some());
        assert!(producers.truncate_to(Offset(0)));
        assert!(producers.is_empty());
    }

    #[test]
    fn a_key_costs_few_bytes() {
        assert!(size_of::<KeyedBatch>() <= 32, "{}", size_of::<KeyedBatch>());
    }
}

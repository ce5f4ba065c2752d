use proptest::prelude::*;
use records::{Attributes, HEADER_BYTES};

use super::*;

const NOW: i64 = 1_000_000;

fn batch(epoch: i16, sequence: i32, count: i32, base: i64) -> BatchHeader {
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
        producer_id: ProducerId(1),
        producer_epoch: ProducerEpoch(epoch),
        base_sequence: sequence,
        record_count: count,
    }
}

fn after(batches: &[BatchHeader]) -> Producers {
    let mut producers = Producers::new();
    batches.iter().for_each(|batch| producers.record(batch, NOW));
    producers
}

fn check(
    producers: &Producers,
    epoch: i16,
    sequence: i32,
    count: i32,
) -> Result<SequenceCheck, ProducerRefusal> {
    producers.check(&batch(epoch, sequence, count, 0), NOW)
}

fn is_long_ago(answer: Result<SequenceCheck, ProducerRefusal>) -> bool {
    matches!(answer, Err(ProducerRefusal::DuplicateSequence { .. }))
}

fn out_of_order(expected: i32, got: i32) -> Result<SequenceCheck, ProducerRefusal> {
    Err(ProducerRefusal::OutOfOrderSequence { producer: ProducerId(1), expected, got })
}

fn duplicate(base: i64, last: i64) -> Result<SequenceCheck, ProducerRefusal> {
    Ok(SequenceCheck::Duplicate { base_offset: Offset(base), last_offset: Offset(last), timestamp: 5 })
}

#[test]
fn an_unknown_producer_may_start_at_any_sequence() {
    assert_eq!(check(&Producers::new(), 3, 17, 2), Ok(SequenceCheck::Append));
}

#[test]
fn a_known_producer_goes_on_without_a_gap() {
    let producers = after(&[batch(0, 0, 3, 100)]);
    assert_eq!(check(&producers, 0, 3, 1), Ok(SequenceCheck::Append));
    assert_eq!(check(&producers, 0, 4, 1), out_of_order(3, 4));
    assert_eq!(check(&producers, 0, 1, 1), out_of_order(3, 1), "part of a batch is no duplicate");
}

#[test]
fn each_of_the_last_five_batches_is_a_duplicate_with_its_offset() {
    let batches: Vec<_> = (0..7).map(|n| batch(0, n * 2, 2, 100 + i64::from(n) * 10)).collect();
    let producers = after(&batches);
    for n in 2..7 {
        assert_eq!(
            check(&producers, 0, n * 2, 2),
            duplicate(100 + i64::from(n) * 10, 101 + i64::from(n) * 10)
        );
    }
    for n in 0..2 {
        let refusal = ProducerRefusal::DuplicateSequence { producer: ProducerId(1), oldest: 4, got: n * 2 };
        assert_eq!(check(&producers, 0, n * 2, 2), Err(refusal));
    }
}

#[test]
fn a_sequence_before_the_producers_first_here_is_no_duplicate() {
    let producers = after(&(10..17).map(|n| batch(0, n, 1, i64::from(n))).collect::<Vec<_>>());
    assert!(matches!(check(&producers, 0, 10, 1), Err(ProducerRefusal::DuplicateSequence { .. })));
    assert_eq!(check(&producers, 0, 9, 1), out_of_order(17, 9), "success would lose it");
}

#[test]
fn sequences_go_on_at_zero_after_the_largest() {
    let producers = after(&[batch(0, i32::MAX - 1, 3, 100)]);
    assert_eq!(check(&producers, 0, 1, 1), Ok(SequenceCheck::Append));
    assert_eq!(check(&producers, 0, i32::MAX - 1, 3), duplicate(100, 102));
    let producers = after(&[batch(0, i32::MAX, 1, 100)]);
    assert_eq!(check(&producers, 0, 0, 1), Ok(SequenceCheck::Append));
}

#[test]
fn a_new_epoch_starts_at_zero_and_fences_the_old_one() {
    let mut producers = after(&[batch(4, 0, 3, 100)]);
    assert_eq!(check(&producers, 5, 3, 1), out_of_order(0, 3));
    assert_eq!(check(&producers, 5, 0, 1), Ok(SequenceCheck::Append));
    producers.record(&batch(5, 0, 3, 103), NOW);
    let stale = ProducerRefusal::StaleEpoch {
        producer: ProducerId(1),
        current: ProducerEpoch(5),
        got: ProducerEpoch(4),
    };
    assert_eq!(check(&producers, 4, 3, 1), Err(stale));
    assert_eq!(check(&producers, 5, 0, 3), duplicate(103, 105), "not the old epoch's batch");
}

#[test]
fn a_marker_with_a_higher_epoch_fences_and_the_next_batch_starts_at_zero() {
    let marker = BatchHeader { attributes: Attributes(0).with_control(true), ..batch(5, -1, 1, 103) };
    let producers = after(&[batch(4, 0, 3, 100), marker]);
    assert!(matches!(check(&producers, 4, 3, 1), Err(ProducerRefusal::StaleEpoch { .. })));
    assert_eq!(check(&producers, 5, 0, 1), Ok(SequenceCheck::Append));
    assert_eq!(check(&producers, 5, 3, 1), out_of_order(0, 3));
}

#[test]
fn a_producer_that_was_silent_for_a_day_is_unknown() {
    let mut producers = after(&[batch(4, 0, 3, 100)]);
    let later = NOW + PRODUCER_EXPIRATION_MS;
    assert_eq!(producers.check(&batch(0, 77, 1, 0), later), Ok(SequenceCheck::Append));
    assert_eq!(producers.expire(later - 1, PRODUCER_EXPIRATION_MS), 0);
    assert_eq!(producers.expire(later, PRODUCER_EXPIRATION_MS), 1);
    assert!(producers.is_empty());
}

#[test]
fn a_producer_that_comes_back_after_a_gap_starts_afresh() {
    let batches: Vec<_> = (0..7).map(|n| batch(0, n, 1, i64::from(n))).collect();
    let mut producers = after(&batches);
    producers.record(&batch(0, 50, 1, 7), NOW + PRODUCER_EXPIRATION_MS);
    assert_eq!(check(&producers, 0, 51, 1), Ok(SequenceCheck::Append));
    assert_eq!(check(&producers, 0, 20, 1), out_of_order(51, 20), "never appended: no duplicate");
}

#[test]
fn batches_without_a_producer_id_leave_no_trace() {
    let plain = BatchHeader { producer_id: ProducerId::NONE, base_sequence: -1, ..batch(-1, -1, 1, 0) };
    let producers = after(&[plain]);
    assert!(producers.is_empty());
    assert_eq!(producers.check(&plain, NOW), Ok(SequenceCheck::Append));
}

#[test]
fn truncation_forgets_what_is_cut_and_says_so() {
    let mut producers = after(&[batch(0, 0, 2, 100), batch(0, 2, 2, 102)]);
    assert!(!producers.truncate_to(Offset(104)));
    assert!(producers.truncate_to(Offset(102)));
    assert_eq!(check(&producers, 0, 2, 2), Ok(SequenceCheck::Append));
    assert!(producers.truncate_to(Offset(100)));
    assert!(producers.is_empty());
}

#[test]
fn a_producer_costs_few_bytes() {
    assert!(size_of::<ProducerState>() <= 144, "{}", size_of::<ProducerState>());
}

proptest! {
    /// Whatever a client repeats out of its last five, it gets the first answer, and nothing is taken twice.
    #[test]
    fn retries_are_answered_and_never_appended_twice(
        start in prop_oneof![0..10i32, i32::MAX - 20..=i32::MAX],
        steps in proptest::collection::vec((1..5i32, proptest::option::of(0..8usize)), 1..60),
    ) {
        let mut producers = Producers::new();
        let (mut sequence, mut offset) = (start, 0i64);
        let mut sent: Vec<BatchHeader> = Vec::new();
        for (count, retry) in steps {
            if let Some(back) = retry && let Some(index) = sent.len().checked_sub(back + 1) {
                let again = sent[index];
                let answer = producers.check(&BatchHeader { base_offset: Offset(0), ..again }, NOW);
                let duplicate = SequenceCheck::Duplicate {
                    base_offset: again.base_offset, last_offset: again.last_offset(), timestamp: 5,
                };
                match back < PRODUCER_BATCHES_KEPT {
                    true => prop_assert_eq!(answer, Ok(duplicate)),
                    false => prop_assert!(is_long_ago(answer)),
                }
            }
            let next = batch(0, sequence, count, offset);
            prop_assert_eq!(producers.check(&next, NOW), Ok(SequenceCheck::Append));
            producers.record(&next, NOW);
            sent.push(next);
            sequence = sequence_after(sequence, count);
            offset += i64::from(count);
        }
    }

    #[test]
    fn no_header_makes_it_panic(epoch: i16, sequence: i32, delta in 0..i32::MAX, base in 0..1i64 << 60, known: bool) {
        let mut producers = if known { after(&[batch(0, 5, 3, 10)]) } else { Producers::new() };
        let odd = BatchHeader { last_offset_delta: delta, ..batch(epoch, sequence, 1, base) };
        let _ = producers.check(&odd, i64::MIN);
        producers.record(&odd, i64::MAX);
        let _ = producers.check(&odd, i64::MIN);
    }
}

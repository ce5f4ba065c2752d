//! A log against a model: the plain list of records that it must hold.

#![allow(clippy::unwrap_used)]

mod fixture;

use std::fs;

use bytes::Bytes;
use commitlog::{Appended, AppendedAsFollower, Log, OpenMode};
use domain::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};
use fixture::*;
use proptest::{prelude::*, sample::Index};
use records::{BatchBuilder, Compression};

/// Sizes of the values, the codec, by how much time moves, and the producer, if it is idempotent.
type Batch = (Vec<usize>, usize, i64, i64);

#[derive(Clone, Debug)]
enum Step {
    Append(Batch),
    /// Batches of another leader in one call, whether its epoch is new, and where one more is cut off.
    Follow(Vec<Batch>, bool, Index),
    NewEpoch,
    Roll,
    ReadFrom(Index, u32),
    ReadBelow(Index, Index, u32),
    ByTime(Index),
    Retain(usize),
    Truncate(Index),
    Flush,
    CloseAndOpen,
    /// And whether the next start gets as far as to count what it found as flushed.
    Crash(bool),
    CrashInAppend(Index, Vec<u8>),
}

fn any_step() -> impl Strategy<Value = Step> {
    let batch = || (proptest::collection::vec(0..60usize, 1..5), 0..5usize, -20..60i64, -1..3i64);
    prop_oneof![
        12 => batch().prop_map(Step::Append),
        4 => (proptest::collection::vec(batch(), 1..7), any::<bool>(), any::<Index>()).prop_map(|(b, new, cut)| Step::Follow(b, new, cut)),
        1 => Just(Step::NewEpoch),
        1 => Just(Step::Roll),
        4 => (any::<Index>(), 0..900u32).prop_map(|(from, max)| Step::ReadFrom(from, max)),
        3 => (any::<Index>(), any::<Index>(), 0..900u32).prop_map(|(a, b, max)| Step::ReadBelow(a, b, max)),
        2 => any::<Index>().prop_map(Step::ByTime),
        1 => (0..1500usize).prop_map(Step::Retain),
        1 => any::<Index>().prop_map(Step::Truncate),
        1 => Just(Step::Flush),
        1 => Just(Step::CloseAndOpen),
        2 => any::<bool>().prop_map(Step::Crash),
        1 => (any::<Index>(), proptest::collection::vec(any::<u8>(), 0..90)).prop_map(|(at, tail)| Step::CrashInAppend(at, tail)),
    ]
}

#[derive(Clone, Debug, PartialEq)]
struct ModelRecord {
    value: Vec<u8>,
    timestamp: i64,
    /// The batch's first offset.
    base: i64,
    epoch: i32,
}

struct Model {
    /// From offset 0 on; what lies below `start` is only kept for the arithmetic.
    records: Vec<ModelRecord>,
    start: i64,
    clock: i64,
    epoch: i32,
    flushed: i64,
    /// Of each idempotent batch: producer, last sequence, last offset.
    sent: Vec<(i64, i32, i64)>,
}

impl Model {
    fn end(&self) -> i64 {
        self.records.len() as i64
    }

    fn offset(&self, index: Index) -> i64 {
        self.start + index.index((self.end() - self.start + 1) as usize) as i64
    }

    /// Last sequence and last offset of each batch of a producer.
    fn of_producer(&self, producer: i64) -> Vec<(i32, i64)> {
        self.sent
            .iter()
            .filter(|(id, ..)| *id == producer)
            .map(|(_, sequence, last)| (*sequence, *last))
            .collect()
    }

    /// Makes a batch and takes note of it.
    fn batch(&mut self, (sizes, codec, time, producer): &Batch) -> Bytes {
        self.clock += time;
        let mut builder = BatchBuilder::new(Compression::ALL[*codec]);
        let base = self.end();
        for (n, size) in sizes.iter().enumerate() {
            let timestamp = self.clock + n as i64 % 2;
            let value = vec![(base + n as i64) as u8; *size];
            builder.push(timestamp, None, Some(&value), &[]);
            self.records.push(ModelRecord { value, timestamp, base, epoch: self.epoch });
        }
        if *producer >= 0 {
            let last = self.of_producer(*producer).last().map_or(-1, |(sequence, _)| *sequence);
            builder.producer(ProducerId(*producer), ProducerEpoch(0), last + 1);
            self.sent.push((*producer, last + sizes.len() as i32, self.end() - 1));
        }
        builder.build()
    }

    fn truncate(&mut self, to: i64) {
        self.sent.retain(|(.., last)| *last < to);
        self.records.truncate(to as usize);
        self.flushed = self.flushed.min(self.end());
    }
}

fn step(fixture: &Fixture, mut log: Log, model: &mut Model, step: Step) -> Result<Log, TestCaseError> {
    match step {
        Step::Append(batch) => {
            let (base, is_idempotent) = (model.end(), batch.3 >= 0);
            let batch = model.batch(&batch);
            let appended = log.append_as_leader(&batch, LeaderEpoch(model.epoch), NOW).unwrap();
            if is_idempotent {
                let again = log.append_as_leader(&batch, LeaderEpoch(model.epoch), NOW).unwrap();
                prop_assert_eq!(again, Appended { duplicate: true, ..appended });
            }
            prop_assert_eq!(appended.base_offset, Offset(base));
            prop_assert_eq!(appended.last_offset, Offset(model.end() - 1));
        }
        Step::Follow(batches, is_new, cut) => {
            model.epoch += i32::from(is_new);
            let mut bytes = Vec::new();
            for batch in &batches {
                let base = model.end();
                bytes.extend_from_slice(&placed(&model.batch(batch), base, model.epoch));
            }
            let whole = bytes.len();
            bytes.extend_from_within(..cut.index(62));
            let appended = log.append_as_follower(&Bytes::from(bytes), NOW).unwrap();
            let expected =
                AppendedAsFollower { end: Offset(model.end()), batches: batches.len(), bytes: whole };
            prop_assert_eq!(appended, expected);
            prop_assert_eq!(log.epochs().latest().map(|(epoch, _)| epoch), Some(LeaderEpoch(model.epoch)));
        }
        Step::NewEpoch => {
            model.epoch += 1;
            log.assign_epoch(LeaderEpoch(model.epoch));
        }
        Step::Roll => log.roll(NOW).unwrap(),
        Step::ReadFrom(from, max) => check_read(&mut log, model, model.offset(from), model.end(), max)?,
        Step::ReadBelow(from, upper, max) => {
            check_read(&mut log, model, model.offset(from), model.offset(upper), max)?;
        }
        Step::ByTime(index) => {
            let timestamp = NOW - 50 + index.index((model.clock - NOW + 200).max(1) as usize) as i64;
            let known = &model.records[model.start as usize..];
            let expected =
                known.iter().position(|r| r.timestamp >= timestamp).map(|n| model.start + n as i64);
            let found = log.offset_for_timestamp(timestamp).unwrap().map(|found| found.offset.0);
            prop_assert_eq!(found, expected, "first from {}", timestamp);
        }
        Step::Retain(bytes) => {
            let bytes = bytes.to_string();
            log.set_config(config(&[
                SEGMENT,
                INTERVAL,
                ("retention.bytes", &bytes),
                ("file.delete.delay.ms", "0"),
            ]));
            let before = log.size_bytes();
            let retained = log.apply_retention(NOW, Offset(model.end())).unwrap();
            log.remove_deleted(NOW).unwrap();
            prop_assert_eq!(log.size_bytes() + retained.bytes, before);
            model.start = retained.log_start.0;
            model.flushed = model.flushed.max(model.start);
        }
        Step::Truncate(to) => {
            let to = model.offset(to);
            let end =
                model.records.get(to as usize).map_or(to, |record| record.base).max(model.start.min(to));
            prop_assert_eq!(log.truncate_to(Offset(to)).unwrap(), Offset(end));
            model.truncate(end);
        }
        Step::Flush => model.flushed = log.flush().unwrap().0,
        Step::CloseAndOpen => {
            let epochs = log.epochs().clone();
            prop_assert_eq!(log.close().unwrap(), Offset(model.end()));
            model.flushed = model.end();
            let recovery;
            (log, recovery) = fixture.open(OpenMode::Clean);
            prop_assert_eq!(recovery.truncated_bytes, 0);
            prop_assert_eq!(log.epochs(), &epochs);
        }
        Step::Crash(goes_on) => {
            drop(log);
            let recovery;
            (log, recovery) = fixture.recover(model.flushed);
            prop_assert_eq!(recovery.truncated_bytes, 0);
            if goes_on {
                log.file_system_synced();
                model.flushed = model.end();
                prop_assert_eq!(log.recovery_point(), log.end_offset());
            }
        }
        Step::CrashInAppend(cut, garbage) => {
            drop(log);
            tear(fixture, model, cut, &garbage);
            (log, _) = fixture.recover(model.flushed);
            // Garbage may have damaged nothing; whatever is left is a prefix that holds all that was flushed.
            let end = log.end_offset().0;
            prop_assert!(end >= model.flushed && end <= model.end());
            model.truncate(end);
        }
    }
    prop_assert_eq!((log.start_offset(), log.end_offset()), (Offset(model.start), Offset(model.end())));
    prop_assert!(log.recovery_point() <= log.end_offset());
    for (offset, record) in (model.start..).zip(&model.records[model.start as usize..]) {
        let began = log.epochs().entries().iter().rfind(|(_, start)| start.0 <= offset);
        prop_assert_eq!(began.map(|(epoch, _)| epoch.0), Some(record.epoch), "offset {}", offset);
    }
    for producer in 0..3 {
        let known =
            log.producers().get(ProducerId(producer)).map_or(Vec::new(), |state| state.batches().to_vec());
        let known: Vec<_> = known.iter().map(|batch| (batch.last_sequence, batch.last_offset.0)).collect();
        let sent = model.of_producer(producer);
        prop_assert_eq!(known, &sent[sent.len().saturating_sub(5)..], "producer {}", producer);
    }
    Ok(log)
}

/// Cuts the last segment at any byte that was not flushed, and puts garbage behind.
fn tear(fixture: &Fixture, model: &Model, cut: Index, garbage: &[u8]) {
    let last = fixture.names().into_iter().rfind(|name| name.ends_with(".log"));
    let Some(last) = last else { return };
    let whole = fs::read(fixture.path(&last)).unwrap();
    let batches = records::check_batches(&whole).map(|batch| batch.unwrap());
    let kept = batches.take_while(|(_, header)| header.next_offset().0 <= model.flushed).last();
    let kept = kept.map_or(0, |(range, _)| range.end);
    let cut = kept + cut.index(whole.len() - kept + 1);
    fs::write(fixture.path(&last), [&whole[..cut], garbage].concat()).unwrap();
}

fn check_read(log: &mut Log, model: &Model, from: i64, upper: i64, max: u32) -> Result<(), TestCaseError> {
    let slice = log.read(Offset(from), max, Offset(upper), true).unwrap();
    let Some(slice) = slice else {
        let next_batch =
            (from..model.end()).find(|n| n + 1 == model.end() || model.records[*n as usize + 1].base > *n);
        prop_assert!(
            next_batch.is_none_or(|last| last >= upper),
            "from {} to {} there is a batch",
            from,
            upper
        );
        return Ok(());
    };
    let headers = headers_of(&slice);
    prop_assert!(slice.bytes <= max || headers.len() == 1);
    prop_assert_eq!(headers[0].base_offset.0, model.records[from as usize].base);
    prop_assert_eq!(headers.last().unwrap().next_offset(), slice.next_offset);
    prop_assert!(slice.next_offset.0 <= upper);
    for record in records_of(&slice) {
        let expected = &model.records[record.offset.0 as usize];
        prop_assert_eq!(record.value.as_deref().unwrap(), expected.value.as_slice());
        prop_assert_eq!(record.timestamp, expected.timestamp);
    }
    Ok(())
}

const SEGMENT: (&str, &str) = ("segment.bytes", "700");
const INTERVAL: (&str, &str) = ("index.interval.bytes", "150");

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn a_log_holds_what_the_model_holds(steps in proptest::collection::vec(any_step(), 1..60)) {
        let fixture = Fixture::new(&[SEGMENT, INTERVAL]);
        let mut model = Model { records: Vec::new(), start: 0, clock: NOW, epoch: 0, flushed: 0, sent: Vec::new() };
        let mut log = fixture.create();
        for one in steps {
            log = step(&fixture, log, &mut model, one)?;
        }
        let found = read_all(&mut log, Offset(model.start), 300);
        prop_assert_eq!(offsets(&found), (model.start..model.end()).collect::<Vec<_>>());
        for record in found {
            prop_assert_eq!(record.value.unwrap(), model.records[record.offset.0 as usize].value.clone());
        }
    }
}

//! A compacted log against a model: all records that were ever appended.

#![allow(clippy::unwrap_used)]

mod fixture;

use std::collections::BTreeMap;

use commitlog::{CompactionLimits, Log, OpenMode};
use domain::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};
use fixture::{keyed::*, *};
use proptest::prelude::*;
use records::{BatchBuilder, Compression};

#[derive(Clone, Debug)]
enum Step {
    /// Codec, the producer if there is one, and for each record its key and whether it has a value.
    Append(usize, Option<i64>, Vec<(u8, bool)>),
    Compact {
        waited_ms: i64,
        map_bytes_max: usize,
    },
    Roll,
    CloseAndOpen,
    Crash,
    ByTime(i64),
}

fn any_step() -> impl Strategy<Value = Step> {
    let records = proptest::collection::vec((0..6u8, prop::bool::weighted(0.7)), 1..5);
    prop_oneof![
        10 => (0..5usize, prop::option::of(0..3i64), records).prop_map(|(c, p, r)| Step::Append(c, p, r)),
        3 => (0..1_500i64, prop_oneof![Just(1usize), Just(300), Just(1 << 20)])
            .prop_map(|(waited_ms, map_bytes_max)| Step::Compact { waited_ms, map_bytes_max }),
        1 => Just(Step::Roll),
        1 => Just(Step::CloseAndOpen),
        1 => Just(Step::Crash),
        2 => (0..200i64).prop_map(Step::ByTime),
    ]
}

/// All records that were ever appended, and what is known of each producer.
#[derive(Default)]
struct Model {
    all: Vec<(i64, u8, Option<Vec<u8>>, i64)>,
    sequences: BTreeMap<i64, i32>,
    now_ms: i64,
    /// When each compaction ran, and what it had seen afterwards.
    compactions: Vec<(i64, i64)>,
}

impl Model {
    fn append(&mut self, log: &mut Log, codec: usize, producer: Option<i64>, records: &[(u8, bool)]) {
        let mut builder = BatchBuilder::new(Compression::ALL[codec]);
        if let Some(id) = producer {
            let sequence = self.sequences.entry(id).or_default();
            builder.producer(ProducerId(id), ProducerEpoch(0), *sequence);
            *sequence += records.len() as i32;
        }
        for (key, has_value) in records {
            let offset = self.all.len() as i64;
            let value = has_value.then(|| format!("value {offset}").into_bytes());
            let timestamp = NOW + offset;
            builder.push(timestamp, Some(&[*key]), value.as_deref(), &[]);
            self.all.push((offset, *key, value, timestamp));
        }
        log.append_as_leader(&builder.build(), LeaderEpoch(0), NOW).unwrap();
    }

    fn check(&self, log: &mut Log) {
        assert_eq!(log.end_offset(), Offset(self.all.len() as i64));
        let found = everything(log);
        assert!(found.windows(2).all(|pair| pair[0].offset < pair[1].offset));
        for record in &found {
            let (_, key, value, timestamp) = &self.all[record.offset.0 as usize];
            assert_eq!(record.key.as_deref(), Some(&[*key][..]));
            assert_eq!((record.value.as_deref(), record.timestamp), (value.as_deref(), *timestamp));
        }
        let seen = log.first_dirty().0;
        for (offset, key, value, _) in &self.all {
            let is_there = found.iter().any(|record| record.offset.0 == *offset);
            let later = |until: i64| self.all.iter().any(|(o, k, ..)| k == key && o > offset && *o < until);
            if later(seen) {
                assert!(!is_there, "offset {offset} was superseded");
            } else if value.is_some() {
                assert!(is_there || later(i64::MAX), "offset {offset} is the last of its key");
            }
            if value.is_none() && !later(i64::MAX) && !is_there {
                // It was found once, and its time had passed at a later one.
                let first = self.compactions.iter().find(|(_, until)| until > offset).unwrap().0;
                assert!(self.compactions.iter().any(|(at, _)| *at >= first + RETENTION), "offset {offset}");
            }
        }
        // A reader that applies everything has what one without compaction has.
        let apply = |records: &mut dyn Iterator<Item = (u8, Option<Vec<u8>>)>| {
            let mut map = BTreeMap::new();
            records.for_each(|(key, value)| match value {
                Some(value) => _ = map.insert(key, value),
                None => _ = map.remove(&key),
            });
            map
        };
        let read = found.iter().map(|r| (r.key.as_ref().unwrap()[0], r.value.as_ref().map(|v| v.to_vec())));
        let whole = self.all.iter().map(|(_, key, value, _)| (*key, value.clone()));
        assert_eq!(apply(&mut read.into_iter()), apply(&mut whole.into_iter()));
        for (id, sequence) in &self.sequences {
            let last = *log.producers().get(ProducerId(*id)).unwrap().batches().last().unwrap();
            assert_eq!(last.last_sequence + 1, *sequence);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 3000, ..ProptestConfig::default() })]

    #[test]
    fn a_compacted_log_holds_what_the_model_holds(steps in proptest::collection::vec(any_step(), 1..50)) {
        let fixture = compacted(&[("segment.bytes", "400")]);
        let (mut model, mut log) = (Model { now_ms: NOW, ..Model::default() }, fixture.create());
        for step in steps {
            match step {
                Step::Append(codec, producer, records) => model.append(&mut log, codec, producer, &records),
                Step::Compact { waited_ms, map_bytes_max } => {
                    model.now_ms += waited_ms;
                    let end = log.end_offset();
                    log.compact(end, model.now_ms, CompactionLimits { map_bytes_max }).unwrap();
                    model.compactions.push((model.now_ms, log.first_dirty().0));
                }
                Step::Roll => log.roll(NOW).unwrap(),
                Step::CloseAndOpen => {
                    let seen = log.first_dirty();
                    log.close().unwrap();
                    log = fixture.open(OpenMode::Clean).0;
                    log.set_first_dirty(seen);
                }
                Step::Crash => {
                    let point = log.recovery_point();
                    drop(log);
                    log = fixture.recover(point.0).0;
                    // Everything is dirty: no checkpoint was written.
                }
                Step::ByTime(after) => {
                    let found = log.offset_for_timestamp(NOW + after).unwrap().map(|found| found.offset.0);
                    let there = offsets(&everything(&mut log));
                    prop_assert_eq!(found, there.into_iter().find(|offset| *offset >= after));
                }
            }
            model.check(&mut log);
        }
    }
}

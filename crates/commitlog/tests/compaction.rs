//! What compaction leaves of a log, and when.

#![allow(clippy::unwrap_used)]

mod fixture;

use std::{collections::BTreeMap, fs};

use commitlog::{AppendError, Compacted, CompactionError, CompactionLimits, Log, LogError, OpenMode, Torn};
use domain::{LeaderEpoch, Offset, ProducerId};
use fixture::{keyed::*, *};
use records::{BatchBuilder, Compression};

#[test]
fn the_last_value_of_each_key_stays_with_its_offset_and_time_in_every_codec() {
    for codec in Compression::ALL {
        let fixture = compacted(&[("segment.bytes", "400")]);
        let mut log = fixture.create();
        for n in 0..12 {
            let (key, value) = (format!("k{}", n % 4), format!("value {n}"));
            append(
                &mut log,
                &pairs(codec, &[("hot", Some("h")), (&key, Some(&value)), ("warm", Some(&value))]),
            );
        }
        log.roll(NOW).unwrap();
        let before = everything(&mut log);
        let segments = log.segments();
        let bytes = log.size_bytes();
        let done = compact(&mut log, NOW);
        let mut last = BTreeMap::new();
        before.iter().for_each(|record| _ = last.insert(record.key.clone(), record.clone()));
        let mut expected: Vec<_> = last.into_values().collect();
        expected.sort_by_key(|record| record.offset);
        assert_eq!(everything(&mut log), expected, "{codec:?}");
        assert!(log.segments() < segments && log.size_bytes() < bytes, "small segments are joined");
        assert_eq!((done.until, done.records_removed), (Offset(36), 30));
        assert_eq!((log.first_dirty(), log.end_offset()), (Offset(36), Offset(36)));
        // From inside a gap the next batch comes.
        let slice = log.read(Offset(1), 1, Offset(36), true).unwrap().unwrap();
        assert!(headers_of(&slice)[0].last_offset() > Offset(1));
        for mode in [
            OpenMode::Recover { recovery_point: Offset(0) },
            OpenMode::Recover { recovery_point: Offset(36) },
        ] {
            let (mut again, recovery) = fixture.open(mode);
            assert_eq!((everything(&mut again), again.end_offset()), (expected.clone(), Offset(36)));
            assert_eq!((recovery.truncated_bytes, recovery.torn), (0, Torn::No));
            let mut from = Offset(0);
            while from < again.end_offset() {
                from = again.scrub(from, 100, LeaderEpoch(i32::MAX)).unwrap().next;
            }
        }
        log.close().unwrap();
        let (mut log, recovery) = fixture.open(OpenMode::Clean);
        assert_eq!((everything(&mut log), recovery.indexes_rebuilt), (expected, 0));
    }
}

#[test]
fn what_is_active_or_above_the_high_watermark_or_young_stays() {
    let fixture = compacted(&[("segment.bytes", "150")]);
    let mut log = fixture.create();
    (0..4).for_each(|_| put(&mut log, &[("k", Some("a value of some length"))]));
    assert_eq!(log.segments(), 4);
    let done = log.compact(Offset(2), NOW, CompactionLimits::default()).unwrap();
    assert_eq!((done.until, offsets(&everything(&mut log))), (Offset(2), vec![1, 2, 3]));
    assert!(log.dirtiness(Offset(2), NOW).unwrap().is_none(), "all of it was seen");
    log.compact(Offset(4), NOW, CompactionLimits::default()).unwrap();
    assert_eq!(
        offsets(&everything(&mut log)),
        [2, 3],
        "the active segment stays, and its keys are not known"
    );

    let fixture = compacted(&[("min.compaction.lag.ms", "500")]);
    let mut log = fixture.create();
    (0..2).for_each(|_| put(&mut log, &[("k", Some("v"))]));
    log.roll(NOW).unwrap();
    assert!(log.dirtiness(Offset(2), NOW + 499).unwrap().is_none());
    assert!(log.dirtiness(Offset(2), NOW + 500).unwrap().is_some());
    log.set_config(config(&[]));
    assert!(log.dirtiness(Offset(2), NOW + 500).unwrap().is_none(), "not compacted");
    assert_eq!(compact(&mut log, NOW), Compacted::default());
}

#[test]
fn a_log_is_due_when_it_is_dirty_enough_or_has_waited_too_long() {
    let fixture = compacted(&[("min.cleanable.dirty.ratio", "0.4"), ("max.compaction.lag.ms", "5000")]);
    let mut log = fixture.create();
    (0..8).for_each(|n| put(&mut log, &[(&n.to_string(), Some("v"))]));
    compact(&mut log, NOW);
    let mut due_after = |count: usize, now_ms| {
        (0..count).for_each(|_| put(&mut log, &[("n", Some("v"))]));
        log.roll(NOW).unwrap();
        let dirtiness = log.dirtiness(log.end_offset(), now_ms).unwrap().unwrap();
        (dirtiness.ppm(), dirtiness.is_due(log.config()))
    };
    assert_eq!(due_after(2, NOW), (200_000, false));
    assert_eq!(due_after(0, NOW + 5_001), (200_000, true));
    assert!(due_after(6, NOW).1);
}

#[test]
fn an_idle_active_segment_is_sealed_once_it_is_old_enough() {
    for (setting, compacts) in [
        (("segment.ms", "5000"), true),
        (("max.compaction.lag.ms", "5000"), true),
        (("segment.ms", "5000"), false),
    ] {
        let mut pairs = vec![setting];
        pairs.extend(compacts.then_some(COMPACT));
        let fixture = Fixture::new(&pairs);
        let mut log = fixture.create();
        assert!(!log.roll_for_compaction(NOW + 9_999).unwrap(), "there is nothing in it");
        put(&mut log, &[("k", Some("v"))]);
        assert!(!log.roll_for_compaction(NOW + 5_000).unwrap());
        assert_eq!(log.roll_for_compaction(NOW + 5_001).unwrap(), compacts);
        assert!(!log.roll_for_compaction(NOW + 99_000).unwrap());
    }
}

#[test]
fn a_tombstone_goes_when_its_time_has_passed_since_the_compaction_that_found_it() {
    let fixture = compacted(&[]);
    let mut log = fixture.create();
    put(&mut log, &[("a", Some("1")), ("b", Some("1"))]);
    put(&mut log, &[("a", None), ("c", Some("1"))]);
    let first = compact(&mut log, NOW + 10_000);
    assert_eq!(first.records_removed, 1);
    let horizon = |log: &mut Log| all_headers(log).iter().map(|h| h.delete_horizon_ms()).collect::<Vec<_>>();
    assert_eq!(horizon(&mut log), [None, Some(NOW + 10_000 + RETENTION)]);
    let times: Vec<_> = everything(&mut log).iter().map(|r| (r.offset.0, r.timestamp - NOW)).collect();
    assert_eq!(times, [(1, 1), (2, 0), (3, 1)], "the horizon is not the records' time");
    assert_eq!(log.offset_for_timestamp(NOW + 1).unwrap().unwrap().offset, Offset(1));

    put(&mut log, &[("d", Some("1"))]);
    compact(&mut log, NOW + 10_999);
    assert_eq!(offsets(&everything(&mut log)), [1, 2, 3, 4]);
    assert_eq!(horizon(&mut log), [None, Some(NOW + 10_000 + RETENTION), None], "it is not put off");
    assert_eq!(log.removed_tombstones(), Offset(0));

    put(&mut log, &[("e", Some("1"))]);
    compact(&mut log, NOW + 10_000 + RETENTION);
    assert_eq!(offsets(&everything(&mut log)), [1, 3, 4, 5]);
    assert_eq!(log.removed_tombstones(), Offset(3));
    drop(log);
    assert_eq!(fixture.recover(6).0.removed_tombstones(), Offset(3), "it is remembered");
}

#[test]
fn the_last_batch_stays_empty_so_that_followers_learn_where_the_log_ends() {
    let fixture = compacted(&[("delete.retention.ms", "0")]);
    let mut log = fixture.create();
    put(&mut log, &[("a", Some("1"))]);
    put(&mut log, &[("a", None)]);
    compact(&mut log, NOW);
    // Nothing is dirty, but what comes behind makes it so.
    put(&mut log, &[("b", Some("1"))]);
    put(&mut log, &[("b", None)]);
    compact(&mut log, NOW);
    compact(&mut log, NOW);
    put(&mut log, &[("c", None)]);
    compact(&mut log, NOW + 1);
    log.set_first_dirty(Offset(0));
    compact(&mut log, NOW + 2);
    assert_eq!(everything(&mut log), []);
    let headers = all_headers(&mut log);
    assert_eq!(headers.iter().map(|h| (h.base_offset.0, h.record_count)).collect::<Vec<_>>(), [(4, 0)]);
    assert_eq!((log.offset_for_timestamp(0).unwrap(), log.max_timestamp_offset().unwrap()), (None, None));

    // A follower that fetches all that is there comes to the leader's end, and compacts it as well.
    let mut follower =
        Log::create(fixture.path("f"), TOPIC, fixture.config.clone(), fixture.files.clone()).unwrap();
    let slice = log.read(Offset(0), 1 << 20, log.end_offset(), true).unwrap().unwrap();
    follow(&mut follower, &[bytes_of(&slice)]).unwrap();
    assert_eq!(follower.end_offset(), log.end_offset());
    assert_eq!(follower.removed_tombstones(), Offset(5), "it cannot know which");
    drop(follower);
    let (mut follower, recovery) = Log::open(
        fixture.path("f"),
        fixture.config.clone(),
        fixture.files.clone(),
        OpenMode::Recover { recovery_point: Offset(0) },
        Offset(0),
        NOW,
    )
    .unwrap();
    assert_eq!((recovery.truncated_bytes, follower.removed_tombstones()), (0, Offset(5)));
    put(&mut follower, &[("x", Some("1"))]);
    compact(&mut follower, NOW);
    assert_eq!((offsets(&everything(&mut follower)), all_headers(&mut follower).len()), (vec![5], 1));
    follower.begin_anew_at(Offset(3), None).unwrap();
    assert_eq!((follower.removed_tombstones(), follower.first_dirty()), (Offset(0), Offset(3)));
}

#[test]
fn records_without_a_key_are_refused_and_those_from_before_go() {
    let fixture = Fixture::new(&[]);
    let mut log = fixture.create();
    append(&mut log, &batch(2, NOW, 10));
    put(&mut log, &[("k", Some("v"))]);
    log.set_config(config(&[("cleanup.policy", "compact,delete")]));
    for codec in Compression::ALL {
        let mut builder = BatchBuilder::new(codec);
        builder.push(NOW, Some(b"k"), Some(b"v"), &[]).push(NOW, None, Some(b"v"), &[]);
        let refused = try_append(&mut log, &builder.build()).unwrap_err();
        assert!(matches!(refused, AppendError::InvalidRecord(_)), "{refused}");
    }
    assert_eq!(log.end_offset(), Offset(3));
    compact(&mut log, NOW);
    assert_eq!(contents(&mut log), [(2, "k".to_owned(), Some("v".to_owned()))]);
}

#[test]
fn a_producers_last_batches_stay_and_it_is_known_after_a_reopening() {
    let fixture = compacted(&[]);
    let mut log = fixture.create();
    (0..8).for_each(|n| _ = append(&mut log, &of_producer(5, n, "k")));
    append(&mut log, &of_producer(6, 0, "k"));
    put(&mut log, &[("k", Some("last"))]);
    compact(&mut log, NOW);
    assert_eq!(offsets(&everything(&mut log)), [9]);
    let headers = all_headers(&mut log);
    assert_eq!(headers.iter().map(|h| h.base_offset.0).collect::<Vec<_>>(), [3, 4, 5, 6, 7, 8, 9]);
    assert!(headers[..6].iter().all(|h| h.record_count == 0 && h.base_sequence >= 0));
    let known = log.producers().clone();
    drop(log);
    for name in fixture.names().iter().filter(|name| name.contains("snapshot")) {
        fs::remove_file(fixture.path(name)).unwrap();
    }
    let (mut log, _) = fixture.recover(10);
    let batches = |id| known.get(ProducerId(id)).unwrap().batches().to_vec();
    assert_eq!(log.producers().get(ProducerId(5)).unwrap().batches(), batches(5));
    assert_eq!(log.producers().get(ProducerId(6)).unwrap().batches(), batches(6));
    assert!(append(&mut log, &of_producer(5, 3, "k")).duplicate);
    assert_eq!(append(&mut log, &of_producer(5, 8, "k")).base_offset, Offset(10));
    // Nobody remembers it for ever.
    log.expire_producers(i64::MAX, 1);
    compact(&mut log, NOW);
    assert_eq!(all_headers(&mut log).iter().map(|h| h.base_offset.0).collect::<Vec<_>>(), [10]);
}

#[test]
fn control_batches_and_transactions_stay_as_they_are() {
    let fixture = compacted(&[]);
    let mut log = fixture.create();
    let mut builder = BatchBuilder::new(Compression::None);
    builder.transactional(true);
    fill(&mut builder, &[("k", Some("in a transaction"))]);
    let transactional = placed(&builder.build(), 0, 0);
    builder.control(true);
    builder.push(NOW, Some(&[0, 0, 0, 1]), Some(b""), &[]);
    let marker = placed(&builder.build(), 1, 0);
    let plain = placed(&pairs(Compression::None, &[("k", Some("v"))]), 2, 0);
    let again = placed(&pairs(Compression::None, &[("k", Some("w"))]), 3, 0);
    follow(&mut log, &[transactional, marker, plain, again]).unwrap();
    compact(&mut log, NOW);
    assert_eq!(all_headers(&mut log).iter().map(|h| h.base_offset.0).collect::<Vec<_>>(), [0, 1, 3]);
}

#[test]
fn keys_that_do_not_fit_take_several_rounds() {
    let fixture = compacted(&[("segment.bytes", "500")]);
    let mut log = fixture.create();
    for n in 0..60 {
        put(&mut log, &[(&(n % 17).to_string(), Some(&n.to_string()))]);
    }
    log.roll(NOW).unwrap();
    let limits = CompactionLimits { map_bytes_max: 1 };
    let done = log.compact(log.end_offset(), NOW, limits).unwrap();
    assert_eq!(done.until, Offset(60));
    assert_eq!(offsets(&everything(&mut log)), (43..60).collect::<Vec<_>>());
}

#[test]
fn a_reader_of_the_old_segment_goes_on() {
    let fixture = compacted(&[]);
    let mut log = fixture.create();
    (0..5).for_each(|_| put(&mut log, &[("k", Some("v"))]));
    let slice = log.read(Offset(0), 1 << 20, Offset(5), true).unwrap().unwrap();
    compact(&mut log, NOW);
    assert_eq!(offsets(&records_of(&slice)), [0, 1, 2, 3, 4]);
    assert_eq!(offsets(&everything(&mut log)), [4]);
}

#[test]
fn a_damaged_batch_ends_the_compaction_and_nothing_is_changed() {
    let fixture = compacted(&[]);
    let mut log = fixture.create();
    (0..3).for_each(|_| put(&mut log, &[("k", Some("v"))]));
    log.roll(NOW).unwrap();
    let path = fixture.path(&format!("{:020}.log", 0));
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, &bytes).unwrap();
    let refused = log.compact(Offset(3), NOW, CompactionLimits::default());
    assert!(matches!(refused, Err(CompactionError::Log(LogError::Corrupt { .. }))), "{refused:?}");
    assert_eq!((fs::read(&path).unwrap(), log.first_dirty()), (bytes, Offset(0)));
    assert!(!fixture.names().iter().any(|name| name.contains("cleaned")));
}

#[test]
fn retention_takes_compacted_segments_only_where_the_policy_says_so() {
    for (policy, left) in [("compact", 2), ("compact,delete", 1)] {
        let fixture =
            compacted(&[("cleanup.policy", policy), ("retention.ms", "1000"), ("segment.bytes", "150")]);
        let mut log = fixture.create();
        (0..3).for_each(|n| put(&mut log, &[(&n.to_string(), Some("a value of some length"))]));
        compact(&mut log, NOW);
        let end = log.end_offset();
        log.apply_retention(NOW + 2_000, end).unwrap();
        assert_eq!(log.segments() > 1, left == 2, "{policy}");
    }
}

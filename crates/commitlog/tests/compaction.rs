//! Compaction: what stays of a log, and that a crash leaves the old segments or the new one.

#![allow(clippy::unwrap_used)]

mod fixture;

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use commitlog::{
    AppendError, Compacted, CompactionError, CompactionLimits, Log, LogError, OpenMode, SharedLog, Torn,
};
use domain::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};
use fixture::*;
use proptest::prelude::*;
use records::{BatchBuilder, BatchHeader, Compression, Record};

const COMPACT: (&str, &str) = ("cleanup.policy", "compact");
/// How long a tombstone stays.
const RETENTION: i64 = 1_000;

fn compacted(more: &[(&str, &str)]) -> Fixture {
    let base = [COMPACT, ("delete.retention.ms", "1000"), ("index.interval.bytes", "60")];
    Fixture::new(&[&base, more].concat())
}

/// A batch of records: key and value, `None` for a tombstone.
fn pairs(codec: Compression, pairs: &[(&str, Option<&str>)]) -> Bytes {
    let mut builder = BatchBuilder::new(codec);
    fill(&mut builder, pairs);
    builder.build()
}

fn fill(builder: &mut BatchBuilder, pairs: &[(&str, Option<&str>)]) {
    for (n, (key, value)) in pairs.iter().enumerate() {
        let value = value.map(str::as_bytes);
        builder.push(NOW + n as i64, Some(key.as_bytes()), value, &[(&b"h"[..], Some(&b"v"[..]))]);
    }
}

fn of_producer(producer: i64, sequence: i32, key: &str) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None);
    builder.producer(ProducerId(producer), ProducerEpoch(0), sequence);
    fill(&mut builder, &[(key, Some("v"))]);
    builder.build()
}

fn put(log: &mut Log, of: &[(&str, Option<&str>)]) {
    append(log, &pairs(Compression::None, of));
}

/// Seals what is there, and compacts it.
fn compact(log: &mut Log, now_ms: i64) -> Compacted {
    log.roll(NOW).unwrap();
    log.compact(log.end_offset(), now_ms, CompactionLimits::default()).unwrap()
}

fn everything(log: &mut Log) -> Vec<Record> {
    read_all(log, log.start_offset(), 1 << 20)
}

/// Offset, key and value of all records.
fn contents(log: &mut Log) -> Vec<(i64, String, Option<String>)> {
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let of = |r: &Record| (r.offset.0, text(r.key.as_ref().unwrap()), r.value.as_ref().map(text));
    everything(log).iter().map(of).collect()
}

fn all_headers(log: &mut Log) -> Vec<BatchHeader> {
    let (mut at, mut found) = (log.start_offset(), Vec::new());
    while let Some(slice) = log.read(at, 1, log.end_offset(), true).unwrap() {
        found.extend(headers_of(&slice));
        at = slice.next_offset.max(found.last().unwrap().next_offset());
    }
    found
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for name in names(from) {
        fs::copy(from.join(&name), to.join(&name)).unwrap();
    }
}

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
                from = again.scrub(from, 100).unwrap().next;
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
    let batches = |id| known.get(ProducerId(id)).unwrap().batches();
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

/// A log whose lock is taken again and again, and to which something happens before one of these.
struct Disturbed<'l> {
    log: RefCell<&'l mut Log>,
    before: RefCell<Vec<Option<Box<dyn FnOnce(&mut Log)>>>>,
}

impl SharedLog for Disturbed<'_> {
    fn with_log<T>(&self, keep: impl FnOnce(&mut Log) -> T) -> Option<T> {
        let mut log = self.log.borrow_mut();
        if let Some(Some(happens)) = self.before.borrow_mut().pop() {
            happens(&mut log);
        }
        Some(keep(&mut log))
    }
}

#[test]
fn a_log_that_was_changed_meanwhile_is_left_alone() {
    let events: [fn(&mut Log); 3] = [
        |log| _ = log.truncate_to(Offset(1)).unwrap(),
        |log| log.begin_anew_at(Offset(2), None).unwrap(),
        |log| {
            log.advance_start(Offset(3));
            log.apply_retention(NOW, Offset(3)).unwrap();
        },
    ];
    for (case, event) in events.into_iter().enumerate() {
        for swap in [false, true] {
            let fixture = compacted(&[]);
            let mut log = fixture.create();
            (0..3).for_each(|_| put(&mut log, &[("k", Some("v"))]));
            log.roll(NOW).unwrap();
            let event: Option<Box<dyn FnOnce(&mut Log)>> = Some(Box::new(event));
            // The lock is taken to plan, to swap, and to say how far it came.
            let before = if swap { vec![event, None] } else { vec![event, None, None] };
            let shared = Disturbed { log: RefCell::new(&mut log), before: RefCell::new(before) };
            let ended =
                commitlog::compact(&shared, Offset(3), NOW, CompactionLimits::default(), &mut |_| true);
            match (swap, case) {
                (false, 2) => _ = ended.unwrap(),
                _ => assert!(matches!(ended, Err(CompactionError::Changed)), "case {case}: {ended:?}"),
            }
            assert!(log.first_dirty() <= log.end_offset(), "case {case}");
            put(&mut log, &[("k", Some("w"))]);
            let kept = contents(&mut log);
            assert!(!kept.is_empty());
            let start = log.start_offset();
            drop(log);
            let mode = OpenMode::Recover { recovery_point: Offset(0) };
            let (dir, files) = (fixture.dir(), fixture.files.clone());
            let (mut log, _) = Log::open(dir, fixture.config.clone(), files, mode, start, NOW).unwrap();
            assert_eq!(contents(&mut log), kept, "case {case}");
        }
    }
}

#[test]
fn a_compaction_that_is_told_to_stop_leaves_nothing_behind() {
    let fixture = compacted(&[]);
    let mut log = fixture.create();
    (0..3).for_each(|_| put(&mut log, &[("k", Some("v"))]));
    log.roll(NOW).unwrap();
    for steps in 0..6 {
        let shared = Disturbed { log: RefCell::new(&mut log), before: RefCell::default() };
        let mut left = steps;
        let mut pace = |_| {
            left -= 1;
            left >= 0
        };
        let ended = commitlog::compact(&shared, Offset(3), NOW, CompactionLimits::default(), &mut pace);
        assert!(matches!(ended, Err(CompactionError::Stopped)), "{ended:?}");
        assert_eq!(offsets(&everything(&mut log)), [0, 1, 2]);
        assert!(!fixture.names().iter().any(|name| name.contains("cleaned")));
    }
}

/// Each step of a swap, as file operations, with the crash before the next one.
#[test]
fn a_crash_at_any_step_leaves_the_old_segments_or_the_new_one() {
    let fixture = compacted(&[("segment.bytes", "150"), ("file.delete.delay.ms", "0")]);
    let mut log = fixture.create();
    for key in ["a", "b", "a", "b", "c", "a"] {
        put(&mut log, &[(key, Some("a value of some length"))]);
    }
    log.roll(NOW).unwrap();
    let old = contents(&mut log);
    let (epochs, producers) = (log.epochs().clone(), log.producers().clone());
    log.flush().unwrap();
    let before = fixture.folder.path().join("before");
    copy(&fixture.dir(), &before);
    log.set_config(config(&[COMPACT, ("segment.bytes", "1000"), ("index.interval.bytes", "60")]));
    let done = compact(&mut log, NOW);
    assert_eq!((done.segments, done.segments_after, log.segments()), (6, 1, 2));
    let new = contents(&mut log);
    assert_eq!(offsets(&everything(&mut log)), [3, 4, 5]);

    let name = |base: i64, suffix: &str| format!("{base:020}.{suffix}");
    let suffixes = ["log", "index", "timeindex"];
    let after = fixture.dir();
    // What a crash finds, step by step.
    let mut steps: Vec<Box<dyn Fn(&Path)>> = Vec::new();
    let torn = (0..1).map(|_| -> Box<dyn Fn(&Path)> {
        Box::new(|dir| fs::write(dir.join(format!("{:020}.log.cleaned", 0)), b"half").unwrap())
    });
    steps.extend(torn);
    for suffix in suffixes {
        let (from, to) = (after.join(name(0, suffix)), name(0, &format!("{suffix}.cleaned")));
        steps.push(Box::new(move |dir| _ = fs::copy(&from, dir.join(&to)).unwrap()));
    }
    let renames = [(0, "log.cleaned", "log.swap")].into_iter();
    let renames = renames.chain((1..6).flat_map(|base| {
        [
            (base, "log", "log.deleted"),
            (base, "index", "index.deleted"),
            (base, "timeindex", "timeindex.deleted"),
        ]
    }));
    for (base, from, to) in renames {
        let (from, to) = (name(base, from), name(base, to));
        steps.push(Box::new(move |dir| fs::rename(dir.join(&from), dir.join(&to)).unwrap()));
    }
    for suffix in ["index", "timeindex"] {
        let path = name(0, suffix);
        steps.push(Box::new(move |dir| fs::remove_file(dir.join(&path)).unwrap()));
    }
    for (from, to) in [("log.swap", "log"), ("index.cleaned", "index"), ("timeindex.cleaned", "timeindex")] {
        let (from, to) = (name(0, from), name(0, to));
        steps.push(Box::new(move |dir| fs::rename(dir.join(&from), dir.join(&to)).unwrap()));
    }
    let committed_after = 4;
    for done in 0..=steps.len() {
        for recovery_point in [0, 6] {
            let dir: PathBuf = fixture.folder.path().join("crashed-0");
            _ = fs::remove_dir_all(&dir);
            copy(&before, &dir);
            steps[..done].iter().for_each(|step| step(&dir));
            let mode = OpenMode::Recover { recovery_point: Offset(recovery_point) };
            let files = fixture.files.clone();
            let (mut log, recovery) =
                Log::open(dir.clone(), fixture.config.clone(), files, mode, Offset(0), NOW).unwrap();
            let expected = if done > committed_after { &new } else { &old };
            assert_eq!(&contents(&mut log), expected, "after step {done}");
            assert_eq!((recovery.truncated_bytes, recovery.torn), (0, Torn::No), "after step {done}");
            assert_eq!((log.end_offset(), log.epochs(), log.producers()), (Offset(6), &epochs, &producers));
            let left = names(&dir);
            let leftover =
                |name: &&String| [".cleaned", ".swap", ".deleted"].iter().any(|end| name.ends_with(end));
            assert_eq!(left.iter().find(leftover), None, "after step {done}");
            // And it is compacted again.
            log.set_config(config(&[COMPACT]));
            compact(&mut log, NOW);
            assert_eq!(&contents(&mut log), &new, "after step {done}");
        }
    }
}

#[test]
fn removed_segments_files_wait_for_their_removal_and_their_snapshots_are_gone() {
    let fixture = compacted(&[("segment.bytes", "150"), ("file.delete.delay.ms", "100")]);
    let mut log = fixture.create();
    (0..3).for_each(|n| _ = append(&mut log, &of_producer(1, n, "key of some length")));
    log.set_config(config(&[COMPACT, ("file.delete.delay.ms", "100")]));
    compact(&mut log, NOW);
    assert_eq!((log.segments(), log.has_deleted()), (2, true));
    assert_eq!(fixture.names().iter().filter(|name| name.ends_with(".log.deleted")).count(), 2);
    assert_eq!(log.remove_deleted(NOW + 99).unwrap(), 0);
    assert_eq!(log.remove_deleted(NOW + 100).unwrap(), 2);
    let snapshots: Vec<_> = fixture.names().into_iter().filter(|name| name.ends_with(".snapshot")).collect();
    assert_eq!(snapshots, [format!("{:020}.snapshot", 3)]);
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
            let last = log.producers().get(ProducerId(*id)).unwrap().batches().last().unwrap();
            assert_eq!(last.last_sequence + 1, *sequence);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, max_shrink_iters: 3000, ..ProptestConfig::default() })]

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

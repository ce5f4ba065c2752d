#![allow(clippy::unwrap_used)]

mod fixture;

use std::{
    fs::{self, FileTimes},
    os::unix::fs::symlink,
};

use commitlog::{Log, OpenMode, Retained};
use domain::{LeaderEpoch, Offset};
use fixture::*;

/// Ten batches of one record, two in a segment, a second apart.
fn ten(fixture: &Fixture) -> Log {
    let mut log = fixture.create();
    for n in 0..10 {
        log.append_as_leader(&batch(1, NOW + n * 1000, 30), LeaderEpoch(n as i32 / 4), NOW).unwrap();
    }
    assert_eq!(log.segments(), 5);
    log
}

const SMALL: (&str, &str) = ("segment.bytes", "220");

#[test]
fn segments_go_when_their_newest_record_is_too_old() {
    let fixture = Fixture::new(&[SMALL, ("retention.ms", "5000"), ("file.delete.delay.ms", "100")]);
    let mut log = ten(&fixture);
    let size = log.size_bytes();
    // The newest records of the segments are 1, 3, 5, 7 and 9 seconds late.
    assert_eq!(log.apply_retention(NOW + 6000, Offset(10)).unwrap(), Retained::default());
    let retained = log.apply_retention(NOW + 8001, Offset(10)).unwrap();
    assert_eq!(retained, Retained { segments: 2, bytes: size * 2 / 5, log_start: Offset(4) });
    assert_eq!((log.start_offset(), log.end_offset()), (Offset(4), Offset(10)));
    assert_eq!(offsets(&read_all(&mut log, Offset(4), 1000)), [4, 5, 6, 7, 8, 9]);
    let deleted = || fixture.names().into_iter().filter(|name| name.ends_with(".deleted")).count();
    assert_eq!((deleted(), log.has_deleted()), (6, true));
    assert_eq!(log.remove_deleted(NOW + 8100).unwrap(), 0);
    assert_eq!(log.remove_deleted(NOW + 8101).unwrap(), 2);
    assert_eq!((deleted(), log.has_deleted()), (0, false));
    assert_eq!(
        log.epochs().entries(),
        [(LeaderEpoch(0), Offset(3)), (LeaderEpoch(1), Offset(4)), (LeaderEpoch(2), Offset(8))]
    );
}

#[test]
fn an_expired_active_segment_goes_and_the_offsets_go_on() {
    let fixture = Fixture::new(&[SMALL, ("retention.ms", "5000")]);
    let mut log = ten(&fixture);
    let retained = log.apply_retention(NOW + 1_000_000, Offset(10)).unwrap();
    assert_eq!((retained.segments, retained.log_start), (5, Offset(10)));
    assert_eq!((log.size_bytes(), log.segments()), (0, 1));
    assert_eq!(log.apply_retention(NOW + 1_000_000, Offset(10)).unwrap().segments, 0);
    drop(log);
    for mode in [OpenMode::Clean, OpenMode::Recover { recovery_point: Offset(10) }] {
        let (mut log, _) = fixture.open(mode);
        assert_eq!(
            (log.start_offset(), log.end_offset()),
            (Offset(10), Offset(10)),
            "no offset is used again"
        );
        assert_eq!(log.epochs().latest(), Some((LeaderEpoch(2), Offset(9))));
        assert!(log.read(Offset(10), 10, Offset(10), true).unwrap().is_none());
    }
    assert!(!fixture.names().iter().any(|name| name.ends_with(".deleted")), "swept when opened");
}

#[test]
fn what_is_not_committed_is_never_deleted() {
    let fixture = Fixture::new(&[SMALL, ("retention.ms", "1"), ("retention.bytes", "0")]);
    let mut log = ten(&fixture);
    assert_eq!(log.apply_retention(NOW + 1_000_000, Offset(5)).unwrap().log_start, Offset(4));
}

#[test]
fn the_oldest_segments_go_while_the_log_is_too_large() {
    let fixture = Fixture::new(&[SMALL, ("retention.ms", "-1"), ("retention.bytes", "420")]);
    let mut log = ten(&fixture);
    let segment = log.size_bytes() / 5;
    assert!((3 * segment..4 * segment).contains(&(420 + segment)), "{segment}");
    let retained = log.apply_retention(NOW, Offset(10)).unwrap();
    assert_eq!((retained.segments, log.size_bytes()), (2, 3 * segment), "never below the limit");
    log.set_config(config(&[SMALL, ("retention.bytes", "0"), ("cleanup.policy", "compact")]));
    assert_eq!(log.apply_retention(NOW, Offset(10)).unwrap().segments, 0);
}

#[test]
fn segments_below_the_logs_start_go() {
    let fixture = Fixture::new(&[SMALL, ("retention.ms", "-1")]);
    let mut log = ten(&fixture);
    assert_eq!(log.advance_start(Offset(5)), Offset(5));
    assert_eq!(log.advance_start(Offset(3)), Offset(5), "never back");
    let retained = log.apply_retention(NOW, Offset(10)).unwrap();
    assert_eq!((retained.segments, retained.log_start), (2, Offset(5)));
    assert_eq!(offsets(&read_all(&mut log, Offset(5), 1000)), [5, 6, 7, 8, 9]);
}

#[test]
fn a_record_from_the_future_does_not_keep_a_segment_for_good() {
    let fixture = Fixture::new(&[("retention.ms", "5000")]);
    let mut log = fixture.create();
    append(&mut log, &batch(1, NOW * 2, 30));
    let file = fs::File::open(fixture.path(&format!("{:020}.log", 0))).unwrap();
    let written = std::time::UNIX_EPOCH + std::time::Duration::from_millis(NOW as u64);
    file.set_times(FileTimes::new().set_modified(written)).unwrap();
    assert_eq!(log.apply_retention(NOW + 5000, Offset(1)).unwrap().segments, 0);
    assert_eq!(log.apply_retention(NOW + 5001, Offset(1)).unwrap().segments, 1);
}

#[test]
fn truncation_cuts_segments_batches_producers_and_epochs() {
    let fixture = Fixture::new(&[("segment.bytes", "220"), ("index.interval.bytes", "0")]);
    let mut log = fixture.create();
    for n in 0..12 {
        log.append_as_leader(&idempotent(7, 0, n, 1), LeaderEpoch(n / 3), NOW).unwrap();
    }
    log.flush().unwrap();
    assert_eq!(log.truncate_to(Offset(20)).unwrap(), Offset(12));
    for to in [11, 7, 6, 3] {
        assert_eq!(log.truncate_to(Offset(to)).unwrap(), Offset(to));
        assert_eq!((log.end_offset(), log.recovery_point()), (Offset(to), Offset(to)));
        assert_eq!(log.epochs().latest().unwrap().0, LeaderEpoch((to as i32 - 1) / 3));
        let expected = to.min(5) as usize;
        let known = log.producers().iter().next().unwrap().1.batches().to_vec();
        assert_eq!((known.len(), known.last().unwrap().last_offset), (expected, Offset(to - 1)), "to {to}");
        assert_eq!(offsets(&read_all(&mut log, Offset(0), 150)), (0..to).collect::<Vec<_>>());
        let again = log.append_as_leader(&idempotent(7, 0, to as i32, 1), LeaderEpoch(9), NOW).unwrap();
        assert_eq!((again.base_offset, again.duplicate), (Offset(to), false));
    }
    drop(log);
    let (log, recovery) = fixture.recover(3);
    assert_eq!((log.end_offset(), recovery.truncated_bytes), (Offset(4), 0));
}

#[test]
fn a_batch_that_holds_the_offset_goes_as_a_whole() {
    let fixture = Fixture::new(&[]);
    let mut log = fixture.create();
    append(&mut log, &batch(4, NOW, 1));
    append(&mut log, &batch(4, NOW, 1));
    assert_eq!(log.truncate_to(Offset(6)).unwrap(), Offset(4));
}

#[test]
fn a_truncation_that_cuts_nothing_forgets_the_epoch_at_the_end() {
    let fixture = Fixture::new(&[]);
    let mut log = fixture.create();
    append(&mut log, &batch(4, NOW, 1));
    log.assign_epoch(LeaderEpoch(5));
    assert_eq!(log.epochs().latest(), Some((LeaderEpoch(5), Offset(4))));
    assert_eq!(log.truncate_to(Offset(4)).unwrap(), Offset(4));
    assert_eq!(log.epochs().latest(), Some((LeaderEpoch(0), Offset(0))), "KAFKA-10706");
}

/// A follower whose disk was full gave its replica up, and its whole node ended, because the checkpoint could not be written.
#[test]
fn a_truncation_needs_no_room_on_the_disk() {
    for to in [Offset(4), Offset(0)] {
        let fixture = Fixture::new(&[]);
        let mut log = fixture.create();
        let batches: Vec<_> = (0..6).map(|base| at(base, base as i32 / 2)).collect();
        follow(&mut log, &batches).unwrap();
        let unflushed = log.unflushed().unwrap();
        unflushed.sync().unwrap();
        log.flushed(&unflushed);
        // What the checkpoint is written to before it takes the old one's place is a disk that is always full.
        let temporary = fixture.path("leader-epoch-checkpoint.tmp");
        symlink("/dev/full", &temporary).unwrap();
        assert_eq!(log.truncate_to(to).unwrap(), to);
        let epochs = log.epochs().clone();
        assert_eq!(epochs.entries().len() as i64, to.0 / 2);
        follow(&mut log, &batches[to.0 as usize..5]).unwrap();
        drop(log);
        fs::remove_file(&temporary).unwrap();
        let (log, _) = fixture.recover(to.0);
        assert_eq!(log.end_offset(), Offset(5));
        assert_eq!(log.epochs().latest(), Some((LeaderEpoch(2), Offset(4))));
    }
}

#[test]
fn a_truncation_below_the_log_begins_anew_there() {
    let fixture = Fixture::new(&[SMALL, ("retention.ms", "5000")]);
    let mut log = ten(&fixture);
    log.apply_retention(NOW + 8001, Offset(10)).unwrap();
    assert_eq!(log.truncate_to(Offset(2)).unwrap(), Offset(2));
    assert_eq!((log.start_offset(), log.segments(), log.epochs().latest()), (Offset(2), 1, None));
    assert_eq!(append(&mut log, &batch(1, NOW, 1)).base_offset, Offset(2));
    drop(log);
    assert_eq!(fixture.recover(2).0.end_offset(), Offset(3));
}

#[test]
fn a_record_is_found_by_its_time() {
    let fixture = Fixture::new(&[SMALL, ("index.interval.bytes", "0")]);
    let mut log = fixture.create();
    assert_eq!(log.offset_for_timestamp(0).unwrap(), None);
    assert_eq!(log.max_timestamp_offset().unwrap(), None);
    for n in [0, 10, 5, 30, 20, 30, 40, 35, 50, 1] {
        append(&mut log, &batch(1, NOW + n, 30));
    }
    let mut builder = records::BatchBuilder::new(records::Compression::Gzip);
    for n in [2, 45, 60, 60] {
        builder.push(NOW + n, None, None, &[]);
    }
    append(&mut log, &builder.build());
    for reopened in [false, true] {
        if reopened {
            log.close().unwrap();
            log = fixture.open(OpenMode::Clean).0;
        }
        let mut at = |timestamp| log.offset_for_timestamp(timestamp).unwrap().map(|found| found.offset.0);
        assert_eq!(at(-5), Some(0));
        assert_eq!(at(NOW), Some(0));
        assert_eq!(at(NOW + 6), Some(1));
        assert_eq!(at(NOW + 11), Some(3));
        assert_eq!(at(NOW + 30), Some(3));
        assert_eq!(at(NOW + 31), Some(6));
        assert_eq!(at(NOW + 41), Some(8));
        assert_eq!(at(NOW + 51), Some(12), "inside a compressed batch");
        assert_eq!(at(NOW + 61), None);
        let newest = log.max_timestamp_offset().unwrap().unwrap();
        assert_eq!(
            (newest.timestamp, newest.offset, newest.leader_epoch),
            (NOW + 60, Offset(12), LeaderEpoch(0))
        );
    }
    log.advance_start(Offset(4));
    assert_eq!(log.offset_for_timestamp(NOW + 25).unwrap().unwrap().offset, Offset(5));
}

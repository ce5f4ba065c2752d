#![allow(clippy::unwrap_used)]

mod fixture;

use std::fs;

use commitlog::{LogError, OpenMode, Torn};
use domain::{LeaderEpoch, Offset, ProducerId};
use fixture::*;

/// What happens to the bytes of an index file.
type Damage = dyn Fn(&[u8]) -> Vec<u8>;

fn log_name(base: i64) -> String {
    format!("{base:020}.log")
}

/// Appends three batches with a producer and loses the log as a killed process does.
fn killed(fixture: &Fixture) -> Vec<usize> {
    let mut log = fixture.create();
    let mut ends = vec![0];
    for n in 0..3 {
        append(&mut log, &idempotent(5, 0, n * 2, 2));
        ends.push(log.size_bytes() as usize);
    }
    ends
}

#[test]
fn a_log_cut_at_any_byte_of_its_last_batch_keeps_the_others() {
    let fixture = Fixture::new(&[]);
    let ends = killed(&fixture);
    let whole = fs::read(fixture.path(&log_name(0))).unwrap();
    for cut in ends[2]..whole.len() {
        fs::write(fixture.path(&log_name(0)), &whole[..cut]).unwrap();
        let (mut log, recovery) = fixture.recover(0);
        assert_eq!(log.end_offset(), Offset(4), "cut at {cut}");
        assert_eq!(recovery.truncated_bytes as usize, cut - ends[2]);
        let torn = if cut == ends[2] { Torn::No } else { Torn::IncompleteFinalBatch };
        assert_eq!(recovery.torn, torn);
        assert_eq!(fs::metadata(fixture.path(&log_name(0))).unwrap().len() as usize, ends[2]);
        // What was cut may come again; what was not is a duplicate.
        assert!(append(&mut log, &idempotent(5, 0, 2, 2)).duplicate);
        assert_eq!(append(&mut log, &idempotent(5, 0, 4, 2)).base_offset, Offset(4));
        assert_eq!(offsets(&read_all(&mut log, Offset(0), 1000)), [0, 1, 2, 3, 4, 5]);
    }
}

#[test]
fn a_damaged_batch_above_the_recovery_point_is_cut_with_all_behind_it() {
    let fixture = Fixture::new(&[("segment.bytes", "220")]);
    let mut log = fixture.create();
    for _ in 0..6 {
        append(&mut log, &batch(1, NOW, 30));
    }
    assert_eq!(log.segments(), 3);
    drop(log);
    let mut bytes = fs::read(fixture.path(&log_name(2))).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(fixture.path(&log_name(2)), &bytes).unwrap();
    let (mut log, recovery) = fixture.recover(2);
    assert!(matches!(recovery.torn, Torn::Damaged { .. }));
    assert_eq!((log.end_offset(), log.segments()), (Offset(3), 2));
    assert_eq!(recovery.truncated_bytes as usize, bytes.len() / 2 + bytes.len());
    assert_eq!(append(&mut log, &batch(1, NOW, 30)).base_offset, Offset(3));
    assert_eq!(offsets(&read_all(&mut log, Offset(0), 1000)), [0, 1, 2, 3]);
}

#[test]
fn a_damaged_batch_below_the_recovery_point_is_corruption_and_nothing_is_cut() {
    let fixture = Fixture::new(&[]);
    let ends = killed(&fixture);
    let mut bytes = fs::read(fixture.path(&log_name(0))).unwrap();
    bytes[ends[1] + 16] = 9;
    fs::write(fixture.path(&log_name(0)), &bytes).unwrap();
    let refused = fixture.try_open(OpenMode::Recover { recovery_point: Offset(6) });
    let Err(LogError::Corrupt { position, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(position as usize, ends[1]);
    assert_eq!(fs::read(fixture.path(&log_name(0))).unwrap(), bytes);
}

#[test]
fn a_log_that_ends_below_its_recovery_point_is_not_opened() {
    let fixture = Fixture::new(&[]);
    let ends = killed(&fixture);
    let whole = fs::read(fixture.path(&log_name(0))).unwrap();
    fs::write(fixture.path(&log_name(0)), &whole[..ends[2]]).unwrap();
    let refused = fixture.try_open(OpenMode::Recover { recovery_point: Offset(6) });
    assert!(matches!(refused, Err(LogError::Shortened { end: Offset(4), .. })), "{refused:?}");
    fs::remove_file(fixture.path(&log_name(0))).unwrap();
    let refused = fixture.try_open(OpenMode::Recover { recovery_point: Offset(6) });
    assert!(matches!(refused, Err(LogError::Shortened { end: Offset(0), .. })), "{refused:?}");
}

#[test]
fn a_tail_of_zeros_is_cut() {
    let fixture = Fixture::new(&[]);
    killed(&fixture);
    let whole = fs::read(fixture.path(&log_name(0))).unwrap();
    fs::write(fixture.path(&log_name(0)), [&whole[..], &[0; 5000]].concat()).unwrap();
    let (log, recovery) = fixture.recover(0);
    assert_eq!((log.end_offset(), recovery.truncated_bytes), (Offset(6), 5000));
    assert!(matches!(recovery.torn, Torn::Damaged { .. }));
}

#[test]
fn recovery_scans_only_above_the_recovery_point() {
    let fixture = Fixture::new(&[("segment.bytes", "300")]);
    let mut log = fixture.create();
    for _ in 0..10 {
        append(&mut log, &batch(1, NOW, 30));
    }
    let point = log.flush().unwrap();
    assert_eq!((point, log.recovery_point()), (Offset(10), Offset(10)));
    for _ in 0..4 {
        append(&mut log, &batch(1, NOW, 30));
    }
    drop(log);
    let (log, recovery) = fixture.recover(point.0);
    assert_eq!((log.end_offset(), recovery.batches_scanned), (Offset(14), 4));
    assert_eq!(log.recovery_point(), point, "scanned is not flushed");
}

#[test]
fn a_clean_close_is_opened_without_a_scan() {
    let fixture = Fixture::new(&[("segment.bytes", "300"), ("index.interval.bytes", "0")]);
    let mut log = fixture.create();
    log.assign_epoch(LeaderEpoch(3));
    for n in 0..10 {
        log.append_as_leader(&idempotent(n % 3, 0, n as i32 / 3, 1), LeaderEpoch(3), NOW).unwrap();
    }
    let (producers, epochs) = (log.producers().clone(), log.epochs().clone());
    assert_eq!(log.close().unwrap(), Offset(10));
    let (mut log, recovery) = fixture.open(OpenMode::Clean);
    assert_eq!(recovery, Default::default());
    assert_eq!((log.end_offset(), log.recovery_point()), (Offset(10), Offset(10)));
    assert_eq!((log.producers(), log.epochs(), log.topic_id()), (&producers, &epochs, TOPIC));
    assert_eq!(offsets(&read_all(&mut log, Offset(0), 200)), (0..10).collect::<Vec<_>>());
    let before = fixture.names();
    assert_eq!(log.close().unwrap(), Offset(10));
    assert_eq!(fixture.names(), before, "nothing happened, nothing is written");
}

#[test]
fn indexes_are_rebuilt_when_they_are_missing_or_wrong() {
    let fixture = Fixture::new(&[("segment.bytes", "3000"), ("index.interval.bytes", "100")]);
    let mut log = fixture.create();
    for n in 0..100 {
        append(&mut log, &batch(1, NOW + n, 30));
    }
    log.close().unwrap();
    let indexes: Vec<_> = fixture.names().into_iter().filter(|name| name.ends_with("index")).collect();
    assert!(indexes.len() >= 8);
    let right: Vec<_> = indexes.iter().map(|name| fs::read(fixture.path(name)).unwrap()).collect();
    let damage: [&Damage; 5] = [
        &|_| Vec::new(),
        &|bytes| bytes[..bytes.len() - 3].to_vec(),
        &|bytes| [bytes, &[0; 24]].concat(),
        &|bytes| bytes.iter().map(|b| b ^ 0x11).collect(),
        &|bytes| bytes.iter().rev().copied().collect(),
    ];
    for (case, damage) in damage.iter().enumerate() {
        for mode in [
            OpenMode::Recover { recovery_point: Offset(0) },
            OpenMode::Recover { recovery_point: Offset(100) },
            OpenMode::Clean,
        ] {
            for (name, bytes) in indexes.iter().zip(&right) {
                fs::write(fixture.path(name), damage(bytes)).unwrap();
            }
            let (mut log, _) = fixture.open(mode);
            for from in (0..100).rev() {
                for max in [1, 500, 5000] {
                    let slice = log.read(Offset(from), max, Offset(98), true).unwrap();
                    assert_eq!(
                        slice.map(|slice| headers_of(&slice)[0].base_offset),
                        (from < 98).then_some(Offset(from)),
                        "case {case} {mode:?}"
                    );
                }
            }
            if mode == (OpenMode::Recover { recovery_point: Offset(0) }) {
                log.close().unwrap();
                for (name, bytes) in indexes.iter().zip(&right) {
                    assert_eq!(&fs::read(fixture.path(name)).unwrap(), bytes, "case {case} {name}");
                }
            }
        }
    }
    for name in &indexes {
        fs::remove_file(fixture.path(name)).unwrap();
    }
    let (mut log, _) = fixture.open(OpenMode::Clean);
    assert_eq!(log.offset_for_timestamp(NOW + 42).unwrap().unwrap().offset, Offset(42));
    assert_eq!(offsets(&read_all(&mut log, Offset(0), 500)).len(), 100);
}

#[test]
fn all_five_batches_of_a_producer_are_known_after_a_crash_and_after_a_roll() {
    let fixture = Fixture::new(&[("segment.bytes", "500")]);
    let mut log = fixture.create();
    for n in 0..20 {
        append(&mut log, &idempotent(5, 1, n, 1));
    }
    let before: Vec<_> = log.producers().get(ProducerId(5)).unwrap().batches().to_vec();
    assert_eq!((before.len(), log.segments() > 2), (5, true));
    drop(log);
    let check = |mode| {
        let (mut log, _) = fixture.open(mode);
        assert_eq!(log.producers().get(ProducerId(5)).unwrap().batches(), before);
        assert_eq!(append(&mut log, &idempotent(5, 1, 15, 1)).base_offset, Offset(15));
    };
    check(OpenMode::Recover { recovery_point: Offset(0) });
    for name in fixture.names().iter().filter(|name| name.contains("snapshot")) {
        fs::write(fixture.path(name), b"garbage").unwrap();
    }
    check(OpenMode::Recover { recovery_point: Offset(20) });
    for name in fixture.names().iter().filter(|name| name.contains("snapshot")) {
        fs::remove_file(fixture.path(name)).unwrap();
    }
    check(OpenMode::Clean);
}

#[test]
fn epochs_are_rebuilt_from_the_batches() {
    let fixture = Fixture::new(&[("segment.bytes", "200")]);
    let mut log = fixture.create();
    for epoch in [1, 1, 4, 6, 6] {
        log.append_as_leader(&batch(1, NOW, 30), LeaderEpoch(epoch), NOW).unwrap();
    }
    let epochs = log.epochs().clone();
    log.close().unwrap();
    assert_eq!(fs::read_to_string(fixture.path("leader-epoch-checkpoint")).unwrap(), "0\n3\n1 0\n4 2\n6 3\n");
    for content in [None, Some(""), Some("0\n1\nx y\n")] {
        match content {
            Some(content) => fs::write(fixture.path("leader-epoch-checkpoint"), content).unwrap(),
            None => fs::remove_file(fixture.path("leader-epoch-checkpoint")).unwrap(),
        }
        assert_eq!(fixture.open(OpenMode::Clean).0.epochs(), &epochs);
    }
}

#[test]
fn a_folder_without_metadata_is_refused_and_one_without_records_made_again() {
    let fixture = Fixture::new(&[]);
    fs::create_dir(fixture.dir()).unwrap();
    let refused = fixture.try_open(OpenMode::Clean).unwrap_err();
    assert_eq!(refused.to_string(), format!("{}: is missing", fixture.path("partition.metadata").display()));
    append(&mut fixture.create(), &batch(1, NOW, 1));
    let again = commitlog::Log::create(fixture.dir(), TOPIC, fixture.config.clone(), fixture.files.clone());
    assert!(matches!(again, Err(LogError::Io { .. })), "there are records");
}

#[test]
fn a_log_start_above_everything_begins_a_new_log_there() {
    let fixture = Fixture::new(&[]);
    killed(&fixture);
    let mode = OpenMode::Recover { recovery_point: Offset(0) };
    let files = fixture.files.clone();
    let (mut log, _) =
        commitlog::Log::open(fixture.dir(), fixture.config.clone(), files, mode, Offset(50), NOW).unwrap();
    assert_eq!((log.start_offset(), log.end_offset()), (Offset(50), Offset(50)));
    assert_eq!(append(&mut log, &batch(1, NOW, 1)).base_offset, Offset(50));
}

#[test]
fn a_flush_that_a_truncation_overtook_does_not_count() {
    let fixture = Fixture::new(&[]);
    let mut log = fixture.create();
    append(&mut log, &batch(4, NOW, 1));
    append(&mut log, &batch(4, NOW, 1));
    let unflushed = log.unflushed().unwrap();
    assert_eq!(unflushed.end(), Offset(8));
    unflushed.sync().unwrap();
    log.truncate_to(Offset(4)).unwrap();
    append(&mut log, &batch(4, NOW, 1));
    assert_eq!(log.flushed(&unflushed), Offset(0));
    assert_eq!(log.flush().unwrap(), Offset(8));
}

/// A follower that was killed twice within seconds knew the epoch of its last record no more: it led, and told a former leader
/// that a record of its own was everybody's.
#[test]
fn an_epoch_survives_a_crash_right_after_a_recovery() {
    let fixture = Fixture::new(&[]);
    let mut log = fixture.create();
    follow(&mut log, &[at(0, 0), at(1, 0)]).unwrap();
    let unflushed = log.unflushed().unwrap();
    unflushed.sync().unwrap();
    let recovery_point = log.flushed(&unflushed);
    follow(&mut log, &[at(2, 1)]).unwrap();
    drop(log);
    let (mut log, _) = fixture.recover(recovery_point.0);
    log.file_system_synced();
    let recovery_point = log.recovery_point();
    assert_eq!(recovery_point, Offset(3));
    let epochs = log.epochs().clone();
    drop(log);
    let (log, _) = fixture.recover(recovery_point.0);
    assert_eq!(log.epochs(), &epochs);
    assert_eq!(epochs.entries(), [(LeaderEpoch(0), Offset(0)), (LeaderEpoch(1), Offset(2))]);
}

//! A follower's log against its leader's.

#![allow(clippy::unwrap_used)]

mod fixture;

use std::{fs, os::unix::fs::symlink};

use bytes::Bytes;
use commitlog::{AppendError, AppendedAsFollower, Log};
use domain::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};
use fixture::*;
use proptest::{prelude::*, sample::Index};
use records::{BatchBuilder, BatchError, Compression, check_batches};

const SMALL: (&str, &str) = ("segment.bytes", "220");

/// The names and bytes of a log's files.
fn files(fixture: &Fixture, wanted: impl Fn(&str) -> bool) -> Vec<(String, Vec<u8>)> {
    let names = fixture.names().into_iter().filter(|name| wanted(name));
    names.map(|name| (name.clone(), fs::read(fixture.path(&name)).unwrap())).collect()
}

fn is_log(name: &str) -> bool {
    name.ends_with(".log")
}

#[test]
fn the_leaders_batches_are_kept_as_they_are() {
    let stamped = Fixture::new(&[("message.timestamp.type", "LogAppendTime")]);
    let mut leader = stamped.create();
    leader.append_as_leader(&batch(3, 5, 10), LeaderEpoch(2), NOW).unwrap();
    let slice = leader.read(Offset(0), 1000, Offset(3), true).unwrap().unwrap();
    let mut marker = BatchBuilder::new(Compression::None);
    marker.producer(ProducerId(7), ProducerEpoch(1), -1).transactional(true).control(true);
    marker.push(NOW, Some(&[0, 0, 0, 1]), Some(&[0; 6]), &[]);
    let batches = [bytes_of(&slice), placed(&marker.build(), 3, 4)];
    let fixture = Fixture::new(&[("max.message.bytes", "1")]);
    let mut log = fixture.create();
    let appended = follow(&mut log, &batches).unwrap();
    let bytes = batches.concat();
    assert_eq!(appended, AppendedAsFollower { end: Offset(4), batches: 2, bytes: bytes.len() });
    assert_eq!(fs::read(fixture.path(&format!("{:020}.log", 0))).unwrap(), bytes);
    assert_eq!(log.epochs().entries(), [(LeaderEpoch(2), Offset(0)), (LeaderEpoch(4), Offset(3))]);
    assert_eq!(log.producers().get(ProducerId(7)).unwrap().epoch(), ProducerEpoch(1));
}

#[test]
fn a_batch_that_the_response_cuts_off_is_left_out_unless_it_is_the_only_one() {
    let fixture = Fixture::new(&[]);
    let mut log = fixture.create();
    let (first, second) = (at(0, 0), at(1, 0));
    for cut in 0..second.len() {
        let appended = follow(&mut log, &[first.clone(), second.slice(..cut)]).unwrap();
        assert_eq!(appended, AppendedAsFollower { end: Offset(1), batches: 1, bytes: first.len() });
        assert_eq!(log.size_bytes() as usize, first.len());
        let alone = log.append_as_follower(&second.slice(..cut), NOW).unwrap_err();
        let needed = if cut < 61 { 61 } else { second.len() };
        assert_eq!(alone.to_string(), format!("batch is truncated: {cut} of {needed} bytes are there"));
        assert_eq!((log.end_offset(), log.truncate_to(Offset(0)).unwrap()), (Offset(1), Offset(0)));
    }
}

#[test]
fn one_bad_batch_keeps_all_of_its_response_out() {
    let fixture = Fixture::new(&[SMALL]);
    let mut log = fixture.create();
    follow(&mut log, &[at(0, 3), at(1, 3)]).unwrap();
    let before = (log.epochs().clone(), files(&fixture, |_| true));
    let mut hurt = at(4, 3).to_vec();
    *hurt.last_mut().unwrap() ^= 1;
    let mut refuse = |bad: &[Bytes], reason: &str| {
        for count in 0..3 {
            let good = (2..2 + count).map(|base| at(base, 3));
            let batches: Vec<_> = good.chain(bad.iter().cloned()).chain([at(99, 9)]).collect();
            let error = follow(&mut log, &batches).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
            assert_eq!(log.end_offset(), Offset(2));
            assert_eq!((log.epochs().clone(), files(&fixture, |_| true)), before, "{reason}");
        }
    };
    refuse(&[Bytes::from(hurt)], "crc is");
    refuse(&[at(1, 3)], "batch at offset 1 overlaps the log, which ends at ");
    refuse(&[at(5, 3), at(5, 3)], "batch at offset 5 overlaps the log, which ends at 6");
    refuse(&[at(5, 2)], "leader epoch 2 is stale, the log is at 3");
    refuse(&[at(5, 4), at(6, 3)], "leader epoch 3 is stale, the log is at 4");
    let empty = log.append_as_follower(&Bytes::new(), NOW);
    assert!(matches!(empty, Err(AppendError::Batch(BatchError::Truncated { needed: 61, there: 0 }))));
}

#[test]
fn a_full_disk_leaves_the_whole_batches_before_it() {
    let [leaders, fixture] = [(); 2].map(|()| Fixture::new(&[SMALL]));
    let (mut leader, mut log) = (leaders.create(), fixture.create());
    let batches: Vec<_> = (0..6).map(|base| at(base, base as i32 / 4)).collect();
    follow(&mut leader, &batches).unwrap();
    assert_eq!(leader.segments(), 3);
    // The second segment's file is a disk that is always full.
    let second = fixture.path(&format!("{:020}.log", 2));
    symlink("/dev/full", &second).unwrap();
    let full = follow(&mut log, &batches).unwrap_err();
    assert!(matches!(&full, AppendError::Log(error) if error.is_no_space()), "{full}");
    assert_eq!((log.end_offset(), log.segments()), (Offset(2), 2));
    assert_eq!(offsets(&read_all(&mut log, Offset(0), 100)), [0, 1]);
    assert_eq!(log.epochs().latest(), Some((LeaderEpoch(0), Offset(0))));
    drop(log);
    fs::remove_file(&second).unwrap();
    let (mut log, recovery) = fixture.recover(2);
    assert_eq!((log.end_offset(), recovery.truncated_bytes), (Offset(2), 0));
    follow(&mut log, &batches[2..]).unwrap();
    assert_eq!(files(&fixture, is_log), files(&leaders, is_log));
}

#[test]
fn a_segment_that_cannot_be_begun_leaves_the_log_as_it_was() {
    // What stands in the way of each file that a roll writes.
    for (obstacle, n) in
        [("log", 2), ("index", 0), ("timeindex", 0), ("snapshot", 2), ("snapshot-batches", 2)]
    {
        let fixture = Fixture::new(&[("segment.bytes", "300")]);
        let mut log = fixture.create();
        let batches: Vec<_> =
            (0..4).map(|n| placed(&idempotent(5, 0, n * 9, 9), (n * 9).into(), 0)).collect();
        follow(&mut log, &batches[..2]).unwrap();
        let (end, size) = (log.end_offset(), log.size_bytes());
        let obstacle = fixture.path(&format!("{:020}.{obstacle}", n * 9));
        fs::create_dir(&obstacle).unwrap();
        for _ in 0..2 {
            let failed = follow(&mut log, &batches[2..]).unwrap_err();
            assert!(matches!(failed, AppendError::Log(_)), "{failed}");
            assert_eq!((log.end_offset(), log.size_bytes(), log.segments()), (end, size, 1));
            assert_eq!(offsets(&read_all(&mut log, Offset(0), 100)).len(), 18);
        }
        let index = fixture.path(&format!("{:020}.index", 0));
        assert!(obstacle.extension().unwrap() != "timeindex" || !index.is_file(), "one without the other");
        fs::remove_dir(&obstacle).unwrap();
        drop(log);
        let mut log = fixture.recover(0).0;
        assert_eq!(log.producers().get(ProducerId(5)).unwrap().batches().len(), 2);
        assert_eq!(follow(&mut log, &batches[2..]).unwrap().end, Offset(36));
        assert_eq!(log.producers().get(ProducerId(5)).unwrap().batches().len(), 4);
    }
}

#[test]
fn a_follower_reads_above_the_high_watermark_up_to_the_end() {
    let fixture = Fixture::new(&[("index.interval.bytes", "100000")]);
    let mut log = fixture.create();
    let mut fetched = Offset(0);
    for round in 0..30 {
        for _ in 0..round {
            append(&mut log, &batch(2, NOW, 30));
        }
        let slice = log.read(fetched, 1 << 20, log.end_offset(), true).unwrap();
        assert_eq!(slice.as_ref().map(|slice| slice.base_offset), (round > 0).then_some(fetched));
        if let Some(slice) = slice {
            assert_eq!(headers_of(&slice).len(), round);
            fetched = slice.next_offset;
        }
        assert_eq!(fetched, log.end_offset());
        assert!(log.read(fetched, 1 << 20, log.end_offset(), true).unwrap().is_none());
    }
}

#[test]
fn the_leaders_new_start_takes_the_segments_below_it_out_at_once() {
    let fixture = Fixture::new(&[SMALL, ("file.delete.delay.ms", "0")]);
    let mut log = fixture.create();
    follow(&mut log, &(0..10).map(|base| at(base, base as i32 / 4)).collect::<Vec<_>>()).unwrap();
    let segment_bytes = log.size_bytes() / 5;
    let retained = log.follow_start(Offset(5), NOW).unwrap();
    assert_eq!((retained.segments, retained.bytes, retained.log_start), (2, 2 * segment_bytes, Offset(5)));
    assert_eq!(log.remove_deleted(NOW).unwrap(), 2);
    assert_eq!(log.follow_start(Offset(3), NOW).unwrap().log_start, Offset(5), "never back");
    assert_eq!(offsets(&read_all(&mut log, Offset(5), 1000)), [5, 6, 7, 8, 9]);
    assert_eq!(log.epochs().entries(), [(LeaderEpoch(1), Offset(4)), (LeaderEpoch(2), Offset(8))]);
    let retained = log.follow_start(Offset(50), NOW).unwrap();
    assert_eq!((retained.segments, retained.log_start), (2, Offset(10)), "not past the end");
    assert_eq!((log.segments(), log.end_offset()), (1, Offset(10)));
    assert_eq!(follow(&mut log, &[at(50, 2)]).unwrap().end, Offset(51));
}

#[test]
fn a_log_begun_anew_survives_a_crash_on_the_way() {
    let fixture = Fixture::new(&[SMALL]);
    let mut log = fixture.create();
    follow(&mut log, &(0..6).map(|base| at(base, 1)).collect::<Vec<_>>()).unwrap();
    log.flush().unwrap();
    let old = files(&fixture, |_| true);
    log.begin_anew_at(Offset(40), Some(LeaderEpoch(0))).unwrap();
    assert_eq!((log.start_offset(), log.end_offset(), log.size_bytes()), (Offset(40), Offset(40), 0));
    assert_eq!((log.recovery_point(), log.epochs().before(Offset(40))), (Offset(40), Some(LeaderEpoch(0))));
    drop(log);
    assert_eq!(fixture.recover(6).0.end_offset(), Offset(40));
    // Files go one after the other: a crash leaves any number of the last ones.
    for left in 0..old.len() {
        for (name, content) in &old[left..] {
            fs::write(fixture.path(name), content).unwrap();
        }
        let (mut log, _) = fixture.recover(6);
        assert_eq!(log.end_offset(), Offset(40), "{left}");
        log.follow_start(Offset(40), NOW).unwrap();
        assert_eq!((log.start_offset(), log.size_bytes()), (Offset(40), 0));
        log.begin_anew_at(Offset(40), Some(LeaderEpoch(0))).unwrap();
        assert_eq!(follow(&mut log, &[at(40, 0)]).unwrap().end, Offset(41));
        log.begin_anew_at(Offset(40), Some(LeaderEpoch(0))).unwrap();
    }
}

#[derive(Clone, Debug)]
enum LeaderStep {
    /// Sizes, codec, by how much time moves, producer.
    Append(Vec<usize>, usize, i64, i64),
    NewEpoch,
    /// Bytes of each fetch, how many are appended at once, and where they are cut.
    Fetch(u32, usize, Index),
}

fn any_leader_step() -> impl Strategy<Value = LeaderStep> {
    let sizes = proptest::collection::vec(0..60usize, 1..5);
    prop_oneof![
        8 => (sizes, 0..5usize, -20..60i64, -1..3i64).prop_map(|(s, codec, time, id)| LeaderStep::Append(s, codec, time, id)),
        1 => Just(LeaderStep::NewEpoch),
        3 => (1..1500u32, 1..5usize, any::<Index>()).prop_map(|(max, n, cut)| LeaderStep::Fetch(max, n, cut)),
    ]
}

/// Appends what the leader has, cut as a response would be.
fn fetch(leader: &mut Log, follower: &mut Log, max: u32, slices: usize, cut: Option<Index>) {
    let (mut from, mut bytes) = (follower.end_offset(), Vec::new());
    for _ in 0..slices {
        let Some(slice) = leader.read(from, max, leader.end_offset(), true).unwrap() else { break };
        bytes.extend_from_slice(&bytes_of(&slice));
        from = slice.next_offset;
    }
    if bytes.is_empty() {
        return;
    }
    bytes.truncate(cut.map_or(bytes.len(), |cut| cut.index(bytes.len() + 1)));
    let whole = check_batches(&bytes).filter_map(Result::ok).last();
    let end = follower.end_offset();
    match (follower.append_as_follower(&Bytes::from(bytes), NOW), whole) {
        (Ok(appended), Some((range, header))) => {
            assert_eq!((appended.end, appended.bytes), (header.next_offset(), range.end));
        }
        (Err(AppendError::Batch(BatchError::Truncated { .. })), None) => {
            assert_eq!(follower.end_offset(), end)
        }
        other => panic!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn a_followers_files_are_its_leaders_whatever_the_cuts(steps in proptest::collection::vec(any_leader_step(), 1..80)) {
        let settings = [("segment.bytes", "700"), ("index.interval.bytes", "150"), ("segment.ms", "150")];
        let [leaders, followers] = [(); 2].map(|()| Fixture::new(&settings));
        let (mut leader, mut follower) = (leaders.create(), followers.create());
        let (mut clock, mut epoch, mut sequences) = (NOW, 0, [0; 3]);
        for one in steps {
            match one {
                LeaderStep::Append(sizes, codec, time, producer) => {
                    clock += time;
                    let mut builder = BatchBuilder::new(Compression::ALL[codec]);
                    for size in &sizes {
                        builder.push(clock, None, Some(&vec![clock as u8; *size]), &[]);
                    }
                    if let Some(next) = sequences.get_mut(producer as usize) {
                        builder.producer(ProducerId(producer), ProducerEpoch(0), *next);
                        *next += sizes.len() as i32;
                    }
                    leader.append_as_leader(&builder.build(), LeaderEpoch(epoch), NOW).unwrap();
                }
                LeaderStep::NewEpoch => {
                    epoch += 1;
                    leader.assign_epoch(LeaderEpoch(epoch));
                }
                LeaderStep::Fetch(max, slices, cut) => fetch(&mut leader, &mut follower, max, slices, Some(cut)),
            }
        }
        while follower.end_offset() < leader.end_offset() {
            fetch(&mut leader, &mut follower, 1000, 3, None);
        }
        prop_assert_eq!(files(&followers, is_log), files(&leaders, is_log));
        prop_assert_eq!(follower.producers(), leader.producers());
        // Nothing tells a follower of an epoch without records.
        let mut epochs = leader.epochs().clone();
        let with_empty = epochs.truncate_from_end(leader.end_offset());
        prop_assert_eq!(follower.epochs(), &epochs);
        leader.close().unwrap();
        follower.close().unwrap();
        let wanted = |name: &str| !with_empty || name != "leader-epoch-checkpoint";
        prop_assert_eq!(files(&followers, wanted), files(&leaders, wanted));
    }
}

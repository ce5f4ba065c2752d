#![allow(clippy::unwrap_used)]

mod fixture;

use std::fs;

use commitlog::{Log, LogError, Torn};
use domain::{LeaderEpoch, Offset};
use fixture::*;

/// The partition's leader epoch.
const NEWEST: LeaderEpoch = LeaderEpoch(7);
/// Where in a batch its base offset's and its leader epoch's last bytes stand.
const BASE_OFFSET_AT: usize = 7;
const LEADER_EPOCH_AT: usize = 15;

fn scrub_all(log: &mut Log) -> Result<u64, LogError> {
    let (mut next, mut bytes) = (log.start_offset(), 0);
    while next < log.end_offset() {
        let scrubbed = log.scrub(next, 100, NEWEST)?;
        assert!(scrubbed.next > next);
        (next, bytes) = (scrubbed.next, bytes + scrubbed.bytes);
    }
    Ok(bytes)
}

/// Recovery trusts the records of batches below the recovery point, so a flipped bit in one went on being served.
#[test]
fn a_bit_that_flipped_below_the_recovery_point_is_found_wherever_it_is() {
    let fixture = Fixture::new(&[("segment.bytes", "220")]);
    let mut log = fixture.create();
    for _ in 0..6 {
        append(&mut log, &batch(1, NOW, 30));
    }
    log.flush().unwrap();
    assert_eq!(log.segments(), 3);
    assert_eq!(scrub_all(&mut log).unwrap(), log.size_bytes());
    drop(log);
    for base in [0, 2, 4] {
        let path = fixture.path(&format!("{base:020}.log"));
        let whole = fs::read(&path).unwrap();
        let mut bytes = whole.clone();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, &bytes).unwrap();
        let (mut log, recovery) = fixture.recover(6);
        assert_eq!((log.end_offset(), recovery.truncated_bytes), (Offset(6), 0), "recovery does not see it");
        let found = scrub_all(&mut log);
        assert!(matches!(&found, Err(LogError::Corrupt { path: named, .. }) if *named == path), "{found:?}");
        drop(log);
        fs::write(&path, &whole).unwrap();
    }
}

/// Three batches of epoch 7, the first `flushed` of which were.
fn three_batches(flushed: i64) -> (Fixture, Log) {
    let fixture = Fixture::new(&[]);
    let mut log = fixture.create();
    for n in 1..=3 {
        log.append_as_leader(&batch(1, NOW, 30), NEWEST, NOW).unwrap();
        if n == flushed {
            log.flush().unwrap();
        }
    }
    (fixture, log)
}

/// Flips a bit in the byte `at` of the `n`th of the three batches.
fn flip(fixture: &Fixture, n: usize, at: usize, bit: u8) {
    let path = fixture.path("00000000000000000000.log");
    let mut bytes = fs::read(&path).unwrap();
    let batch_bytes = bytes.len() / 3;
    bytes[n * batch_bytes + at] ^= bit;
    fs::write(&path, &bytes).unwrap();
}

fn is_damage(found: &Result<u64, LogError>, field: &str) -> bool {
    matches!(found, Err(LogError::Corrupt { reason, .. }) if reason.contains(field))
}

/// A fault run ended with a replica that held a batch of epoch 16391 where the others had epoch 7, and nobody had noticed.
#[test]
fn a_leader_epoch_that_flipped_is_found_though_no_checksum_covers_it() {
    for (n, bit) in [(0, 0x40), (1, 0x40), (2, 0x40), (2, 0x04)] {
        let (fixture, mut log) = three_batches(3);
        assert_eq!(scrub_all(&mut log).unwrap(), log.size_bytes());
        flip(&fixture, n, LEADER_EPOCH_AT, bit);
        let found = scrub_all(&mut log);
        assert!(is_damage(&found, "leader epoch"), "{n} {bit:#x}: {found:?}");
    }
}

#[test]
fn a_base_offset_that_flipped_is_found_where_it_meets_another() {
    for (n, bit) in [(1, 1), (2, 1), (2, 4)] {
        let (fixture, mut log) = three_batches(3);
        flip(&fixture, n, BASE_OFFSET_AT, bit);
        let found = scrub_all(&mut log);
        assert!(is_damage(&found, "base offset"), "{n} {bit}: {found:?}");
    }
}

/// Where the epochs would be learnt from it, all that came before would seem to be of an older one.
#[test]
fn a_leader_epoch_that_falls_where_a_segment_begins_ends_what_a_crash_left() {
    let fixture = Fixture::new(&[("segment.bytes", "220")]);
    let mut log = fixture.create();
    (0..6).for_each(|_| _ = log.append_as_leader(&batch(1, NOW, 30), NEWEST, NOW).unwrap());
    drop(log);
    let path = fixture.path("00000000000000000002.log");
    let mut bytes = fs::read(&path).unwrap();
    bytes[LEADER_EPOCH_AT] ^= 4;
    fs::write(&path, &bytes).unwrap();
    let (mut log, recovery) = fixture.recover(0);
    assert!(matches!(&recovery.torn, Torn::Damaged { reason } if reason.contains("leader epoch")));
    assert_eq!((log.end_offset(), log.epochs().entries()), (Offset(2), &[(NEWEST, Offset(0))][..]));
    scrub_all(&mut log).unwrap();
}

#[test]
fn a_leader_epoch_that_falls_ends_what_a_crash_left() {
    let recovered = |n, bit| {
        let (fixture, log) = three_batches(1);
        drop(log);
        flip(&fixture, n, LEADER_EPOCH_AT, bit);
        let (log, recovery) = fixture.recover(1);
        assert!(matches!(&recovery.torn, Torn::Damaged { reason } if reason.contains("leader epoch")));
        assert_eq!(log.end_offset(), Offset(2));
        (fixture, log)
    };
    let (_fixture, mut log) = recovered(2, 0x04);
    scrub_all(&mut log).unwrap();
    // One that is too high ends before the next one, and a scrub finds it by the partition's own epoch.
    let (_fixture, mut log) = recovered(1, 0x40);
    assert_eq!(log.epochs().first_above(NEWEST), Some(Offset(1)));
    let found = scrub_all(&mut log);
    assert!(is_damage(&found, "leader epoch"), "{found:?}");
}

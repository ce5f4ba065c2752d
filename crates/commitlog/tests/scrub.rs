#![allow(clippy::unwrap_used)]

mod fixture;

use std::fs;

use commitlog::LogError;
use domain::Offset;
use fixture::*;

fn scrub_all(log: &mut commitlog::Log) -> Result<u64, LogError> {
    let (mut next, mut bytes) = (log.start_offset(), 0);
    while next < log.end_offset() {
        let scrubbed = log.scrub(next, 100)?;
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

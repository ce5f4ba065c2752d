//! The files have Kafka's bytes.
#![allow(clippy::unwrap_used)]

mod fixture;

use std::fs;

use fixture::*;

#[test]
fn an_index_names_the_last_offset_of_the_batch_at_a_position() {
    let fixture = Fixture::new(&[("index.interval.bytes", "150")]);
    let mut log = fixture.create();
    for n in 0..6 {
        append(&mut log, &batch(2, NOW + [0, 5, 3, 9, 9, 7][n], 30));
    }
    let size = log.size_bytes() as i32 / 6;
    assert!((75..150).contains(&size));
    log.roll(NOW).unwrap();
    // More than the interval lies behind after every second batch.
    let entries = [[5, 2 * size], [9, 4 * size]];
    let expected: Vec<u8> = entries.iter().flatten().flat_map(|field| field.to_be_bytes()).collect();
    assert_eq!(fs::read(fixture.path(&format!("{:020}.index", 0))).unwrap(), expected);
    // The newest time so far, with the last offset of the first batch that has it; and at the end, what is newer.
    let entries = [(NOW + 5, 3i32), (NOW + 9, 7)];
    let expected: Vec<u8> = entries
        .iter()
        .flat_map(|(time, offset)| [&time.to_be_bytes()[..], &offset.to_be_bytes()].concat())
        .collect();
    assert_eq!(fs::read(fixture.path(&format!("{:020}.timeindex", 0))).unwrap(), expected);
}

#[test]
fn a_rolled_log_has_kafkas_files() {
    let fixture = Fixture::new(&[]);
    let mut log = fixture.create();
    append(&mut log, &idempotent(3, 0, 0, 4));
    log.roll(NOW).unwrap();
    log.roll(NOW).unwrap();
    let expected = [
        "00000000000000000000.index",
        "00000000000000000000.log",
        "00000000000000000000.timeindex",
        "00000000000000000004.log",
        "00000000000000000004.snapshot",
        "00000000000000000004.snapshot-batches",
        "leader-epoch-checkpoint",
        "partition.metadata",
    ];
    assert_eq!(fixture.names(), expected);
}

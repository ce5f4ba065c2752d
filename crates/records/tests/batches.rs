//! Batches as a whole: golden bytes, round trips, hostile input.

use bytes::Bytes;
use domain::{Offset, ProducerEpoch, ProducerId};
use proptest::prelude::*;
use records::{
    BatchBuilder, BatchError, BatchHeader, Compression, HEADER_BYTES, check_batches, decode_records,
    patched_prefix,
};

type Parts = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(Vec<u8>, Option<Vec<u8>>)>);

fn build(codec: Compression, records: &[Parts]) -> Bytes {
    let mut builder = BatchBuilder::new(codec);
    builder.producer(ProducerId(7), ProducerEpoch(1), 40);
    for (timestamp, key, value, headers) in records {
        let headers: Vec<_> = headers.iter().map(|(k, v)| (k.as_slice(), v.as_deref())).collect();
        builder.push(*timestamp, key.as_deref(), value.as_deref(), &headers);
    }
    builder.build()
}

/// The batch with its CRC made right again, so that what lies behind it is reached.
fn with_right_crc(bytes: &[u8]) -> Bytes {
    let mut bytes = bytes.to_vec();
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &bytes[21..]) as u32;
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    Bytes::from(bytes)
}

fn any_records() -> impl Strategy<Value = Vec<Parts>> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..40);
    let headers = proptest::collection::vec((bytes(), proptest::option::of(bytes())), 0..3);
    let record = (0..1i64 << 45, proptest::option::of(bytes()), proptest::option::of(bytes()), headers);
    proptest::collection::vec(record, 1..20)
}

fn any_codec() -> impl Strategy<Value = Compression> {
    proptest::sample::select(&Compression::ALL[..])
}

#[test]
fn a_batch_has_the_bytes_that_kafka_gives_it() {
    let mut builder = BatchBuilder::new(Compression::None);
    builder.push(1000, Some(b"k"), Some(b"v1"), &[(b"h", Some(b"x"))]);
    builder.push(1002, None, Some(b""), &[]);
    assert_eq!(builder.encoded_bytes(), 82);
    let batch = builder.build();
    #[rustfmt::skip]
    let records = [
        // length 13, attributes, Δtime 0, Δoffset 0, key, value, one header
        26, 0, 0, 0, 2, b'k', 4, b'v', b'1', 2, 2, b'h', 2, b'x',
        // length 6, attributes, Δtime 2, Δoffset 1, null key, empty value, no header
        12, 0, 4, 2, 1, 0, 0,
    ];
    #[rustfmt::skip]
    let header = [
        0, 0, 0, 0, 0, 0, 0, 0, // base offset
        0, 0, 0, 70, // length after this field
        0xff, 0xff, 0xff, 0xff, // leader epoch: unknown
        2, // magic
    ];
    #[rustfmt::skip]
    let covered = [
        0, 0, // attributes
        0, 0, 0, 1, // last offset delta
        0, 0, 0, 0, 0, 0, 3, 0xe8, // base timestamp
        0, 0, 0, 0, 0, 0, 3, 0xea, // max timestamp
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, // producer id: none
        0xff, 0xff, // producer epoch
        0xff, 0xff, 0xff, 0xff, // base sequence
        0, 0, 0, 2, // records
    ];
    let crc =
        crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &[&covered[..], &records].concat()) as u32;
    assert_eq!(batch, [&header[..], &crc.to_be_bytes(), &covered, &records].concat());
}

#[test]
fn a_builder_goes_on_with_the_next_sequence() {
    let mut builder = BatchBuilder::new(Compression::None);
    builder.producer(ProducerId(7), ProducerEpoch(0), i32::MAX);
    builder.push(1, None, None, &[]).push(1, None, None, &[]);
    let first = BatchHeader::parse(&builder.build()).unwrap();
    assert_eq!((first.base_sequence, first.last_sequence()), (i32::MAX, 0));
    builder.push(2, None, None, &[]);
    let second = BatchHeader::parse(&builder.build()).unwrap();
    assert_eq!((second.base_sequence, second.record_count, second.base_timestamp), (1, 1, 2));
}

#[test]
fn a_count_that_the_bytes_cannot_hold_is_an_error_and_no_allocation() {
    let batch = build(Compression::None, &[(1, None, Some(b"v".to_vec()), vec![])]);
    let mut claims = batch.to_vec();
    claims[23..27].copy_from_slice(&(i32::MAX - 1).to_be_bytes());
    claims[57..61].copy_from_slice(&i32::MAX.to_be_bytes());
    let error = decode_records(&with_right_crc(&claims), 1000).unwrap_err();
    assert_eq!(error, BatchError::InvalidRecord { index: 1, reason: "its length is no varint" });
}

#[test]
fn bytes_behind_the_last_record_are_an_error() {
    let batch = build(Compression::None, &[(1, None, None, vec![]), (2, None, None, vec![])]);
    let mut claims = batch.to_vec();
    claims[57..61].copy_from_slice(&1i32.to_be_bytes());
    assert_eq!(decode_records(&with_right_crc(&claims), 1000), Err(BatchError::TrailingBytes(7)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn records_survive_every_codec(records in any_records(), codec in any_codec(), base in 0..1i64 << 50) {
        let batch = build(codec, &records);
        let header = BatchHeader::parse(&batch).unwrap();
        prop_assert_eq!(header.compression(), Ok(codec));
        let prefix = patched_prefix(&header, Offset(base), domain::LeaderEpoch(2));
        let batch = Bytes::from([&prefix, &batch[16..]].concat());
        let found = decode_records(&batch, 1 << 20).unwrap();
        prop_assert_eq!(found.len(), records.len());
        for (index, (found, (timestamp, key, value, headers))) in found.iter().zip(&records).enumerate() {
            prop_assert_eq!(found.offset, Offset(base + index as i64));
            prop_assert_eq!(found.timestamp, *timestamp);
            prop_assert_eq!(found.key.as_deref(), key.as_deref());
            prop_assert_eq!(found.value.as_deref(), value.as_deref());
            let found: Vec<_> = found.headers.iter().map(|(k, v)| (k.to_vec(), v.as_ref().map(|v| v.to_vec()))).collect();
            prop_assert_eq!(&found, headers);
        }
        prop_assert_eq!(header.max_timestamp, records.iter().map(|r| r.0).max().unwrap());
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        for found in check_batches(&bytes) {
            let _ = found;
        }
        let _ = decode_records(&Bytes::from(bytes), 1 << 16);
    }

    #[test]
    fn arbitrary_records_behind_a_good_header_never_panic(body: Vec<u8>, count in 0..50i32, codec in any_codec()) {
        let batch = build(codec, &[(1, None, None, vec![])]);
        let mut bytes = batch[..HEADER_BYTES].to_vec();
        bytes.extend(&body);
        let length = bytes.len() as i32 - 12;
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        bytes[23..27].copy_from_slice(&count.to_be_bytes());
        bytes[57..61].copy_from_slice(&count.to_be_bytes());
        let _ = decode_records(&with_right_crc(&bytes), 1 << 16);
    }

    #[test]
    fn mutated_batches_never_panic(
        records in any_records(),
        codec in any_codec(),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut: Option<prop::sample::Index>,
    ) {
        let mut bytes = build(codec, &records).to_vec();
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let plain = Bytes::from(bytes.clone());
        let _ = decode_records(&plain, 1 << 16);
        if bytes.len() > HEADER_BYTES {
            let length = bytes.len() as i32 - 12;
            bytes[8..12].copy_from_slice(&length.to_be_bytes());
            let _ = decode_records(&with_right_crc(&bytes), 1 << 16);
        }
    }
}

/// Records of seven bytes, of which a compressed batch of a megabyte may hold millions, would take gigabytes.
#[test]
fn records_that_take_much_more_than_their_bytes_count_against_the_cap() {
    let cap = 1 << 20;
    for codec in Compression::ALL {
        let mut builder = BatchBuilder::new(codec);
        (0..cap / 20).for_each(|_| _ = builder.push(0, None, None, &[]));
        let refused = Err(BatchError::DecompressedTooLarge { max: cap });
        let expected = if codec == Compression::None { Ok(cap / 20) } else { refused };
        let batch = builder.build();
        assert_eq!(decode_records(&batch, cap).map(|records| records.len()), expected, "{}", codec.name());

        let headers = vec![(&b""[..], None); cap / 20];
        builder.push(0, None, None, &headers);
        let decoded = decode_records(&builder.build(), cap);
        assert_eq!(decoded.is_ok(), codec == Compression::None, "{}", codec.name());
    }
}

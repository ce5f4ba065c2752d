//! Record batches: as they came, with their header made right so that what is behind it is reached, and with their records
//! compressed so that what is behind that is reached.

use bytes::Bytes;
use domain::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampType};
use records::{
    BatchBuilder, BatchHeader, Compression, HEADER_BYTES, LOG_OVERHEAD_BYTES, PREFIX_BYTES, Record,
    check_batches, decode_records, patched_prefix, rewritten, stamped_header,
};

use crate::cap::Cap;

/// What records may decompress to. The services' is 128 MiB, which would only make this slow.
pub const DECOMPRESSED_BYTES_MAX: usize = 1 << 20;

/// What a decoder needs for itself: lz4 has blocks of up to 4 MiB, and two buffers for them.
const CODEC_BYTES_MAX: usize = 10 << 20;

/// The decompressed bytes, which grow by doubling, and the records that are read from them, for which the same cap holds.
pub fn cap(input_bytes: usize) -> Cap {
    Cap {
        one_bytes: CODEC_BYTES_MAX,
        live_bytes: CODEC_BYTES_MAX + 8 * DECOMPRESSED_BYTES_MAX + 512 * input_bytes,
    }
}

pub fn run(input: &[u8]) {
    let Some((&how, rest)) = input.split_first() else { return };
    match how % 8 {
        0 => walk(&Bytes::copy_from_slice(rest)),
        1 => look_into(&mended(rest.to_vec())),
        2 => look_into(&mended(packed(how >> 3, rest))),
        3 => build(how >> 3, rest),
        codec => decompress(Compression::ALL[usize::from(codec - 3)], rest),
    }
}

fn walk(bytes: &Bytes) {
    for found in check_batches(bytes) {
        let Ok((range, header)) = found else { return };
        assert_eq!(range.len(), header.total_bytes());
        look_into(&bytes.slice(range));
    }
}

fn decompress(codec: Compression, bytes: &[u8]) {
    if let Ok(plain) = codec.decompress(bytes, DECOMPRESSED_BYTES_MAX) {
        assert!(plain.len() <= DECOMPRESSED_BYTES_MAX);
        let packed = codec.compress(&plain).expect("there is memory");
        assert_eq!(codec.decompress(&packed, DECOMPRESSED_BYTES_MAX).as_ref(), Ok(&plain));
    }
}

/// A header as it is, and the records behind it compressed.
fn packed(codec: u8, bytes: &[u8]) -> Vec<u8> {
    let codec = Compression::ALL[usize::from(codec) % Compression::ALL.len()];
    let (header, plain) = bytes.split_at(bytes.len().min(HEADER_BYTES));
    let mut out = header.to_vec();
    out.resize(HEADER_BYTES, 0);
    out[22] = out[22] & !7 | codec.code();
    out.extend_from_slice(&codec.compress(plain).expect("there is memory"));
    out
}

/// With the format, the length and the checksum that a batch of this content has.
fn mended(mut batch: Vec<u8>) -> Bytes {
    batch.resize(batch.len().max(HEADER_BYTES), 0);
    let length = (batch.len() - LOG_OVERHEAD_BYTES) as i32;
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    batch[16] = 2;
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &batch[21..]) as u32;
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    Bytes::from(batch)
}

/// A batch that can be read can be appended, stamped and compacted, and says the same afterwards.
fn look_into(batch: &Bytes) {
    let Ok(header) = BatchHeader::parse(batch) else { return };
    assert_eq!(BatchHeader::parse(&header.encode()), Ok(header));
    let _ = (header.last_sequence(), header.next_offset(), header.delete_horizon_ms());
    let Ok(found) = decode_records(batch, DECOMPRESSED_BYTES_MAX) else { return };
    assert_eq!(found.len(), header.record_count as usize);
    let batch = batch.slice(..header.total_bytes());

    let prefix = patched_prefix(&header, Offset(1_000), LeaderEpoch(3));
    let appended = Bytes::from([&prefix, &batch[PREFIX_BYTES..]].concat());
    let moved = decode_records(&appended, DECOMPRESSED_BYTES_MAX).expect("only its offsets are others");
    assert!(
        moved
            .iter()
            .zip(&found)
            .all(|(moved, was)| moved.offset.0 - 1_000 == was.offset.0 - header.base_offset.0)
    );

    let (stamped, head) = stamped_header(&header, &batch[HEADER_BYTES..], Offset(7), LeaderEpoch(3), 777);
    let whole = Bytes::from([&head, &batch[HEADER_BYTES..]].concat());
    assert_eq!(check_batches(&whole).next(), Some(Ok((0..whole.len(), stamped))));
    let of_one_time = decode_records(&whole, DECOMPRESSED_BYTES_MAX).expect("only its header is another");
    assert!(of_one_time.iter().all(|record| record.timestamp == 777));

    for horizon in [None, Some(99_000)] {
        let kept: Vec<Record> = found.iter().step_by(2).cloned().collect();
        compare(&rewritten(&header, &kept, horizon), &header, &kept);
    }
    compare(&rewritten(&header, &[], None), &header, &[]);
}

fn compare(rewritten: &Bytes, was: &BatchHeader, kept: &[Record]) {
    let header = BatchHeader::parse(rewritten).expect("a batch that we wrote");
    assert_eq!((header.base_offset, header.last_offset()), (was.base_offset, was.last_offset()));
    assert_eq!((header.producer_id, header.last_sequence()), (was.producer_id, was.last_sequence()));
    // Its records may take more room than they did: they need not have been written as tightly as can be.
    let read = decode_records(rewritten, 2 * DECOMPRESSED_BYTES_MAX).expect("a batch that we wrote");
    if was.timestamp_type() == TimestampType::CreateTime {
        assert_eq!(read, kept);
    }
    assert_eq!(read.len(), kept.len());
}

/// Records of these bytes, through the builder and back.
fn build(codec: u8, bytes: &[u8]) {
    let mut builder = BatchBuilder::new(Compression::ALL[usize::from(codec) % Compression::ALL.len()]);
    builder.producer(ProducerId(7), ProducerEpoch(1), i32::MAX - 1);
    let pieces: Vec<&[u8]> = bytes.chunks(11).collect();
    for piece in &pieces {
        let (key, value) = piece.split_at(piece.len() / 3);
        let null_if_odd = |bytes: &'_ [u8]| bytes.first().is_none_or(|first| first % 2 == 0);
        let headers = [(key, null_if_odd(value).then_some(value))];
        builder.push(
            i64::from(piece[0]) << (piece[0] % 50),
            null_if_odd(key).then_some(key),
            null_if_odd(value).then_some(value),
            &headers[..usize::from(piece[0] % 2)],
        );
    }
    let batch = builder.build();
    let read = decode_records(&batch, DECOMPRESSED_BYTES_MAX).expect("a batch that we wrote");
    assert_eq!(read.len(), pieces.len());
    look_into(&batch);
}

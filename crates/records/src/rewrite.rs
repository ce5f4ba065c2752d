use bytes::Bytes;
use domain::TimestampType;

use crate::{
    BatchHeader, Compression, HEADER_BYTES, LOG_OVERHEAD_BYTES, Record, batch::crc32c_of, builder::put_record,
};

/// The batch of `header` with only the records in `kept`, at their offsets and times, as compaction leaves it; compressed
/// as it was. First and last offset, producer, sequence and leader epoch stay, so that a gap, and what its producer wrote
/// last, can be told from it.
///
/// `delete_horizon_ms` is noted where it is given: from then on the batch's tombstones may go (KIP-534). Without any
/// record a header is left, which counts none.
pub fn rewritten(header: &BatchHeader, kept: &[Record], delete_horizon_ms: Option<i64>) -> Bytes {
    match kept.is_empty() {
        true => emptied(header),
        false => filtered(header, kept, delete_horizon_ms),
    }
}

fn emptied(header: &BatchHeader) -> Bytes {
    let attributes = header.attributes.with_compression(Compression::None).with_delete_horizon(false);
    let emptied =
        BatchHeader { attributes, base_timestamp: header.max_timestamp, record_count: 0, ..*header };
    sealed(emptied, &[])
}

fn filtered(header: &BatchHeader, kept: &[Record], delete_horizon_ms: Option<i64>) -> Bytes {
    let base_timestamp = delete_horizon_ms.unwrap_or(header.base_timestamp);
    let mut plain = Vec::new();
    for record in kept {
        let offset_delta = (record.offset.0 - header.base_offset.0) as i32;
        let timestamp_delta = record.timestamp.wrapping_sub(base_timestamp);
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        put_record(&mut plain, timestamp_delta, offset_delta, key, value, &record.headers);
    }
    // A codec that fails (no memory) costs the compression, not the records.
    let (compression, body) = match header.compression().unwrap_or_default() {
        Compression::None => (Compression::None, plain),
        codec => codec.compress(&plain).map_or((Compression::None, plain), |packed| (codec, packed)),
    };
    let newest = kept.iter().map(|record| record.timestamp).max();
    let max_timestamp = match header.timestamp_type() {
        TimestampType::CreateTime => newest.unwrap_or(header.max_timestamp),
        TimestampType::LogAppendTime => header.max_timestamp,
    };
    let has_horizon = delete_horizon_ms.is_some() || header.attributes.has_delete_horizon();
    let attributes = header.attributes.with_compression(compression).with_delete_horizon(has_horizon);
    let record_count = kept.len() as i32;
    sealed(BatchHeader { attributes, base_timestamp, max_timestamp, record_count, ..*header }, &body)
}

/// Length and checksum are the last that is known of a batch.
fn sealed(mut header: BatchHeader, body: &[u8]) -> Bytes {
    let total = HEADER_BYTES + body.len();
    header.batch_length = i32::try_from(total - LOG_OVERHEAD_BYTES).unwrap_or(i32::MAX);
    header.crc = crc32c_of(&header.encode(), body);
    let mut out = Vec::with_capacity(total);
    out.extend_from_slice(&header.encode());
    out.extend_from_slice(body);
    Bytes::from(out)
}

#[cfg(test)]
mod tests {
    use domain::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

    use super::*;
    use crate::{BatchBuilder, PREFIX_BYTES, decode_records, patched_prefix};

    /// Five records with a producer, at offset 100.
    fn batch(codec: Compression) -> Bytes {
        let mut builder = BatchBuilder::new(codec);
        builder.producer(ProducerId(7), ProducerEpoch(1), 40);
        for n in 0..5u8 {
            let value = (n != 3).then_some(&b"value"[..]);
            builder.push(
                1_000 + i64::from(n),
                Some(&[n]),
                value,
                &[(&b"h"[..], None), (&b"i"[..], Some(&b"j"[..]))],
            );
        }
        let batch = builder.build();
        let header = BatchHeader::parse(&batch).unwrap();
        Bytes::from(
            [&patched_prefix(&header, Offset(100), LeaderEpoch(4))[..], &batch[PREFIX_BYTES..]].concat(),
        )
    }

    #[test]
    fn what_is_kept_of_a_batch_is_as_it_was_with_every_codec() {
        for codec in Compression::ALL {
            let batch = batch(codec);
            let header = BatchHeader::parse(&batch).unwrap();
            let mut records = decode_records(&batch, 1 << 20).unwrap();
            records.retain(|record| [1, 3].contains(&(record.offset.0 - 100)));
            for horizon in [None, Some(99_000)] {
                let rewritten = rewritten(&header, &records, horizon);
                let found = BatchHeader::parse(&rewritten).unwrap();
                assert_eq!(decode_records(&rewritten, 1 << 20).unwrap(), records);
                assert_eq!((found.delete_horizon_ms(), found.max_timestamp), (horizon, 1_003));
                assert_eq!(found.compression(), Ok(codec));
                let expected = BatchHeader {
                    batch_length: found.batch_length,
                    crc: found.crc,
                    attributes: found.attributes,
                    base_timestamp: horizon.unwrap_or(header.base_timestamp),
                    max_timestamp: 1_003,
                    record_count: 2,
                    ..header
                };
                assert_eq!(found, expected);
            }
        }
    }

    #[test]
    fn a_batch_without_records_is_a_header_that_tells_its_offsets_and_its_producer() {
        for codec in Compression::ALL {
            let header = BatchHeader::parse(&batch(codec)).unwrap();
            let empty = rewritten(&header, &[], Some(5));
            let found = BatchHeader::parse(&empty).unwrap();
            assert_eq!((empty.len(), found.record_count), (HEADER_BYTES, 0));
            assert_eq!((found.base_offset, found.last_offset()), (Offset(100), Offset(104)));
            assert_eq!((found.producer_id, found.last_sequence()), (ProducerId(7), 44));
            assert_eq!((found.max_timestamp, found.delete_horizon_ms()), (1_004, None));
            assert_eq!(decode_records(&empty, 0), Ok(Vec::new()));
        }
    }
}

use domain::{LeaderEpoch, Offset, TimestampType};

use crate::{BatchHeader, HEADER_BYTES, batch::crc32c_of};

/// Base offset, length and leader epoch: what a leader writes and the CRC does not cover.
pub const PREFIX_BYTES: usize = 16;

/// The first [`PREFIX_BYTES`] of the batch as the leader appends it; the rest of the producer's bytes follows unchanged.
pub fn patched_prefix(
    header: &BatchHeader,
    base_offset: Offset,
    leader_epoch: LeaderEpoch,
) -> [u8; PREFIX_BYTES] {
    let mut prefix = [0; PREFIX_BYTES];
    prefix[0..8].copy_from_slice(&base_offset.0.to_be_bytes());
    prefix[8..12].copy_from_slice(&header.batch_length.to_be_bytes());
    prefix[12..16].copy_from_slice(&leader_epoch.0.to_be_bytes());
    prefix
}

/// The whole header of a batch that the broker stamps with its own time (`message.timestamp.type=LogAppendTime`), with
/// its bytes. Flags and maximum timestamp lie under the CRC, so it is computed again, over `records`: everything after
/// the batch's header. The records themselves stay as they are; readers take the header's time for all of them.
pub fn stamped_header(
    header: &BatchHeader,
    records: &[u8],
    base_offset: Offset,
    leader_epoch: LeaderEpoch,
    now_ms: i64,
) -> (BatchHeader, [u8; HEADER_BYTES]) {
    let mut stamped = BatchHeader {
        base_offset,
        leader_epoch,
        attributes: header.attributes.with_timestamp_type(TimestampType::LogAppendTime),
        max_timestamp: now_ms,
        ..*header
    };
    stamped.crc = crc32c_of(&stamped.encode(), records);
    let bytes = stamped.encode();
    (stamped, bytes)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{BatchBuilder, Compression, check_batches, decode_records};

    fn batch() -> Bytes {
        let mut builder = BatchBuilder::new(Compression::None);
        builder.push(5, None, Some(b"a"), &[]).push(9, None, Some(b"b"), &[]);
        builder.build()
    }

    #[test]
    fn an_assigned_offset_and_epoch_leave_the_checksum_right() {
        let batch = batch();
        let header = BatchHeader::parse(&batch).unwrap();
        let prefix = patched_prefix(&header, Offset(100), LeaderEpoch(4));
        let appended = [&prefix, &batch[PREFIX_BYTES..]].concat();
        let (_, found) = check_batches(&appended).next().unwrap().unwrap();
        assert_eq!(found, BatchHeader { base_offset: Offset(100), leader_epoch: LeaderEpoch(4), ..header });
    }

    #[test]
    fn a_stamped_batch_gives_its_time_to_every_record() {
        let batch = batch();
        let header = BatchHeader::parse(&batch).unwrap();
        let (stamped, bytes) =
            stamped_header(&header, &batch[HEADER_BYTES..], Offset(3), LeaderEpoch(1), 777);
        let appended = Bytes::from([&bytes, &batch[HEADER_BYTES..]].concat());
        assert_eq!(check_batches(&appended).next().unwrap().unwrap().1, stamped);
        let times: Vec<_> =
            decode_records(&appended, 1000).unwrap().into_iter().map(|r| (r.offset, r.timestamp)).collect();
        assert_eq!(times, [(Offset(3), 777), (Offset(4), 777)]);
    }
}

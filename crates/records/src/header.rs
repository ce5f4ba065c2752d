use domain::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampType};

use crate::{BatchError, Compression};

/// The fixed part of a batch, up to and including the record count.
pub const HEADER_BYTES: usize = 61;
/// Base offset and length: what stands before the bytes that the length counts.
pub const LOG_OVERHEAD_BYTES: usize = 12;

/// The smallest `batch_length`: a header and no record.
const BATCH_LENGTH_MIN: i32 = (HEADER_BYTES - LOG_OVERHEAD_BYTES) as i32;
const MAGIC: i8 = 2;

/// A batch's 16 flag bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes(pub i16);

impl Attributes {
    const COMPRESSION: i16 = 0x07;
    const LOG_APPEND_TIME: i16 = 0x08;
    const TRANSACTIONAL: i16 = 0x10;
    const CONTROL: i16 = 0x20;
    const DELETE_HORIZON: i16 = 0x40;

    /// The codec, if the bits name one that exists.
    pub fn compression(self) -> Result<Compression, BatchError> {
        Compression::from_code((self.0 & Self::COMPRESSION) as u8)
    }

    pub fn with_compression(self, compression: Compression) -> Self {
        Self((self.0 & !Self::COMPRESSION) | i16::from(compression.code()))
    }

    pub fn timestamp_type(self) -> TimestampType {
        match self.0 & Self::LOG_APPEND_TIME {
            0 => TimestampType::CreateTime,
            _ => TimestampType::LogAppendTime,
        }
    }

    pub fn with_timestamp_type(self, timestamp_type: TimestampType) -> Self {
        match timestamp_type {
            TimestampType::CreateTime => Self(self.0 & !Self::LOG_APPEND_TIME),
            TimestampType::LogAppendTime => Self(self.0 | Self::LOG_APPEND_TIME),
        }
    }

    pub fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    pub fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    /// Whether the base timestamp holds the time from which tombstones may go (KIP-534).
    pub fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }

    pub fn with_delete_horizon(self, on: bool) -> Self {
        Self(if on { self.0 | Self::DELETE_HORIZON } else { self.0 & !Self::DELETE_HORIZON })
    }

    pub fn with_transactional(self, on: bool) -> Self {
        Self(if on { self.0 | Self::TRANSACTIONAL } else { self.0 & !Self::TRANSACTIONAL })
    }

    pub fn with_control(self, on: bool) -> Self {
        Self(if on { self.0 | Self::CONTROL } else { self.0 & !Self::CONTROL })
    }
}

/// The header of a record batch, as it stands on the wire and on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record. From a producer it is 0; the leader assigns it.
    pub base_offset: Offset,
    /// Bytes after this field.
    pub batch_length: i32,
    pub leader_epoch: LeaderEpoch,
    pub magic: i8,
    /// CRC-32C of everything after this field.
    pub crc: u32,
    pub attributes: Attributes,
    /// The last record's offset minus the first's. Compaction keeps it when it removes records.
    pub last_offset_delta: i32,
    /// Milliseconds since 1970; each record's timestamp is relative to it.
    pub base_timestamp: i64,
    pub max_timestamp: i64,
    pub producer_id: ProducerId,
    pub producer_epoch: ProducerEpoch,
    pub base_sequence: i32,
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`, which may hold more or less than the batch.
    ///
    /// The batch's own bytes need not be there; [`crate::check_batches`] looks for them and checks the CRC.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        // The magic byte tells old formats, which are shorter, from a torn batch.
        if let Some(&magic) = bytes.get(16)
            && magic as i8 != MAGIC
        {
            return Err(BatchError::UnsupportedMagic(magic as i8));
        }
        let Some(fixed) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(BatchError::Truncated { needed: HEADER_BYTES, there: bytes.len() });
        };
        let header = Self {
            base_offset: Offset(i64::from_be_bytes(field(fixed, 0))),
            batch_length: i32::from_be_bytes(field(fixed, 8)),
            leader_epoch: LeaderEpoch(i32::from_be_bytes(field(fixed, 12))),
            magic: fixed[16] as i8,
            crc: u32::from_be_bytes(field(fixed, 17)),
            attributes: Attributes(i16::from_be_bytes(field(fixed, 21))),
            last_offset_delta: i32::from_be_bytes(field(fixed, 23)),
            base_timestamp: i64::from_be_bytes(field(fixed, 27)),
            max_timestamp: i64::from_be_bytes(field(fixed, 35)),
            producer_id: ProducerId(i64::from_be_bytes(field(fixed, 43))),
            producer_epoch: ProducerEpoch(i16::from_be_bytes(field(fixed, 51))),
            base_sequence: i32::from_be_bytes(field(fixed, 53)),
            record_count: i32::from_be_bytes(field(fixed, 57)),
        };
        header.check()?;
        Ok(header)
    }

    fn check(&self) -> Result<(), BatchError> {
        let invalid = |field, value| Err(BatchError::InvalidField { field, value });
        if self.batch_length < BATCH_LENGTH_MIN {
            return Err(BatchError::LengthTooSmall(self.batch_length));
        }
        if self.base_offset.0 < 0 || self.base_offset.0 > i64::MAX - i64::from(i32::MAX) - 1 {
            return invalid("base offset", self.base_offset.0);
        }
        if self.last_offset_delta < 0 {
            return invalid("last offset delta", self.last_offset_delta.into());
        }
        // Compaction takes records out and keeps the deltas, so fewer records than offsets are legal.
        if self.record_count < 0 || i64::from(self.record_count) > i64::from(self.last_offset_delta) + 1 {
            return invalid("record count", self.record_count.into());
        }
        Ok(())
    }

    /// The header's bytes: the inverse of [`BatchHeader::parse`].
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[0..8].copy_from_slice(&self.base_offset.0.to_be_bytes());
        out[8..12].copy_from_slice(&self.batch_length.to_be_bytes());
        out[12..16].copy_from_slice(&self.leader_epoch.0.to_be_bytes());
        out[16] = self.magic as u8;
        out[17..21].copy_from_slice(&self.crc.to_be_bytes());
        out[21..23].copy_from_slice(&self.attributes.0.to_be_bytes());
        out[23..27].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        out[27..35].copy_from_slice(&self.base_timestamp.to_be_bytes());
        out[35..43].copy_from_slice(&self.max_timestamp.to_be_bytes());
        out[43..51].copy_from_slice(&self.producer_id.0.to_be_bytes());
        out[51..53].copy_from_slice(&self.producer_epoch.0.to_be_bytes());
        out[53..57].copy_from_slice(&self.base_sequence.to_be_bytes());
        out[57..61].copy_from_slice(&self.record_count.to_be_bytes());
        out
    }

    /// The batch's size on disk and on the wire.
    pub fn total_bytes(&self) -> usize {
        LOG_OVERHEAD_BYTES + self.batch_length as usize
    }

    pub fn last_offset(&self) -> Offset {
        self.base_offset.plus(self.last_offset_delta.into())
    }

    /// The offset after the batch.
    pub fn next_offset(&self) -> Offset {
        self.last_offset().plus(1)
    }

    /// The sequence of the last record; −1 if the batch has no sequence.
    pub fn last_sequence(&self) -> i32 {
        match self.base_sequence < 0 {
            true => -1,
            false => sequence_after(self.base_sequence, self.last_offset_delta),
        }
    }

    pub fn has_producer_id(&self) -> bool {
        self.producer_id.0 >= 0
    }

    pub fn is_transactional(&self) -> bool {
        self.attributes.is_transactional()
    }

    pub fn is_control(&self) -> bool {
        self.attributes.is_control()
    }

    /// From when on this batch's tombstones may go, in milliseconds since 1970; `None` before they were first compacted
    /// (KIP-534).
    pub fn delete_horizon_ms(&self) -> Option<i64> {
        self.attributes.has_delete_horizon().then_some(self.base_timestamp)
    }

    pub fn compression(&self) -> Result<Compression, BatchError> {
        self.attributes.compression()
    }

    pub fn timestamp_type(&self) -> TimestampType {
        self.attributes.timestamp_type()
    }
}

/// The sequence `steps` after `sequence`: after `i32::MAX` comes 0 (KIP-98).
pub fn sequence_after(sequence: i32, steps: i32) -> i32 {
    let sum = i64::from(sequence) + i64::from(steps);
    // Two non-negative i32 wrap at most once; the mask is the wrap.
    (sum & i64::from(i32::MAX)) as i32
}

fn field<const N: usize>(fixed: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&fixed[at..at + N]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn header() -> BatchHeader {
        BatchHeader {
            base_offset: Offset(7),
            batch_length: 49,
            leader_epoch: LeaderEpoch(3),
            magic: 2,
            crc: 0xdead_beef,
            attributes: Attributes(0),
            last_offset_delta: 4,
            base_timestamp: 10,
            max_timestamp: 20,
            producer_id: ProducerId(9),
            producer_epoch: ProducerEpoch(1),
            base_sequence: i32::MAX - 1,
            record_count: 5,
        }
    }

    #[test]
    fn a_header_survives_encoding() {
        assert_eq!(BatchHeader::parse(&header().encode()), Ok(header()));
    }

    #[test]
    fn offsets_and_sequences_are_counted_as_kafka_counts() {
        let header = header();
        assert_eq!((header.last_offset(), header.next_offset()), (Offset(11), Offset(12)));
        assert_eq!(header.total_bytes(), 61);
        assert_eq!(header.last_sequence(), 2, "MAX-1, MAX, 0, 1, 2");
        assert_eq!(BatchHeader { base_sequence: -1, ..header }.last_sequence(), -1);
    }

    #[test]
    fn the_flag_bits_are_kafkas() {
        let flags = Attributes(0b11_1100);
        assert_eq!(flags.compression(), Ok(Compression::Zstd));
        assert_eq!(flags.timestamp_type(), TimestampType::LogAppendTime);
        assert!(flags.is_transactional() && flags.is_control() && !flags.has_delete_horizon());
        assert_eq!(Attributes(5).compression(), Err(BatchError::UnknownCompression(5)));
    }

    #[test]
    fn a_header_that_no_batch_has_is_refused() {
        let parse = |change: fn(&mut BatchHeader)| {
            let mut header = header();
            change(&mut header);
            BatchHeader::parse(&header.encode())
        };
        assert_eq!(parse(|h| h.magic = 1), Err(BatchError::UnsupportedMagic(1)));
        assert_eq!(parse(|h| h.batch_length = 48), Err(BatchError::LengthTooSmall(48)));
        assert_eq!(parse(|h| h.batch_length = -1), Err(BatchError::LengthTooSmall(-1)));
        let invalid = |field, value| Err(BatchError::InvalidField { field, value });
        assert_eq!(parse(|h| h.base_offset = Offset(-1)), invalid("base offset", -1));
        assert_eq!(parse(|h| h.base_offset = Offset(i64::MAX)), invalid("base offset", i64::MAX));
        assert_eq!(parse(|h| h.last_offset_delta = -1), invalid("last offset delta", -1));
        assert_eq!(parse(|h| h.record_count = -2), invalid("record count", -2));
        assert_eq!(parse(|h| h.record_count = 6), invalid("record count", 6));
        assert!(parse(|h| h.record_count = 0).is_ok(), "compaction leaves such batches");
        assert_eq!(BatchHeader::parse(&[0; 12]), Err(BatchError::Truncated { needed: 61, there: 12 }));
        assert_eq!(
            BatchHeader::parse(&[0; 40]),
            Err(BatchError::UnsupportedMagic(0)),
            "an old, shorter message"
        );
    }
}

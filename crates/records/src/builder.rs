use bytes::Bytes;
use domain::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

use crate::{Attributes, BatchHeader, Compression, HEADER_BYTES, batch::crc32c_of, varint};

/// Makes a batch, record by record, with base offset 0: the leader that takes it assigns the offsets.
///
/// A caller keeps a batch below 2 GiB, which [`BatchBuilder::encoded_bytes`] is there for; a larger one comes out with
/// a header that everybody refuses.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    compression: Compression,
    flags: Attributes,
    producer_id: ProducerId,
    producer_epoch: ProducerEpoch,
    base_sequence: i32,
    base_timestamp: i64,
    max_timestamp: i64,
    count: i32,
    /// The records so far, not compressed.
    plain: Vec<u8>,
}

/// The timestamp of a batch without records.
const NO_TIMESTAMP: i64 = -1;

impl BatchBuilder {
    pub fn new(compression: Compression) -> Self {
        Self {
            compression,
            flags: Attributes::default(),
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch(-1),
            base_sequence: -1,
            base_timestamp: NO_TIMESTAMP,
            max_timestamp: NO_TIMESTAMP,
            count: 0,
            plain: Vec::new(),
        }
    }

    /// Makes the batch idempotent (KIP-98).
    pub fn producer(&mut self, id: ProducerId, epoch: ProducerEpoch, base_sequence: i32) -> &mut Self {
        (self.producer_id, self.producer_epoch, self.base_sequence) = (id, epoch, base_sequence);
        self
    }

    pub fn transactional(&mut self, on: bool) -> &mut Self {
        self.flags = self.flags.with_transactional(on);
        self
    }

    pub fn control(&mut self, on: bool) -> &mut Self {
        self.flags = self.flags.with_control(on);
        self
    }

    /// Adds a record; `timestamp` in milliseconds since 1970.
    pub fn push(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&[u8], Option<&[u8]>)],
    ) -> &mut Self {
        if self.count == 0 {
            self.base_timestamp = timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(timestamp);
        let timestamp_delta = timestamp.wrapping_sub(self.base_timestamp);
        put_record(&mut self.plain, timestamp_delta, self.count, key, value, headers);
        self.count = self.count.saturating_add(1);
        self
    }

    pub fn record_count(&self) -> i32 {
        self.count
    }

    /// The batch's size if nothing were gained by compression.
    pub fn encoded_bytes(&self) -> usize {
        HEADER_BYTES + self.plain.len()
    }

    /// The batch. The builder is empty afterwards, keeps its settings, and moves its sequence on.
    pub fn build(&mut self) -> Bytes {
        let plain = std::mem::take(&mut self.plain);
        // A codec that fails (no memory) costs the compression, not the records.
        let (compression, body) = match self.compression {
            Compression::None => (Compression::None, plain),
            codec => codec.compress(&plain).map_or((Compression::None, plain), |packed| (codec, packed)),
        };
        let total = HEADER_BYTES + body.len();
        let mut header = BatchHeader {
            base_offset: Offset(0),
            batch_length: i32::try_from(total - crate::LOG_OVERHEAD_BYTES).unwrap_or(-1),
            leader_epoch: LeaderEpoch::UNKNOWN,
            magic: 2,
            crc: 0,
            attributes: self.flags.with_compression(compression),
            last_offset_delta: (self.count - 1).max(0),
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id: self.producer_id,
            producer_epoch: self.producer_epoch,
            base_sequence: self.base_sequence,
            record_count: self.count,
        };
        header.crc = crc32c_of(&header.encode(), &body);
        if self.base_sequence >= 0 {
            self.base_sequence = crate::sequence_after(self.base_sequence, self.count);
        }
        (self.count, self.base_timestamp, self.max_timestamp) = (0, NO_TIMESTAMP, NO_TIMESTAMP);
        let mut out = Vec::with_capacity(total);
        out.extend_from_slice(&header.encode());
        out.extend_from_slice(&body);
        Bytes::from(out)
    }
}

/// Writes one record, with its place and time relative to its batch's.
pub(crate) fn put_record<K: AsRef<[u8]>, V: AsRef<[u8]>>(
    out: &mut Vec<u8>,
    timestamp_delta: i64,
    offset_delta: i32,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[(K, Option<V>)],
) {
    let of_value = |value: &Option<V>| bytes_length(value.as_ref().map(AsRef::as_ref));
    let of_headers: usize =
        headers.iter().map(|(key, value)| bytes_length(Some(key.as_ref())) + of_value(value)).sum();
    let body = 1
        + varint::length(timestamp_delta)
        + varint::length(offset_delta.into())
        + bytes_length(key)
        + bytes_length(value)
        + varint::length(headers.len() as i64)
        + of_headers;
    varint::put(out, body as i64);
    out.push(0);
    varint::put(out, timestamp_delta);
    varint::put(out, offset_delta.into());
    put_bytes(out, key);
    put_bytes(out, value);
    varint::put(out, headers.len() as i64);
    for (key, value) in headers {
        put_bytes(out, Some(key.as_ref()));
        put_bytes(out, value.as_ref().map(AsRef::as_ref));
    }
}

fn bytes_length(field: Option<&[u8]>) -> usize {
    field.map_or(1, |bytes| varint::length(bytes.len() as i64) + bytes.len())
}

fn put_bytes(out: &mut Vec<u8>, field: Option<&[u8]>) {
    varint::put(out, field.map_or(-1, |bytes| bytes.len() as i64));
    out.extend_from_slice(field.unwrap_or_default());
}

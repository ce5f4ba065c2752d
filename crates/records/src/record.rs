use bytes::Bytes;
use domain::{Offset, TimestampType};

use crate::{BatchError, BatchHeader, Compression, HEADER_BYTES, check_crc, varint};

/// A record's header: a key, which need not be UTF-8 and may repeat, and a value.
pub type Header = (Bytes, Option<Bytes>);

/// One record, with its place and time in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub offset: Offset,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Vec<Header>,
}

/// The smallest record: a length and six more fields of one byte each.
const RECORD_BYTES_MIN: usize = 7;
/// The smallest header: an empty key and no value.
const HEADER_BYTES_MIN: usize = 2;

/// Reads the records of the one batch in `batch`. Keys and values share the batch's memory, or that of its decompressed form.
/// That form, and what the records take besides, are at most `uncompressed_bytes_max` each: a record that takes seven bytes,
/// and next to nothing of a compressed batch, takes more than a hundred here.
///
/// Checks length and CRC, and that the batch holds exactly the records that its header counts.
pub fn decode_records(batch: &Bytes, uncompressed_bytes_max: usize) -> Result<Vec<Record>, BatchError> {
    let header = BatchHeader::parse(batch)?;
    check_crc(&header, batch)?;
    let packed = batch.slice(HEADER_BYTES..header.total_bytes());
    let body = match header.compression()? {
        Compression::None => packed,
        codec => Bytes::from(codec.decompress(&packed, uncompressed_bytes_max)?),
    };
    let room = match header.compression()? {
        // Somebody has sent all of it.
        Compression::None => usize::MAX,
        _ => uncompressed_bytes_max,
    };
    let mut cursor = Cursor { body: &body, rest: &body, room };
    let count = header.record_count as usize;
    // The count is only a claim: reserve no more than the bytes can hold.
    let reserved = count.min(body.len() / RECORD_BYTES_MIN);
    if !cursor.pays_for::<Record>(reserved) {
        return Err(BatchError::DecompressedTooLarge { max: uncompressed_bytes_max });
    }
    let mut records = Vec::with_capacity(reserved);
    for index in 0..count {
        let record =
            cursor.take_record(&header).map_err(|reason| BatchError::InvalidRecord { index, reason })?;
        records.push(record);
    }
    match cursor.rest.len() {
        0 => Ok(records),
        trailing => Err(BatchError::TrailingBytes(trailing)),
    }
}

/// Takes fields from the front of `rest`, a suffix of `body`.
struct Cursor<'a> {
    body: &'a Bytes,
    rest: &'a [u8],
    /// Bytes that may yet be taken beside the body.
    room: usize,
}

impl<'a> Cursor<'a> {
    fn pays_for<T>(&mut self, count: usize) -> bool {
        let left = self.room.checked_sub(count.saturating_mul(size_of::<T>()));
        self.room = left.unwrap_or(self.room);
        left.is_some()
    }

    fn take_record(&mut self, header: &BatchHeader) -> Result<Record, &'static str> {
        let length = varint::take_int(&mut self.rest).ok_or("its length is no varint")?;
        let length = usize::try_from(length).map_err(|_| "its length is negative")?;
        if length > self.rest.len() {
            return Err("it is longer than the batch");
        }
        let (record, rest) = self.rest.split_at(length);
        let mut cursor = Cursor { body: self.body, rest: record, room: self.room };
        let record = cursor.take_fields(header)?;
        (self.rest, self.room) = (rest, cursor.room);
        match cursor.rest.is_empty() {
            true => Ok(record),
            false => Err("it is shorter than its length"),
        }
    }

    fn take_fields(&mut self, header: &BatchHeader) -> Result<Record, &'static str> {
        // The attributes of a record are not used yet.
        self.rest = self.rest.get(1..).ok_or("it is empty")?;
        let timestamp_delta = varint::take_long(&mut self.rest).ok_or("its timestamp is no varint")?;
        let offset_delta = varint::take_int(&mut self.rest).ok_or("its offset is no varint")?;
        if offset_delta < 0 || offset_delta > header.last_offset_delta {
            return Err("its offset lies outside the batch");
        }
        let timestamp = match header.timestamp_type() {
            TimestampType::CreateTime => header.base_timestamp.saturating_add(timestamp_delta),
            TimestampType::LogAppendTime => header.max_timestamp,
        };
        Ok(Record {
            offset: header.base_offset.plus(offset_delta.into()),
            timestamp,
            key: self.take_bytes()?,
            value: self.take_bytes()?,
            headers: self.take_headers()?,
        })
    }

    fn take_headers(&mut self) -> Result<Vec<Header>, &'static str> {
        let count = varint::take_int(&mut self.rest).ok_or("its header count is no varint")?;
        let count = usize::try_from(count).map_err(|_| "its header count is negative")?;
        if count > self.rest.len() / HEADER_BYTES_MIN {
            return Err("it has not the headers that it counts");
        }
        if !self.pays_for::<Header>(count) {
            return Err("its headers take more room than a batch may");
        }
        let mut headers = Vec::with_capacity(count);
        for _ in 0..count {
            let key = self.take_bytes()?.ok_or("a header has no key")?;
            headers.push((key, self.take_bytes()?));
        }
        Ok(headers)
    }

    /// A length, −1 for null, then so many bytes.
    fn take_bytes(&mut self) -> Result<Option<Bytes>, &'static str> {
        let length = varint::take_int(&mut self.rest).ok_or("a length is no varint")?;
        if length == -1 {
            return Ok(None);
        }
        let length = usize::try_from(length).map_err(|_| "a length is negative")?;
        if length > self.rest.len() {
            return Err("a field is longer than the record");
        }
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        Ok(Some(self.body.slice_ref(taken)))
    }
}

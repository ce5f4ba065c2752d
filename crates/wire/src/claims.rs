//! Decoding that believes a length only as far as there are bytes for it.
//!
//! `kafka-protocol` reserves room for as many elements as an array's length claims: for a body of a few bytes that may be
//! hundreds of gigabytes. What reads the bytes for it stands in between here, and it never hears of such a length.
//!
//! In a *flexible* version (KIP-482) all lengths are variable-length integers, and so are the counts, tags and sizes of
//! tagged fields, and nothing else: one that is larger than what is left is refused at once. They are read byte by byte, as
//! booleans are, so that a boolean from 0x80 on looks like the beginning of an integer. It only ever makes a claim larger:
//! the bytes of the real one are shifted up, or do not end within the five that an integer has.
//!
//! In a *classic* version a length is an `i32`, as other fields are. One that is too large for a length is withheld: the
//! decoder gets -2, which it refuses as a length and takes as anything else. Only if it took all of them the message is
//! read once more, as it is.

use bytes::{Buf, Bytes, TryGetError};
use kafka_protocol::protocol::{Decodable, buf::ByteBuf};

/// As many elements may be claimed without a byte for each. A tag, which is no claim, is smaller.
const CLAIM_FREE: usize = 1_024;

/// No length; and no other field means anything to the decoder.
const WITHHELD: i32 = -2;

const VARINT_BYTES_MAX: u32 = 5;

/// Takes a message from the front of `bytes`. The error is a reason.
pub(crate) fn decode<M: Decodable>(bytes: &mut Bytes, version: i16, flexible: bool) -> Result<M, String> {
    let mut read = Claims { bytes: bytes.clone(), flexible, varint: 0, varint_bytes: 0, has_withheld: false };
    let decoded = M::decode(&mut read, version);
    if !read.has_withheld {
        *bytes = read.bytes;
        return decoded.map_err(|error| error.to_string());
    }
    if decoded.is_err() {
        return Err("it has not the bytes for what it claims to hold".to_owned());
    }
    M::decode(bytes, version).map_err(|error| error.to_string())
}

struct Claims {
    bytes: Bytes,
    flexible: bool,
    /// What the integer that is being read has come to.
    varint: u64,
    varint_bytes: u32,
    has_withheld: bool,
}

impl Claims {
    fn is_paid_for(&self, claim: usize) -> bool {
        claim <= self.bytes.len().max(CLAIM_FREE)
    }
}

impl Buf for Claims {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }

    fn try_get_u8(&mut self) -> Result<u8, TryGetError> {
        let byte = self.bytes.try_get_u8()?;
        if !self.flexible {
            return Ok(byte);
        }
        self.varint |= u64::from(byte & 0x7f) << (7 * self.varint_bytes);
        self.varint_bytes += 1;
        let has_ended = byte < 0x80;
        // Compact lengths count from one.
        let claim = self.varint.saturating_sub(1) as usize;
        if (has_ended && !self.is_paid_for(claim)) || (!has_ended && self.varint_bytes == VARINT_BYTES_MAX) {
            return Err(TryGetError { requested: claim, available: self.bytes.len() });
        }
        if has_ended {
            (self.varint, self.varint_bytes) = (0, 0);
        }
        Ok(byte)
    }

    fn try_get_i32(&mut self) -> Result<i32, TryGetError> {
        let number = self.bytes.try_get_i32()?;
        if self.flexible || usize::try_from(number).is_ok_and(|claim| self.is_paid_for(claim)) || number < 0 {
            return Ok(number);
        }
        self.has_withheld = true;
        Ok(WITHHELD)
    }
}

impl ByteBuf for Claims {
    fn peek_bytes(&mut self, range: std::ops::Range<usize>) -> Bytes {
        self.bytes.slice(range)
    }

    fn get_bytes(&mut self, size: usize) -> Bytes {
        self.bytes.split_to(size)
    }
}

#[cfg(test)]
mod tests {
    use bytes::{BufMut, BytesMut};
    use kafka_protocol::{
        messages::{
            FetchRequest, MetadataRequest, MetadataResponse, OffsetCommitRequest, ProduceRequest,
            fetch_request::{FetchPartition, FetchTopic},
        },
        protocol::Encodable,
    };

    use super::*;

    const HUGE: &[u8] = &[0xff, 0xff, 0xff, 0xff, 0x0f];

    fn reason<M: Decodable + std::fmt::Debug>(body: &[u8], version: i16, flexible: bool) -> String {
        decode::<M>(&mut Bytes::copy_from_slice(body), version, flexible).unwrap_err()
    }

    /// With the system's allocator, which these tests have, a reservation of terabytes is the end of the process.
    #[test]
    fn an_array_that_claims_billions_reserves_nothing() {
        let unpaid = "it has not the bytes for what it claims to hold";
        let claim = &i32::MAX.to_be_bytes();
        assert_eq!(reason::<MetadataRequest>(claim, 8, false), unpaid);
        assert_eq!(reason::<MetadataResponse>(claim, 8, false), unpaid);
        let produce = [&[0xff; 2][..], &1i16.to_be_bytes(), &30_000i32.to_be_bytes(), claim].concat();
        assert_eq!(reason::<ProduceRequest>(&produce, 8, false), unpaid);
        for version in [12, 13] {
            assert!(reason::<MetadataRequest>(HUGE, version, true).contains("Not enough bytes"));
            assert!(
                reason::<MetadataResponse>(&[&[0; 4], HUGE].concat(), version, true)
                    .contains("Not enough bytes")
            );
        }
    }

    #[test]
    fn an_array_inside_of_one_that_is_paid_for_is_not_believed_either() {
        let mut body = BytesMut::new();
        body.put_slice(&[0, 1, b'g', 0, 0, 0, 1, 0, 1, b'm', 0xff, 0xff]);
        body.put_i32(1);
        body.put_slice(&[0, 1, b't']);
        body.put_i32(i32::MAX);
        assert!(reason::<OffsetCommitRequest>(&body, 7, false).starts_with("it has not the bytes"));
    }

    #[test]
    fn numbers_that_are_no_lengths_may_be_of_any_size() {
        for version in 4..=17 {
            let partition =
                FetchPartition::default().with_partition_max_bytes(i32::MAX).with_fetch_offset(1 << 40);
            let topic = FetchTopic::default().with_partitions(vec![partition]);
            let request = FetchRequest::default()
                .with_max_wait_ms(i32::MAX)
                .with_max_bytes(50 << 20)
                .with_min_bytes(CLAIM_FREE as i32 + 1)
                .with_topics(vec![topic]);
            let mut body = BytesMut::new();
            request.encode(&mut body, version).unwrap();
            let decoded = decode(&mut body.freeze(), version, version >= 12);
            assert_eq!(decoded, Ok(request), "version {version}");
        }
    }

    /// `allow_auto_topic_creation` and two more as booleans that look like the beginning of an integer: the array that comes
    /// first is empty here, and a tagged field claims what there is not.
    #[test]
    fn a_boolean_that_looks_like_a_length_hides_none() {
        let body = [&[1, 0x80, 0x80, 0x80], HUGE].concat();
        assert!(reason::<MetadataRequest>(&body, 9, true).contains("Not enough bytes"));
    }
}

//! `Idempotency-Key`: what a request that came with one is known by (draft-ietf-httpapi-idempotency-key-header-07).
//!
//! Nothing is kept here. The key becomes the id of a producer and the request's content its sequence, so the partition's own
//! memory of producers, which its replicas share, tells a repeat from a new request, whichever gateway sends it.

use axum::http::HeaderMap;
use domain::{PartitionIndex, ProducerId};
use sha2::{Digest, Sha256};

use crate::{ApiError, place::header_text};

const HEADER: &str = "idempotency-key";
const KEY_BYTES_MAX: usize = 255;

/// The client's name for a request: it may be repeated under it and is carried out once.
#[derive(Clone, Debug)]
pub(crate) struct IdempotencyKey(Sha256);

/// What a leader tells the records of a key by. A key has one batch in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Once {
    pub(crate) producer: ProducerId,
    /// Of the content: other records under the same key have another.
    pub(crate) sequence: i32,
    spot: u32,
}

impl IdempotencyKey {
    pub(crate) fn of(headers: &HeaderMap) -> Result<Option<Self>, ApiError> {
        if headers.get_all(HEADER).iter().nth(1).is_some() {
            return Err(ApiError::bad_request("Idempotency-Key is there more than once"));
        }
        match header_text(headers, HEADER, KEY_BYTES_MAX)? {
            None => Ok(None),
            Some("") => Err(ApiError::bad_request("Idempotency-Key is empty")),
            Some(key) => Ok(Some(Self(Sha256::new_with_prefix(key)))),
        }
    }

    /// A request that is carried out as a whole. `content`: all that must be the same when it is repeated.
    pub(crate) fn request(&self, content: &[&[u8]]) -> Once {
        Once::new(self.0.clone(), content)
    }

    /// One record of a request that comes bit by bit.
    pub(crate) fn record(&self, index: usize, content: &[&[u8]]) -> Once {
        // No key has a zero byte.
        Once::new(self.0.clone().chain_update([0]).chain_update(index.to_be_bytes()), content)
    }
}

impl Once {
    fn new(key: Sha256, content: &[&[u8]]) -> Self {
        let mut of_content = Sha256::new();
        for part in content {
            of_content.update(part.len().to_be_bytes());
            of_content.update(part);
        }
        let (of_key, of_content) = (key.finalize(), of_content.finalize());
        Self {
            producer: ProducerId::of_key(u64::from_be_bytes(first(&of_key))),
            sequence: i32::from_be_bytes(first(&of_content)) & i32::MAX,
            spot: u32::from_be_bytes(first(&of_key[8..])),
        }
    }

    /// Where records go that may go anywhere: a repeat must find them.
    pub(crate) fn partition(&self, partitions: usize) -> PartitionIndex {
        PartitionIndex((self.spot as usize % partitions.max(1)) as i32)
    }
}

/// The first bytes of a digest, which has more.
fn first<const N: usize>(digest: &[u8]) -> [u8; N] {
    digest.first_chunk().copied().unwrap_or([0; N])
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn key(text: &str) -> IdempotencyKey {
        let headers = HeaderMap::from_iter([(HEADER.parse().unwrap(), HeaderValue::from_str(text).unwrap())]);
        IdempotencyKey::of(&headers).unwrap().unwrap()
    }

    #[test]
    fn a_request_is_known_by_its_key_and_its_content() {
        let once = key("a").request(&[b"v2", b"body"]);
        assert_eq!(once, key("a").request(&[b"v2", b"body"]));
        assert!(once.producer.is_of_key() && once.sequence >= 0);
        let other = key("a").request(&[b"v2b", b"ody"]);
        assert_eq!(
            (other.producer, other.spot),
            (once.producer, once.spot),
            "it is found where the first went"
        );
        assert_ne!(other.sequence, once.sequence);
        assert_ne!(key("b").request(&[b"v2", b"body"]).producer, once.producer);
    }

    #[test]
    fn the_records_of_a_stream_are_known_one_by_one() {
        let (first, second) = (key("a").record(0, &[b"x"]), key("a").record(1, &[b"x"]));
        assert_ne!(first.producer, second.producer);
        assert_eq!(first, key("a").record(0, &[b"x"]));
        assert_ne!(key("a").request(&[b"x"]).producer, first.producer);
    }

    #[test]
    fn keys_are_spread_over_all_partitions() {
        let spots = (0..200).map(|n| key(&n.to_string()).request(&[]).partition(7).0);
        assert_eq!(spots.collect::<std::collections::BTreeSet<_>>(), (0..7).collect());
    }

    #[test]
    fn a_key_that_is_none_is_named() {
        let of = |values: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(HEADER, HeaderValue::from_bytes(value).unwrap());
            }
            IdempotencyKey::of(&headers).map(|key| key.is_some()).map_err(|error| (error.code, error.message))
        };
        assert_eq!(of(&[]), Ok(false));
        assert_eq!(of(&[&[b'k'; 255]]), Ok(true));
        let refused = |values: &[&[u8]]| of(values).unwrap_err();
        assert_eq!(refused(&[b""]), (400, "Idempotency-Key is empty".to_owned()));
        assert_eq!(refused(&[&[b'k'; 256]]).1, "idempotency-key has 256 bytes, 255 are the most");
        assert_eq!(refused(&[b"a", b"a"]).1, "Idempotency-Key is there more than once");
        assert_eq!(refused(&[b"\xff"]).1, "idempotency-key is not plain ASCII");
    }
}

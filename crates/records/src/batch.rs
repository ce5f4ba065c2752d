use std::ops::Range;

use crc_fast::CrcAlgorithm;

use crate::{BatchError, BatchHeader, HEADER_BYTES};

/// Where the bytes begin that the CRC covers.
pub(crate) const CRC_COVERS_FROM: usize = 21;

/// Walks concatenated batches. See [`check_batches`].
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// Walks the batches in `bytes`: each one's place and header, after its length was found to be there and its CRC to be
/// right. The first error ends the walk.
pub fn check_batches(bytes: &[u8]) -> Batches<'_> {
    Batches { bytes, at: 0 }
}

impl Iterator for Batches<'_> {
    type Item = Result<(Range<usize>, BatchHeader), BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = &self.bytes[self.at..];
        if rest.is_empty() {
            return None;
        }
        let checked = BatchHeader::parse(rest).and_then(|header| {
            check_crc(&header, rest)?;
            Ok(header)
        });
        Some(match checked {
            Ok(header) => {
                let range = self.at..self.at + header.total_bytes();
                self.at = range.end;
                Ok((range, header))
            }
            Err(error) => {
                self.at = self.bytes.len();
                Err(error)
            }
        })
    }
}

/// Checks the CRC-32C of the batch at the start of `bytes`, whose header was parsed from there.
pub fn check_crc(header: &BatchHeader, bytes: &[u8]) -> Result<(), BatchError> {
    let batch = bytes
        .get(..header.total_bytes())
        .ok_or(BatchError::Truncated { needed: header.total_bytes(), there: bytes.len() })?;
    let actual = crc32c(&batch[CRC_COVERS_FROM..]);
    match actual == header.crc {
        true => Ok(()),
        false => Err(BatchError::CrcMismatch { expected: header.crc, actual }),
    }
}

/// CRC-32C (Castagnoli), which hardware computes.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// CRC-32C of a batch whose header is in one place and whose records are in another.
pub(crate) fn crc32c_of(header: &[u8; HEADER_BYTES], records: &[u8]) -> u32 {
    let mut digest = crc_fast::Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(&header[CRC_COVERS_FROM..]);
    digest.update(records);
    digest.finalize() as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BatchBuilder, Compression};

    fn two_batches() -> Vec<u8> {
        let mut builder = BatchBuilder::new(Compression::None);
        builder.push(5, None, Some(b"a"), &[]);
        let first = builder.build();
        builder.push(6, Some(b"k"), Some(b"b"), &[]);
        builder.push(7, None, None, &[]);
        [first, builder.build()].concat()
    }

    #[test]
    fn the_checksum_is_crc_32c() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283, "the check value of CRC-32C");
    }

    #[test]
    fn concatenated_batches_are_walked_whole() {
        let bytes = two_batches();
        let found: Vec<_> = check_batches(&bytes).collect::<Result<_, _>>().unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].0.start, found[0].0.end), (0, found[1].0.start));
        assert_eq!((found[1].0.end, found[1].1.record_count), (bytes.len(), 2));
    }

    #[test]
    fn a_torn_last_batch_is_truncated_and_ends_the_walk() {
        let bytes = two_batches();
        let second = check_batches(&bytes).next().unwrap().unwrap().0.end;
        for cut in second + 1..bytes.len() {
            let mut walk = check_batches(&bytes[..cut]);
            assert!(walk.next().unwrap().is_ok());
            assert!(matches!(walk.next(), Some(Err(BatchError::Truncated { .. }))), "cut at {cut}");
            assert!(walk.next().is_none());
        }
    }

    #[test]
    fn a_flipped_bit_behind_the_prefix_is_found() {
        let bytes = two_batches();
        let first = check_batches(&bytes).next().unwrap().unwrap().0;
        for at in 17..first.end {
            let mut hurt = bytes.clone();
            hurt[at] ^= 0x10;
            assert!(check_batches(&hurt).next().unwrap().is_err(), "byte {at}");
        }
    }
}

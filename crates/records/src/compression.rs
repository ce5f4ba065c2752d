use std::io::{self, Read, Write};

use flate2::{read::MultiGzDecoder, write::GzEncoder};

use crate::BatchError;

/// How a batch's records are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compression {
    #[default]
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// What Java's snappy-java writes before its blocks: a magic, a version and the oldest version that can read it.
const XERIAL_MAGIC: &[u8; 8] = b"\x82SNAPPY\0";
const XERIAL_HEADER_BYTES: usize = 16;
const XERIAL_BLOCK_BYTES: usize = 32 * 1024;
/// No snappy element yields more than 64 bytes for 3, so a block that claims more is malformed.
const SNAPPY_RATIO_MAX: usize = 22;

impl Compression {
    pub const ALL: [Compression; 5] =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

    /// The codec of the lowest three bits of a batch's attributes.
    pub fn from_code(code: u8) -> Result<Self, BatchError> {
        Self::ALL.get(usize::from(code)).copied().ok_or(BatchError::UnknownCompression(code))
    }

    pub fn code(self) -> u8 {
        self as u8
    }

    /// As in Kafka's `compression.type`.
    pub fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Snappy => "snappy",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        }
    }

    /// Compresses records, at the codec's default level. Fails only when the codec's library runs out of memory.
    pub fn compress(self, plain: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Compression::None => Ok(plain.to_vec()),
            Compression::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(plain)?;
                encoder.finish()
            }
            Compression::Snappy => compress_xerial(plain),
            Compression::Lz4 => {
                let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
                encoder.write_all(plain)?;
                encoder.finish().map_err(io::Error::other)
            }
            Compression::Zstd => zstd::bulk::compress(plain, zstd::DEFAULT_COMPRESSION_LEVEL),
        }
    }

    /// Decompresses records to at most `bytes_max` bytes. Memory grows with what comes out, never with a claim; only
    /// zstd reserves its window at once, which its library limits to 128 MiB of untouched memory.
    pub fn decompress(self, packed: &[u8], bytes_max: usize) -> Result<Vec<u8>, BatchError> {
        match self {
            Compression::None if packed.len() > bytes_max => {
                Err(BatchError::DecompressedTooLarge { max: bytes_max })
            }
            Compression::None => Ok(packed.to_vec()),
            Compression::Gzip => self.read_capped(MultiGzDecoder::new(packed), bytes_max),
            Compression::Snappy => self.decompress_snappy(packed, bytes_max),
            Compression::Lz4 => self.read_capped(lz4_flex::frame::FrameDecoder::new(packed), bytes_max),
            Compression::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(packed).map_err(|e| self.failed(e))?;
                self.read_capped(decoder, bytes_max)
            }
        }
    }

    fn read_capped(self, from: impl Read, bytes_max: usize) -> Result<Vec<u8>, BatchError> {
        let mut out = Vec::new();
        // One byte more than the cap tells "exactly full" from "too much".
        let limit = (bytes_max as u64).saturating_add(1);
        from.take(limit).read_to_end(&mut out).map_err(|e| self.failed(e))?;
        match out.len() > bytes_max {
            true => Err(BatchError::DecompressedTooLarge { max: bytes_max }),
            false => Ok(out),
        }
    }

    fn decompress_snappy(self, packed: &[u8], bytes_max: usize) -> Result<Vec<u8>, BatchError> {
        let mut out = Vec::new();
        if !packed.starts_with(XERIAL_MAGIC) {
            self.append_snappy_block(packed, &mut out, bytes_max)?;
            return Ok(out);
        }
        let mut rest =
            packed.get(XERIAL_HEADER_BYTES..).ok_or_else(|| self.failed("xerial header is cut"))?;
        while !rest.is_empty() {
            let (length, blocks) =
                rest.split_first_chunk::<4>().ok_or_else(|| self.failed("block length is cut"))?;
            let length = u32::from_be_bytes(*length) as usize;
            let block = blocks.get(..length).ok_or_else(|| self.failed("block is cut"))?;
            self.append_snappy_block(block, &mut out, bytes_max)?;
            rest = &blocks[length..];
        }
        Ok(out)
    }

    fn append_snappy_block(
        self,
        block: &[u8],
        out: &mut Vec<u8>,
        bytes_max: usize,
    ) -> Result<(), BatchError> {
        let length = snap::raw::decompress_len(block).map_err(|e| self.failed(e))?;
        if length > block.len().saturating_mul(SNAPPY_RATIO_MAX) {
            return Err(self.failed(format!("{} bytes cannot hold {length}", block.len())));
        }
        let start = out.len();
        if length > bytes_max - start {
            return Err(BatchError::DecompressedTooLarge { max: bytes_max });
        }
        out.resize(start + length, 0);
        let written =
            snap::raw::Decoder::new().decompress(block, &mut out[start..]).map_err(|e| self.failed(e))?;
        out.truncate(start + written);
        Ok(())
    }

    fn failed(self, reason: impl ToString) -> BatchError {
        BatchError::Decompression { codec: self.name(), reason: reason.to_string() }
    }
}

/// Java clients read snappy only in this frame.
fn compress_xerial(plain: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(XERIAL_HEADER_BYTES + plain.len() / 2);
    out.extend_from_slice(XERIAL_MAGIC);
    out.extend_from_slice(&1i32.to_be_bytes());
    out.extend_from_slice(&1i32.to_be_bytes());
    let mut encoder = snap::raw::Encoder::new();
    for block in plain.chunks(XERIAL_BLOCK_BYTES) {
        let packed = encoder.compress_vec(block).map_err(io::Error::other)?;
        out.extend_from_slice(&(packed.len() as u32).to_be_bytes());
        out.extend_from_slice(&packed);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn raw_snappy_is_read_as_well_as_xerial() {
        let plain = b"anabranch anabranch anabranch".repeat(3000);
        let raw = snap::raw::Encoder::new().compress_vec(&plain).unwrap();
        assert_eq!(Compression::Snappy.decompress(&raw, plain.len()).unwrap(), plain);
        let xerial = Compression::Snappy.compress(&plain).unwrap();
        assert_eq!(&xerial[..16], b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01");
        assert_eq!(Compression::Snappy.decompress(&xerial, plain.len()).unwrap(), plain);
    }

    #[test]
    fn a_bomb_stops_at_the_cap() {
        let bomb = vec![0; 8 << 20];
        for codec in Compression::ALL {
            let packed = codec.compress(&bomb).unwrap();
            assert_eq!(
                codec.decompress(&packed, 1 << 20),
                Err(BatchError::DecompressedTooLarge { max: 1 << 20 }),
                "{}",
                codec.name()
            );
            assert_eq!(codec.decompress(&packed, bomb.len()).unwrap().len(), bomb.len());
        }
    }

    #[test]
    fn a_snappy_block_that_claims_gigabytes_is_malformed() {
        let claim = [0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0];
        assert!(matches!(
            Compression::Snappy.decompress(&claim, usize::MAX),
            Err(BatchError::Decompression { codec: "snappy", .. })
        ));
    }

    proptest! {
        #[test]
        fn every_codec_gives_back_what_it_took(plain: Vec<u8>) {
            for codec in Compression::ALL {
                let packed = codec.compress(&plain).unwrap();
                prop_assert_eq!(codec.decompress(&packed, plain.len()).unwrap(), plain.clone());
            }
        }

        #[test]
        fn garbage_is_an_error_or_stays_below_the_cap(mut bytes: Vec<u8>, as_xerial: bool) {
            if as_xerial {
                bytes.splice(0..0, XERIAL_MAGIC.iter().copied());
            }
            for codec in Compression::ALL {
                if let Ok(plain) = codec.decompress(&bytes, 1000) {
                    prop_assert!(plain.len() <= 1000);
                }
            }
        }
    }
}

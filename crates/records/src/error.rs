/// Why some bytes are not a record batch that can be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Fewer bytes than the batch needs: a torn tail, or a short request.
    #[error("batch is truncated: {there} of {needed} bytes are there")]
    Truncated { needed: usize, there: usize },
    /// A message format before Kafka 0.11.
    #[error("message format {0} is not supported, only 2 is")]
    UnsupportedMagic(i8),
    #[error("batch length {0} is smaller than a batch header")]
    LengthTooSmall(i32),
    #[error("crc is {actual:#010x}, the header says {expected:#010x}")]
    CrcMismatch { expected: u32, actual: u32 },
    /// A field with a value that no batch has.
    #[error("batch has {field} {value}")]
    InvalidField { field: &'static str, value: i64 },
    #[error("compression codec {0} is unknown")]
    UnknownCompression(u8),
    #[error("{codec} data cannot be decompressed: {reason}")]
    Decompression { codec: &'static str, reason: String },
    /// The records would grow past the cap that the caller set.
    #[error("records decompress to more than {max} bytes, or take more")]
    DecompressedTooLarge { max: usize },
    /// The batch's frame is right, but a record inside is not.
    #[error("record {index} of the batch is malformed: {reason}")]
    InvalidRecord { index: usize, reason: &'static str },
    #[error("{0} bytes follow the batch's last record")]
    TrailingBytes(usize),
}

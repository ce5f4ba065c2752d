#![doc = include_str!("../README.md")]

mod batch;
mod builder;
mod compression;
mod error;
mod header;
mod prefix;
mod record;
mod rewrite;
mod varint;

pub use batch::{Batches, check_batches, check_crc};
pub use builder::BatchBuilder;
pub use compression::Compression;
pub use error::BatchError;
pub use header::{Attributes, BatchHeader, HEADER_BYTES, LOG_OVERHEAD_BYTES, sequence_after};
pub use prefix::{PREFIX_BYTES, patched_prefix, stamped_header};
pub use record::{Header, Record, decode_records};
pub use rewrite::rewritten;

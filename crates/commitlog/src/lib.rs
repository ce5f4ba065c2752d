#![doc = include_str!("../README.md")]

mod append;
mod boundaries;
mod checkpoint;
mod clean_shutdown;
mod crashsafe;
mod data_dir;
mod error;
mod file_cache;
mod flush;
mod index;
mod log;
mod meta_properties;
mod open;
mod partition_metadata;
mod producer_snapshot;
mod read;
mod recovery;
mod retention;
mod segment;
mod timestamps;
mod truncate;
mod walk;

pub use append::Appended;
pub use checkpoint::CheckpointKind;
pub use clean_shutdown::CleanShutdown;
pub use data_dir::{DataDir, PartitionFolder};
pub use error::{AppendError, DataDirError, LogError, ReadError};
pub use file_cache::FileCache;
pub use flush::Unflushed;
pub use log::Log;
pub use meta_properties::MetaProperties;
pub use open::OpenMode;
pub use read::LogSlice;
pub use recovery::{Recovery, Torn};
pub use retention::Retained;
pub use timestamps::TimestampOffset;

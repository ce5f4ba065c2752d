use std::{
    io,
    path::{Path, PathBuf},
};

use domain::{ClusterId, LeaderEpoch, NodeId, Offset};
use records::BatchError;
use replica::ProducerRefusal;

/// Why a partition's log cannot be opened, changed or kept.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// `fdatasync` failed. It must not be tried again: the kernel may have dropped the pages, and the next one would
    /// report success. The folder goes offline.
    #[error("{}: flush failed: {source}", path.display())]
    Flush { path: PathBuf, source: io::Error },
    /// Bytes that were flushed once are no valid batch any more. Nothing was cut.
    #[error("{}: corrupt at byte {position}: {reason}", path.display())]
    Corrupt { path: PathBuf, position: u64, reason: String },
    /// Records that were flushed once are gone. Nothing was cut.
    #[error("{}: the log ends at offset {end}, below its recovery point {recovery_point}", dir.display())]
    Shortened { dir: PathBuf, end: Offset, recovery_point: Offset },
    /// `partition.metadata` is missing or says nothing that can be read.
    #[error("{}: {reason}", path.display())]
    Metadata { path: PathBuf, reason: String },
}

impl LogError {
    /// Whether the disk is full. Reading and deleting go on; appends may succeed later.
    pub fn is_no_space(&self) -> bool {
        matches!(self, LogError::Io { source, .. }
            if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }
}

/// Why a batch was not appended. Nothing of it is in the log.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Not a batch, or a damaged one: Kafka's CORRUPT_MESSAGE.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// A batch that a client must not send: Kafka's INVALID_RECORD.
    #[error("invalid record: {0}")]
    InvalidRecord(&'static str),
    /// Kafka's MESSAGE_TOO_LARGE.
    #[error("batch has {bytes} bytes, the most is {max}")]
    TooLarge { bytes: usize, max: u32 },
    /// Kafka's INVALID_TIMESTAMP.
    #[error("timestamp {timestamp} lies after {max}, the latest that is taken now")]
    InvalidTimestamp { timestamp: i64, max: i64 },
    #[error(transparent)]
    Producer(#[from] ProducerRefusal),
    #[error("leader epoch {got} is stale, the log is at {current}")]
    StaleLeaderEpoch { got: LeaderEpoch, current: LeaderEpoch },
    /// Only as a follower: the batch does not lie behind what is there.
    #[error("batch at offset {base} overlaps the log, which ends at {end}")]
    Overlap { base: Offset, end: Offset },
    /// The disk refused; see [`LogError::is_no_space`].
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Why nothing can be read from an offset.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("offset {from} is out of range, the log holds {start} to {end}")]
    OutOfRange { from: Offset, start: Offset, end: Offset },
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    #[error("data folder {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("data folder {} is in use by another process", .0.display())]
    Locked(PathBuf),
    #[error("data folder {} belongs to cluster {found}, not {expected}", path.display())]
    OtherCluster { path: PathBuf, found: ClusterId, expected: ClusterId },
    #[error("data folder {} belongs to node {found}, not {expected}", path.display())]
    OtherNode { path: PathBuf, found: NodeId, expected: NodeId },
    #[error("{}: {reason}", path.display())]
    IllFormed { path: PathBuf, reason: String },
}

/// Gives an I/O error the path that it happened at.
pub(crate) trait At<T> {
    fn at(self, path: &Path) -> Result<T, LogError>;
    fn in_folder(self, path: &Path) -> Result<T, DataDirError>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, path: &Path) -> Result<T, LogError> {
        self.map_err(|source| LogError::Io { path: path.to_owned(), source: source.into() })
    }

    fn in_folder(self, path: &Path) -> Result<T, DataDirError> {
        self.map_err(|source| DataDirError::Io { path: path.to_owned(), source: source.into() })
    }
}

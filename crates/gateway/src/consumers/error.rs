use domain::{PartitionIndex, TopicName};
use group::SessionError;

use crate::{ApiError, reader::ReadError};

/// Why a REST consumer's request came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConsumerError {
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Nothing was changed.
    #[error("nobody coordinates the group at the moment: {0}")]
    Unavailable(String),
    /// It may or may not have been carried out.
    #[error("the group's coordinator did not answer, the outcome is unknown: {0}")]
    Unknown(String),
    #[error(
        "the group has no position in {topic}-{partition}, or one that is not there, and auto.offset.reset is none"
    )]
    NoPosition { topic: TopicName, partition: PartitionIndex },
    /// As a client sees it.
    #[error("{}", .0.message)]
    Api(ApiError),
}

impl From<ApiError> for ConsumerError {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

//! The one place where errors become Kafka's codes.

use commitlog::{AppendError, LogError, ReadError};
use metadata::RefusalKind;
use replica::ProducerRefusal;
use rpc::ControllerError;
use wire::ResponseError;

/// Why a partition did not serve a request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PartitionError {
    #[error("this node does not lead the partition")]
    NotLeader,
    #[error("the partition's log is offline on this node")]
    Offline,
    #[error("leader epoch {got} is older than the partition's {current}")]
    FencedEpoch { got: i32, current: i32 },
    #[error("leader epoch {got} is newer than the {current} known here")]
    UnknownEpoch { got: i32, current: i32 },
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Log(#[from] LogError),
}

impl PartitionError {
    pub(crate) fn code(&self) -> ResponseError {
        match self {
            PartitionError::NotLeader => ResponseError::NotLeaderOrFollower,
            PartitionError::Offline => ResponseError::KafkaStorageError,
            PartitionError::FencedEpoch { .. } => ResponseError::FencedLeaderEpoch,
            PartitionError::UnknownEpoch { .. } => ResponseError::UnknownLeaderEpoch,
            PartitionError::Append(error) => append_code(error),
            PartitionError::Read(ReadError::OutOfRange { .. }) => ResponseError::OffsetOutOfRange,
            PartitionError::Read(ReadError::Log(error)) | PartitionError::Log(error) => log_code(error),
        }
    }
}

fn append_code(error: &AppendError) -> ResponseError {
    match error {
        AppendError::Batch(_) => ResponseError::CorruptMessage,
        AppendError::InvalidRecord(_) => ResponseError::InvalidRecord,
        AppendError::TooLarge { .. } => ResponseError::MessageTooLarge,
        AppendError::InvalidTimestamp { .. } => ResponseError::InvalidTimestamp,
        AppendError::Producer(ProducerRefusal::OutOfOrderSequence { .. }) => {
            ResponseError::OutOfOrderSequenceNumber
        }
        AppendError::Producer(ProducerRefusal::StaleEpoch { .. }) => ResponseError::InvalidProducerEpoch,
        AppendError::Producer(ProducerRefusal::DuplicateSequence { .. }) => {
            ResponseError::DuplicateSequenceNumber
        }
        AppendError::StaleLeaderEpoch { .. } => ResponseError::NotLeaderOrFollower,
        AppendError::Log(error) => log_code(error),
    }
}

fn log_code(_: &LogError) -> ResponseError {
    ResponseError::KafkaStorageError
}

/// What the controller's answer is for a Kafka admin client.
pub(crate) fn controller_code(error: &ControllerError) -> ResponseError {
    let ControllerError::Refused(refusal) = error else {
        return ResponseError::RequestTimedOut;
    };
    match refusal.kind {
        RefusalKind::TopicExists => ResponseError::TopicAlreadyExists,
        RefusalKind::UnknownTopic => ResponseError::UnknownTopicOrPartition,
        RefusalKind::InvalidTopicName => ResponseError::InvalidTopicException,
        RefusalKind::InvalidPartitions => ResponseError::InvalidPartitions,
        RefusalKind::InvalidReplicationFactor => ResponseError::InvalidReplicationFactor,
        RefusalKind::InvalidReplicaAssignment => ResponseError::InvalidReplicaAssignment,
        RefusalKind::InvalidConfig => ResponseError::InvalidConfig,
        RefusalKind::PolicyViolation => ResponseError::PolicyViolation,
        RefusalKind::InvalidRequest => ResponseError::InvalidRequest,
        RefusalKind::StaleNodeEpoch => ResponseError::StaleBrokerEpoch,
        RefusalKind::UnknownNode
        | RefusalKind::NodeIdInUse
        | RefusalKind::WrongCluster
        | RefusalKind::DirectoryMissing => ResponseError::UnknownServerError,
    }
}

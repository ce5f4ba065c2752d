//! The one place where errors become Kafka's codes.

use commitlog::{AppendError, LogError, ReadError};
use domain::{LeaderEpoch, Offset};
use metadata::{ElectRefusalKind, RefusalKind};
use replica::{ProducerRefusal, ReplicaRefusal, UnknownEpoch};
use rpc::ControllerError;
use wire::ResponseError;

/// Why a partition did not serve a request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PartitionError {
    #[error("the partition's log is offline on this node")]
    Offline,
    #[error("the storage node's disk is almost full: records are refused until there is room")]
    DiskLow,
    #[error("a batch of this producer before this one was refused ({0:?})")]
    BehindRefused(ResponseError),
    #[error("leads since a moment ago: a batch before this one may be under way ({0})")]
    EarlierUnderWay(ProducerRefusal),
    #[error("the high watermark is not known yet")]
    OffsetNotAvailable,
    #[error("offset {before} is not below the high watermark, which is {committed}")]
    NotCommitted { before: Offset, committed: Offset },
    #[error("offset {offset} of a follower is out of range, the log holds {start} to {end}")]
    FollowerOutOfRange {
        offset: Offset,
        start: Offset,
        end: Offset,
        before: Option<LeaderEpoch>,
        committed: Offset,
    },
    #[error("a batch of leader epoch {got} came in answer to a fetch in epoch {asked}")]
    LaterEpoch { got: LeaderEpoch, asked: LeaderEpoch },
    #[error(transparent)]
    Replica(#[from] ReplicaRefusal),
    #[error(transparent)]
    UnknownFollowerEpoch(#[from] UnknownEpoch),
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Log(#[from] LogError),
}

impl PartitionError {
    /// Whether the reason passes by itself, and nothing was written: the same batch may come again.
    pub(crate) fn passes(&self) -> bool {
        match self {
            PartitionError::DiskLow | PartitionError::Replica(ReplicaRefusal::NotEnoughReplicas { .. }) => {
                true
            }
            error => error.is_no_space(),
        }
    }

    /// Whether the disk is full.
    pub(crate) fn is_no_space(&self) -> bool {
        match self {
            PartitionError::Append(AppendError::Log(error)) | PartitionError::Log(error) => {
                error.is_no_space()
            }
            _ => false,
        }
    }

    pub(crate) fn code(&self) -> ResponseError {
        match self {
            PartitionError::Offline | PartitionError::DiskLow => ResponseError::KafkaStorageError,
            PartitionError::BehindRefused(reason) => *reason,
            // A leader that does not lead yet would have said so, too: the client sends all of them again, in order.
            PartitionError::EarlierUnderWay(_) => ResponseError::NotLeaderOrFollower,
            PartitionError::OffsetNotAvailable => ResponseError::OffsetNotAvailable,
            PartitionError::NotCommitted { .. } | PartitionError::FollowerOutOfRange { .. } => {
                ResponseError::OffsetOutOfRange
            }
            PartitionError::LaterEpoch { .. } => ResponseError::UnknownServerError,
            PartitionError::Replica(refusal) => replica_code(refusal),
            PartitionError::UnknownFollowerEpoch(_) => ResponseError::UnknownLeaderEpoch,
            PartitionError::Append(error) => append_code(error),
            PartitionError::Read(ReadError::OutOfRange { .. }) => ResponseError::OffsetOutOfRange,
            PartitionError::Read(ReadError::Log(error)) | PartitionError::Log(error) => log_code(error),
        }
    }
}

fn replica_code(refusal: &ReplicaRefusal) -> ResponseError {
    match refusal {
        ReplicaRefusal::NotLeader | ReplicaRefusal::NotReplica(_) => ResponseError::NotLeaderOrFollower,
        ReplicaRefusal::FencedEpoch { .. } => ResponseError::FencedLeaderEpoch,
        ReplicaRefusal::UnknownEpoch { .. } => ResponseError::UnknownLeaderEpoch,
        ReplicaRefusal::StaleNode { .. } => ResponseError::StaleBrokerEpoch,
        ReplicaRefusal::NotEnoughReplicas { .. } => ResponseError::NotEnoughReplicas,
    }
}

fn append_code(error: &AppendError) -> ResponseError {
    match error {
        AppendError::Batch(_) => ResponseError::CorruptMessage,
        AppendError::InvalidRecord(_) => ResponseError::InvalidRecord,
        AppendError::TooLarge { .. } => ResponseError::MessageTooLarge,
        AppendError::InvalidTimestamp { .. } => ResponseError::InvalidTimestamp,
        AppendError::Producer(
            ProducerRefusal::OutOfOrderSequence { .. } | ProducerRefusal::KeyReused { .. },
        ) => ResponseError::OutOfOrderSequenceNumber,
        AppendError::Producer(ProducerRefusal::StaleEpoch { .. }) => ResponseError::InvalidProducerEpoch,
        AppendError::Producer(ProducerRefusal::DuplicateSequence { .. }) => {
            ResponseError::DuplicateSequenceNumber
        }
        AppendError::StaleLeaderEpoch { .. } => ResponseError::NotLeaderOrFollower,
        AppendError::Overlap { .. } => ResponseError::UnknownServerError,
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
    refusal_code(refusal.kind)
}

/// What the controller's refusal is for a Kafka admin client.
pub(crate) fn refusal_code(kind: RefusalKind) -> ResponseError {
    match kind {
        RefusalKind::TopicExists => ResponseError::TopicAlreadyExists,
        RefusalKind::UnknownTopic | RefusalKind::UnknownPartition => ResponseError::UnknownTopicOrPartition,
        RefusalKind::InvalidTopicName => ResponseError::InvalidTopicException,
        RefusalKind::InvalidPartitions => ResponseError::InvalidPartitions,
        RefusalKind::InvalidReplicationFactor => ResponseError::InvalidReplicationFactor,
        RefusalKind::InvalidReplicaAssignment => ResponseError::InvalidReplicaAssignment,
        RefusalKind::InvalidConfig => ResponseError::InvalidConfig,
        RefusalKind::PolicyViolation => ResponseError::PolicyViolation,
        RefusalKind::InvalidRequest => ResponseError::InvalidRequest,
        RefusalKind::NoReassignmentInProgress => ResponseError::NoReassignmentInProgress,
        RefusalKind::StaleNodeEpoch => ResponseError::StaleBrokerEpoch,
        RefusalKind::CannotDrain | RefusalKind::NotDrained => ResponseError::InvalidRequest,
        RefusalKind::UnknownNode
        | RefusalKind::NodeIdInUse
        | RefusalKind::WrongCluster
        | RefusalKind::RetiredDirectory => ResponseError::UnknownServerError,
    }
}

/// Why no leader was elected, for a Kafka admin client (KIP-460).
pub(crate) fn elect_code(kind: ElectRefusalKind) -> ResponseError {
    match kind {
        ElectRefusalKind::UnknownPartition => ResponseError::UnknownTopicOrPartition,
        ElectRefusalKind::ElectionNotNeeded => ResponseError::ElectionNotNeeded,
        ElectRefusalKind::PreferredLeaderNotAvailable => ResponseError::PreferredLeaderNotAvailable,
        ElectRefusalKind::EligibleLeadersNotAvailable => ResponseError::EligibleLeadersNotAvailable,
    }
}

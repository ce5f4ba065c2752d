use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a command changed nothing: a kind to act on and a sentence to read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    pub kind: RefusalKind,
    pub message: String,
}

/// What a caller can tell refusals apart by. The names are part of the gRPC contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RefusalKind {
    TopicExists,
    UnknownTopic,
    InvalidTopicName,
    InvalidPartitions,
    InvalidReplicationFactor,
    InvalidReplicaAssignment,
    InvalidConfig,
    PolicyViolation,
    InvalidRequest,
    UnknownNode,
    StaleNodeEpoch,
    NodeIdInUse,
    WrongCluster,
    DirectoryMissing,
}

impl RefusalKind {
    const ALL: [RefusalKind; 14] = [
        RefusalKind::TopicExists,
        RefusalKind::UnknownTopic,
        RefusalKind::InvalidTopicName,
        RefusalKind::InvalidPartitions,
        RefusalKind::InvalidReplicationFactor,
        RefusalKind::InvalidReplicaAssignment,
        RefusalKind::InvalidConfig,
        RefusalKind::PolicyViolation,
        RefusalKind::InvalidRequest,
        RefusalKind::UnknownNode,
        RefusalKind::StaleNodeEpoch,
        RefusalKind::NodeIdInUse,
        RefusalKind::WrongCluster,
        RefusalKind::DirectoryMissing,
    ];

    /// The kind of that name, as [`fmt::Display`] writes it.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.to_string() == name)
    }
}

impl fmt::Display for RefusalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl Refusal {
    pub fn new(kind: RefusalKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_name() {
        for kind in RefusalKind::ALL {
            assert_eq!(RefusalKind::parse(&kind.to_string()), Some(kind));
        }
        assert_eq!(RefusalKind::parse("Nonsense"), None);
    }
}

use std::fmt;

use serde::{Deserialize, Serialize};

/// Defines what callers can tell refusals apart by. The names are part of the gRPC contract.
macro_rules! kinds {
    ($(#[$doc:meta])* $name:ident { $($(#[$kind_doc:meta])* $kind:ident,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$kind_doc])* $kind,)+
        }

        impl $name {
            const ALL: &'static [$name] = &[$($name::$kind,)+];

            /// The kind of that name, as [`fmt::Display`] writes it.
            pub fn parse(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|kind| kind.to_string() == name)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self, f)
            }
        }
    };
}

/// Defines a refusal: a kind to act on and a sentence to read.
macro_rules! refusal {
    ($(#[$doc:meta])* $name:ident($kind:ident)) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
        #[error("{message}")]
        pub struct $name {
            pub kind: $kind,
            pub message: String,
        }

        impl $name {
            pub fn new(kind: $kind, message: impl Into<String>) -> Self {
                Self { kind, message: message.into() }
            }
        }
    };
}

kinds! {
    /// Why a command changed nothing.
    RefusalKind {
        TopicExists,
        UnknownTopic,
        UnknownPartition,
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
        /// The folder belonged to a node that was drained and left.
        RetiredDirectory,
        /// A node cannot be drained: it would cost a replica, a rack, or more room than there is.
        CannotDrain,
        /// A node that has replicas cannot leave for good.
        NotDrained,
        NoReassignmentInProgress,
    }
}

refusal! {
    /// Why a command changed nothing: a kind to act on and a sentence to read.
    Refusal(RefusalKind)
}

kinds! {
    /// Why proposed in-sync replicas were not taken, in the order in which it is checked.
    AlterRefusalKind {
        UnknownPartition,
        /// The partition is in a later leader epoch: the proposer does not lead any more.
        FencedLeaderEpoch,
        /// The partition has not reached that leader epoch.
        UnknownLeaderEpoch,
        NotLeader,
        /// The partition changed since: adopt its state first. An earlier copy of the same proposal may be
        /// that change.
        StalePartitionEpoch,
        /// Empty, doubled, without the leader, or no replica.
        InvalidIsr,
        /// A member is fenced or stopping (KIP-841), or another incarnation is registered (KIP-903).
        Ineligible,
    }
}

refusal! {
    /// Why one partition kept its in-sync replicas.
    AlterRefusal(AlterRefusalKind)
}

kinds! {
    /// Why no leader was elected (KIP-460).
    ElectRefusalKind {
        UnknownPartition,
        ElectionNotNeeded,
        PreferredLeaderNotAvailable,
        EligibleLeadersNotAvailable,
    }
}

refusal! {
    /// Why one partition kept its leader, or none.
    ElectRefusal(ElectRefusalKind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_name() {
        for kind in RefusalKind::ALL {
            assert_eq!(RefusalKind::parse(&kind.to_string()), Some(*kind));
        }
        for kind in AlterRefusalKind::ALL {
            assert_eq!(AlterRefusalKind::parse(&kind.to_string()), Some(*kind));
        }
        for kind in ElectRefusalKind::ALL {
            assert_eq!(ElectRefusalKind::parse(&kind.to_string()), Some(*kind));
        }
        assert_eq!(RefusalKind::parse("Nonsense"), None);
    }
}

#![doc = include_str!("../README.md")]

mod broker_names;
mod config;
mod epochs;
mod ids;
mod name;
mod uuid;

pub use config::{
    CleanupPolicy, ConfigDefinition, ConfigError, ConfigOverrides, ConfigType, TimestampType, TopicConfig,
    topic_config_definitions,
};
pub use epochs::{LeaderEpoch, NodeEpoch, PartitionEpoch};
pub use ids::{NodeId, Offset, PartitionIndex, ProducerEpoch, ProducerId, TopicPartition};
pub use name::{OFFSETS_TOPIC, TopicName, TopicNameError};
pub use uuid::{ClusterId, DirectoryId, IdParseError, TopicId};

/// Defines a number with a meaning: ordered, copyable, printed as the bare number.
macro_rules! number {
    ($(#[$doc:meta])* $name:ident($repr:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $repr);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}
pub(crate) use number;

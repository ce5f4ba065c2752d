//! What stands in paths.

use utoipa::IntoParams;

/// A name for the request, made up by the client.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "it is there for what is derived of it")]
pub(crate) struct IdempotencyHeader {
    /// Repeated under it within ten minutes, the request is carried out once, and answered with the first offsets, by any
    /// gateway. Another request under it is refused with 422.
    #[param(rename = "Idempotency-Key", min_length = 1, max_length = 255, required = false)]
    key: Option<String>,
}

macro_rules! paths {
    ($($name:ident { $($(#[$meta:meta])* $field:ident: $type:ty,)* })*) => {$(
        #[derive(IntoParams)]
        #[into_params(parameter_in = Path)]
        #[expect(dead_code, reason = "it is there for what is derived of it")]
        pub(crate) struct $name {
            $($(#[$meta])* $field: $type,)*
        }
    )*};
}

paths! {
    ClusterPath {
        /// The one that this gateway serves.
        cluster: String,
    }
    NodePath {
        /// A storage node's ordinal.
        #[param(minimum = 0)]
        node: i32,
    }
    TopicPath {
        /// The one that this gateway serves.
        cluster: String,
        /// A topic's name.
        topic: String,
    }
    PartitionPath {
        /// The one that this gateway serves.
        cluster: String,
        /// A topic's name.
        topic: String,
        /// Its number, from 0.
        #[param(minimum = 0)]
        partition: i32,
    }
    ReplicaPath {
        /// The one that this gateway serves.
        cluster: String,
        /// A topic's name.
        topic: String,
        /// Its number, from 0.
        #[param(minimum = 0)]
        partition: i32,
        /// A storage node's ordinal.
        #[param(minimum = 0)]
        broker: i32,
    }
    TopicConfigPath {
        /// The one that this gateway serves.
        cluster: String,
        /// A topic's name.
        topic: String,
        /// Of the setting, as Kafka calls it for topics: `retention.ms`.
        name: String,
    }
    BrokerPath {
        /// The one that this gateway serves.
        cluster: String,
        /// A storage node's ordinal.
        #[param(minimum = 0)]
        broker: i32,
    }
    BrokerConfigPath {
        /// The one that this gateway serves.
        cluster: String,
        /// A storage node's ordinal.
        #[param(minimum = 0)]
        broker: i32,
        /// Of the setting, as Kafka calls it for brokers: `log.retention.ms`.
        name: String,
    }
    ClusterConfigPath {
        /// The one that this gateway serves.
        cluster: String,
        /// Of the setting, as Kafka calls it for brokers: `log.retention.ms`.
        name: String,
    }
    GroupPath {
        /// The one that this gateway serves.
        cluster: String,
        /// A consumer group's id.
        group: String,
    }
    ConsumerPath {
        /// The one that this gateway serves.
        cluster: String,
        /// A consumer group's id.
        group: String,
        /// A member's id.
        consumer: String,
    }
    AssignmentPath {
        /// The one that this gateway serves.
        cluster: String,
        /// A consumer group's id.
        group: String,
        /// A member's id.
        consumer: String,
        /// A topic's name.
        topic: String,
        /// Its number, from 0.
        #[param(minimum = 0)]
        partition: i32,
    }
    LagPath {
        /// The one that this gateway serves.
        cluster: String,
        /// A consumer group's id.
        group: String,
        /// A topic's name.
        topic: String,
        /// Its number, from 0.
        #[param(minimum = 0)]
        partition: i32,
    }
    V2TopicPath {
        /// A topic's name.
        topic: String,
    }
    V2PartitionPath {
        /// A topic's name.
        topic: String,
        /// Its number, from 0.
        #[param(minimum = 0)]
        partition: i32,
    }
    V2GroupPath {
        /// A consumer group's id.
        group: String,
    }
    V2InstancePath {
        /// A consumer group's id.
        group: String,
        /// The name of a consumer that was made in it.
        instance: String,
    }
}

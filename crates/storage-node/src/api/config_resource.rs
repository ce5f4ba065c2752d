//! What has settings: topics, and the cluster as Kafka's default of all brokers.

use domain::{ConfigDefinition, TopicName};
use wire::ResponseError;

/// Kinds of resources that have settings, as the wire has them.
pub(super) const TOPIC: i8 = 2;
pub(super) const BROKER: i8 = 4;
/// A consumer group (KIP-848).
pub(super) const GROUP: i8 = 32;

type Refused = (ResponseError, String);

/// Something whose settings can be altered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    Topic(TopicName),
    /// What holds for every topic that says nothing else. Kafka's name for it is a broker without a name.
    Cluster,
}

impl Resource {
    /// What a request to alter settings means.
    pub(super) fn altered(kind: i8, name: &str) -> Result<Self, Refused> {
        match kind {
            TOPIC => TopicName::new(name)
                .map(Resource::Topic)
                .map_err(|e| (ResponseError::InvalidTopicException, e.to_string())),
            BROKER if name.is_empty() => Ok(Resource::Cluster),
            BROKER => {
                let message =
                    format!("node {name} reads its configs at its start; those of topics can be altered");
                Err((ResponseError::InvalidRequest, message))
            }
            GROUP => {
                let message = format!(
                    "group '{name}' has no configs of its own: storage.groups sets them for all, at a node's start"
                );
                Err((ResponseError::InvalidRequest, message))
            }
            other => {
                let message = format!("resource type {other} has no configs that can be altered");
                Err((ResponseError::InvalidRequest, message))
            }
        }
    }

    /// The name that a setting has for topics.
    pub(super) fn topic_config_name(&self, name: &str) -> Result<String, Refused> {
        if let Resource::Topic(_) = self {
            return Ok(name.to_owned());
        }
        let known = ConfigDefinition::find_for_brokers(name);
        let unknown = || (ResponseError::InvalidConfig, format!("unknown config '{name}'"));
        known.map(|definition| definition.name.to_owned()).ok_or_else(unknown)
    }

    pub(super) fn topic(&self) -> Option<&TopicName> {
        match self {
            Resource::Topic(name) => Some(name),
            Resource::Cluster => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_has_its_own_names_for_the_settings_of_topics() {
        assert_eq!(Resource::Cluster.topic_config_name("log.retention.ms").unwrap(), "retention.ms");
        assert_eq!(
            Resource::Cluster.topic_config_name("min.insync.replicas").unwrap(),
            "min.insync.replicas"
        );
        let (code, message) = Resource::Cluster.topic_config_name("log.retention").unwrap_err();
        assert_eq!(
            (code, message.as_str()),
            (ResponseError::InvalidConfig, "unknown config 'log.retention'")
        );
    }

    #[test]
    fn a_node_by_its_name_is_not_altered() {
        assert_eq!(Resource::altered(BROKER, ""), Ok(Resource::Cluster));
        assert_eq!(Resource::altered(BROKER, "1").unwrap_err().0, ResponseError::InvalidRequest);
        assert_eq!(Resource::altered(8, "1").unwrap_err().0, ResponseError::InvalidRequest);
    }
}

use std::sync::Arc;

use bytes::Bytes;
use domain::{ClusterId, DirectoryId, NodeEpoch, NodeId, PartitionIndex, TopicId, TopicName};
use metadata::{
    ConfigChange, ConfigOperation, Delta, Endpoint, Node, NodeRegistration, NodeState, TopicDelta, TopicSpec,
};
use prost::Message;
use uuid::Uuid;

use crate::{
    partition::{partition_from_pb, partition_to_pb},
    pb,
};

/// A message whose fields make no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConversionError {
    #[error("metadata event has format {0}, this build knows {known}", known = crate::FORMAT)]
    UnknownFormat(u32),
    #[error("field {0} is missing")]
    Missing(&'static str),
    #[error("field {field} is not valid: {reason}")]
    Invalid { field: &'static str, reason: String },
}

impl From<ConversionError> for tonic::Status {
    fn from(error: ConversionError) -> Self {
        tonic::Status::invalid_argument(error.to_string())
    }
}

pub(crate) type Result<T> = std::result::Result<T, ConversionError>;

pub(crate) fn invalid(field: &'static str, reason: impl ToString) -> ConversionError {
    ConversionError::Invalid { field, reason: reason.to_string() }
}

pub(crate) fn uuid(field: &'static str, bytes: &[u8]) -> Result<Uuid> {
    Uuid::from_slice(bytes).map_err(|e| invalid(field, e))
}

pub(crate) fn uuid_bytes(id: Uuid) -> Bytes {
    Bytes::copy_from_slice(id.as_bytes())
}

pub(crate) fn topic_name(name: &str) -> Result<TopicName> {
    TopicName::new(name).map_err(|e| invalid("topic name", e))
}

fn endpoint_from(endpoint: Option<pb::Endpoint>) -> Result<Endpoint> {
    let endpoint = endpoint.ok_or(ConversionError::Missing("endpoint"))?;
    let port = u16::try_from(endpoint.port).map_err(|e| invalid("endpoint.port", e))?;
    Ok(Endpoint { host: endpoint.host, port })
}

fn endpoint_to(endpoint: &Endpoint) -> Option<pb::Endpoint> {
    Some(pb::Endpoint { host: endpoint.host.clone(), port: endpoint.port.into() })
}

/// A delta as a watcher gets it, encoded once for all of them.
pub fn encode_delta(delta: &Delta) -> pb::MetadataEvent {
    let cluster = delta.cluster.as_ref().map(|(id, configs)| pb::ClusterState {
        cluster_id: id.map(|id| uuid_bytes(id.0)),
        configs: configs.clone().into_iter().collect(),
    });
    let message = pb::Delta {
        version: delta.version,
        snapshot: delta.snapshot,
        cluster,
        nodes: delta.nodes.iter().map(|n| node_to(n)).collect(),
        topics: delta.topics.iter().map(topic_to).collect(),
        deleted: delta
            .deleted
            .iter()
            .map(|(id, name)| pb::DeletedTopic { id: uuid_bytes(id.0), name: name.to_string() })
            .collect(),
        gone_nodes: delta.gone_nodes.iter().map(|n| n.0).collect(),
    };
    pb::MetadataEvent { format: crate::FORMAT, delta: message.encode_to_vec().into() }
}

/// # Errors
/// An unknown format, an encoding that is broken, or a field that is not valid; each by name.
pub fn decode_delta(event: &pb::MetadataEvent) -> Result<Delta> {
    if event.format != crate::FORMAT {
        return Err(ConversionError::UnknownFormat(event.format));
    }
    let message = pb::Delta::decode(event.delta.clone()).map_err(|e| invalid("delta", e))?;
    let cluster = message.cluster.map(|state| -> Result<_> {
        let id = state.cluster_id.map(|id| uuid("cluster_id", &id)).transpose()?;
        Ok((id.map(ClusterId), state.configs.into_iter().collect()))
    });
    let deleted = message.deleted.into_iter();
    Ok(Delta {
        version: message.version,
        snapshot: message.snapshot,
        cluster: cluster.transpose()?,
        nodes: message.nodes.into_iter().map(|n| node_from(n).map(Arc::new)).collect::<Result<_>>()?,
        gone_nodes: message.gone_nodes.into_iter().map(NodeId).collect(),
        topics: message.topics.into_iter().map(topic_from).collect::<Result<_>>()?,
        deleted: deleted
            .map(|t| Ok((TopicId(uuid("deleted.id", &t.id)?), topic_name(&t.name)?)))
            .collect::<Result<_>>()?,
    })
}

fn node_to(node: &Node) -> pb::Node {
    pb::Node {
        id: node.id.0,
        epoch: node.epoch.0,
        state: match node.state {
            NodeState::Fenced => pb::NodeState::Fenced,
            NodeState::Active => pb::NodeState::Active,
            NodeState::Stopping => pb::NodeState::Stopping,
        }
        .into(),
        directory_id: uuid_bytes(node.directory.0),
        kafka: endpoint_to(&node.kafka),
        http: endpoint_to(&node.http),
        rack: node.rack.clone(),
        draining: node.draining,
        scaled_in: node.scaled_in,
    }
}

fn node_from(node: pb::Node) -> Result<Node> {
    Ok(Node {
        id: NodeId(node.id),
        epoch: NodeEpoch(node.epoch),
        state: match node.state() {
            pb::NodeState::Active => NodeState::Active,
            pb::NodeState::Fenced => NodeState::Fenced,
            pb::NodeState::Stopping => NodeState::Stopping,
            pb::NodeState::Unspecified => return Err(invalid("node.state", node.state)),
        },
        directory: DirectoryId(uuid("node.directory_id", &node.directory_id)?),
        kafka: endpoint_from(node.kafka)?,
        http: endpoint_from(node.http)?,
        rack: node.rack,
        draining: node.draining,
        scaled_in: node.scaled_in,
    })
}

fn topic_to(topic: &TopicDelta) -> pb::Topic {
    pb::Topic {
        id: uuid_bytes(topic.id.0),
        name: topic.name.to_string(),
        configs: topic.configs.clone().into_iter().collect(),
        partitions: topic.partitions.iter().map(|(number, p)| partition_to_pb(*number, p)).collect(),
    }
}

/// A whole topic.
pub fn topic_to_pb(topic: &metadata::Topic) -> pb::Topic {
    let partitions = topic.numbered().map(|(number, partition)| (number, partition.clone()));
    topic_to(&TopicDelta {
        id: topic.id,
        name: topic.name.clone(),
        configs: topic.configs.clone(),
        partitions: partitions.collect(),
    })
}

/// A topic with the partitions that the message has.
pub fn topic_from_pb(topic: pb::Topic) -> Result<TopicDelta> {
    topic_from(topic)
}

fn topic_from(topic: pb::Topic) -> Result<TopicDelta> {
    Ok(TopicDelta {
        id: TopicId(uuid("topic.id", &topic.id)?),
        name: topic_name(&topic.name)?,
        configs: topic.configs.into_iter().collect(),
        partitions: topic.partitions.into_iter().map(partition_from_pb).collect::<Result<_>>()?,
    })
}

pub fn registration_to_pb(registration: &NodeRegistration) -> pb::RegisterRequest {
    pb::RegisterRequest {
        node: registration.node.0,
        cluster_id: registration.cluster_id.map(|id| uuid_bytes(id.0)),
        directory_id: uuid_bytes(registration.directory.0),
        kafka: endpoint_to(&registration.kafka),
        http: endpoint_to(&registration.http),
        rack: registration.rack.clone(),
        previous_epoch: registration.previous_epoch.map(|e| e.0),
        intact: registration.intact,
        damaged: registration.damaged.iter().map(damaged_to).collect(),
        incarnation: registration.incarnation.map(uuid_bytes),
        kubernetes_node: None,
    }
}

pub fn registration_from_pb(request: pb::RegisterRequest) -> Result<NodeRegistration> {
    if request.node < 0 {
        return Err(invalid("node", format!("{} is negative", request.node)));
    }
    let cluster_id = request.cluster_id.map(|id| uuid("cluster_id", &id)).transpose()?;
    Ok(NodeRegistration {
        node: NodeId(request.node),
        cluster_id: cluster_id.map(ClusterId),
        directory: DirectoryId(uuid("directory_id", &request.directory_id)?),
        kafka: endpoint_from(request.kafka)?,
        http: endpoint_from(request.http)?,
        rack: request.rack,
        previous_epoch: request.previous_epoch.map(NodeEpoch),
        intact: request.intact,
        damaged: request.damaged.into_iter().map(damaged_from).collect::<Result<_>>()?,
        incarnation: request.incarnation.map(|id| uuid("incarnation", &id)).transpose()?,
    })
}

fn damaged_to((topic, partition): &(TopicId, PartitionIndex)) -> pb::DamagedReplica {
    pb::DamagedReplica { topic_id: uuid_bytes(topic.0), partition: partition.0 }
}

fn damaged_from(message: pb::DamagedReplica) -> Result<(TopicId, PartitionIndex)> {
    Ok((TopicId(uuid("damaged.topic_id", &message.topic_id)?), PartitionIndex(message.partition)))
}

pub(crate) fn assignments_to(assignments: &[Vec<NodeId>]) -> Vec<pb::ReplicaAssignment> {
    let one = |nodes: &Vec<NodeId>| pb::ReplicaAssignment { nodes: nodes.iter().map(|n| n.0).collect() };
    assignments.iter().map(one).collect()
}

/// Replica lists as they came.
pub fn assignments_from_pb(assignments: Vec<pb::ReplicaAssignment>) -> Vec<Vec<NodeId>> {
    assignments.into_iter().map(|a| a.nodes.into_iter().map(NodeId).collect()).collect()
}

pub fn topic_spec_to_pb(spec: &TopicSpec, validate_only: bool) -> pb::CreateTopicRequest {
    pb::CreateTopicRequest {
        id: uuid_bytes(spec.id.0),
        name: spec.name.to_string(),
        partitions: spec.partitions,
        replication_factor: spec.replication_factor.map(Into::into),
        assignments: assignments_to(&spec.assignments),
        configs: spec.configs.clone().into_iter().collect(),
        validate_only,
    }
}

pub fn topic_spec_from_pb(request: pb::CreateTopicRequest) -> Result<TopicSpec> {
    let factor = request.replication_factor.map(i16::try_from).transpose();
    Ok(TopicSpec {
        id: TopicId(uuid("id", &request.id)?),
        name: topic_name(&request.name)?,
        partitions: request.partitions,
        replication_factor: factor.map_err(|e| invalid("replication_factor", e))?,
        assignments: assignments_from_pb(request.assignments),
        configs: request.configs.into_iter().collect(),
    })
}

pub fn config_change_to_pb(change: &ConfigChange) -> pb::ConfigChange {
    let (operation, value) = match &change.operation {
        ConfigOperation::Set(value) => (pb::ConfigOperation::Set, value.clone()),
        ConfigOperation::Delete => (pb::ConfigOperation::Delete, String::new()),
        ConfigOperation::Append(value) => (pb::ConfigOperation::Append, value.clone()),
        ConfigOperation::Subtract(value) => (pb::ConfigOperation::Subtract, value.clone()),
    };
    pb::ConfigChange { name: change.name.clone(), operation: operation.into(), value }
}

pub fn config_change_from_pb(change: pb::ConfigChange) -> Result<ConfigChange> {
    let operation = match change.operation() {
        pb::ConfigOperation::Set => ConfigOperation::Set(change.value),
        pb::ConfigOperation::Delete => ConfigOperation::Delete,
        pb::ConfigOperation::Append => ConfigOperation::Append(change.value),
        pb::ConfigOperation::Subtract => ConfigOperation::Subtract(change.value),
        pb::ConfigOperation::Unspecified => return Err(invalid("operation", change.operation)),
    };
    Ok(ConfigChange { name: change.name, operation })
}

#[cfg(test)]
mod tests {
    use metadata::Image;

    use super::*;

    fn image() -> Image {
        let mut image = Image::default();
        let cluster_id = ClusterId(Uuid::from_u128(9));
        let node = |id: i32| NodeRegistration {
            node: NodeId(id),
            cluster_id: None,
            directory: DirectoryId(Uuid::from_u128(id as u128 + 1)),
            kafka: Endpoint { host: "n".into(), port: 9092 },
            http: Endpoint { host: "n".into(), port: 9600 },
            rack: Some("zone-a".into()),
            previous_epoch: None,
            intact: true,
            damaged: Vec::new(),
            incarnation: None,
        };
        for command in [
            metadata::Command::NameCluster { cluster_id },
            metadata::Command::RegisterNode(node(0)),
            metadata::Command::UnfenceNode { node: NodeId(0), epoch: NodeEpoch(0) },
            metadata::Command::CreateTopic(TopicSpec {
                id: TopicId(Uuid::from_u128(77)),
                name: TopicName::new("t").unwrap(),
                partitions: Some(3),
                replication_factor: None,
                assignments: vec![],
                configs: [("retention.ms".to_owned(), "5".to_owned())].into(),
            }),
        ] {
            image.apply(&command).result.unwrap();
        }
        image
    }

    #[test]
    fn a_snapshot_survives_the_journey() {
        let snapshot = image().snapshot();
        assert_eq!(decode_delta(&encode_delta(&snapshot)), Ok(snapshot));
    }

    #[test]
    fn an_unknown_format_is_refused_by_name() {
        let event = pb::MetadataEvent { format: 9, delta: Bytes::new() };
        assert_eq!(
            decode_delta(&event).unwrap_err().to_string(),
            format!("metadata event has format 9, this build knows {}", crate::FORMAT)
        );
    }
}

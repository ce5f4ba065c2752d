use axum::{Json, http::StatusCode};
use domain::{NodeId, PartitionIndex, TopicName};
use metadata::{Partition, Topic};
use serde::Serialize;
use utoipa::ToSchema;

use super::shape::{Links, List, Related, Resource, broker_path, partition_path};
use crate::{
    ApiError,
    openapi::{BrokerPath, Found, PartitionPath, ReplicaPath, V3},
    place::At,
};

#[derive(Serialize, ToSchema)]
#[schema(as = KafkaReplica)]
pub(crate) struct ReplicaView {
    cluster_id: String,
    #[schema(value_type = String)]
    topic_name: TopicName,
    #[schema(value_type = i32)]
    partition_id: PartitionIndex,
    #[schema(value_type = i32)]
    broker_id: NodeId,
    is_leader: bool,
    is_in_sync: bool,
    broker: Related,
}

/// The replicas of a partition, the preferred leader first.
#[utoipa::path(
    get,
    path = "/v3/clusters/{cluster}/topics/{topic}/partitions/{partition}/replicas",
    operation_id = "listKafkaReplicas",
    tag = V3,
    params(PartitionPath),
    responses((status = 200, description = "As asked.", body = List<Resource<ReplicaView>>), Found),
)]
pub(crate) async fn list(at: At) -> Result<Json<List<Resource<ReplicaView>>>, ApiError> {
    let (index, partition) = at.partition()?;
    let (links, topic) = (at.links(), at.topic()?);
    let replicas =
        partition.replicas.iter().map(|broker| view(&at, &links, topic, index, partition, *broker));
    let path = format!("{}/replicas", partition_path(&topic.name, index));
    Ok(Json(links.list("KafkaReplicaList", &path, replicas.collect())))
}

/// One replica of a partition.
#[utoipa::path(
    get,
    path = "/v3/clusters/{cluster}/topics/{topic}/partitions/{partition}/replicas/{broker}",
    operation_id = "getKafkaReplica",
    tag = V3,
    params(ReplicaPath),
    responses((status = 200, description = "As asked.", body = Resource<ReplicaView>), Found),
)]
pub(crate) async fn get(at: At) -> Result<Json<Resource<ReplicaView>>, ApiError> {
    let (index, partition) = at.partition()?;
    let topic = at.topic()?;
    let text = at.param("broker");
    let broker = text.parse().ok().map(NodeId).filter(|b| partition.replicas.contains(b));
    let broker = broker.ok_or_else(|| {
        let message = format!("broker '{text}' has no replica of {}-{index}", topic.name);
        ApiError::plain(StatusCode::NOT_FOUND, message)
    })?;
    Ok(Json(view(&at, &at.links(), topic, index, partition, broker)))
}

/// All that a broker has, of whichever topics.
#[utoipa::path(
    get,
    path = "/v3/clusters/{cluster}/brokers/{broker}/partition-replicas",
    operation_id = "searchKafkaReplicasByBroker",
    tag = V3,
    params(BrokerPath),
    responses((status = 200, description = "As asked.", body = List<Resource<ReplicaView>>), Found),
)]
pub(crate) async fn of_broker(at: At) -> Result<Json<List<Resource<ReplicaView>>>, ApiError> {
    let (links, broker) = (at.links(), at.broker()?.id);
    let all = at.image.topics.values().flat_map(|topic| topic.numbered().map(move |(i, p)| (topic, i, p)));
    let here = all.filter(|(_, _, partition)| partition.replicas.contains(&broker));
    let views = here.map(|(topic, index, partition)| view(&at, &links, topic, index, partition, broker));
    let path = format!("{}/partition-replicas", broker_path(broker));
    Ok(Json(links.list("KafkaReplicaList", &path, views.collect())))
}

fn view(
    at: &At,
    links: &Links,
    topic: &Topic,
    index: PartitionIndex,
    partition: &Partition,
    broker: NodeId,
) -> Resource<ReplicaView> {
    let view = ReplicaView {
        cluster_id: at.cluster.to_string(),
        topic_name: topic.name.clone(),
        partition_id: index,
        broker_id: broker,
        is_leader: partition.leader == Some(broker),
        is_in_sync: partition.isr.contains(&broker),
        broker: links.related(&broker_path(broker)),
    };
    let path = format!("{}/replicas/{broker}", partition_path(&topic.name, index));
    let resource = format!("/topic={}/partition={index}/replica={broker}", topic.name);
    links.object("KafkaReplica", &path, &resource, view)
}

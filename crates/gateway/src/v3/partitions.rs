use axum::{Json, http::StatusCode};
use domain::{NodeId, PartitionIndex, TopicName};
use metadata::{Partition, Topic};
use serde::{Deserialize, Serialize};

use super::shape::{Links, List, Object, Related, broker_path, partition_path};
use crate::{
    ApiError,
    offsets::{Place, ends, offset_at},
    place::{At, Query},
};

#[derive(Serialize)]
pub(crate) struct PartitionView {
    cluster_id: String,
    topic_name: TopicName,
    partition_id: PartitionIndex,
    /// Nothing while nobody leads.
    leader: Option<Related>,
    replicas: Related,
}

#[derive(Serialize)]
pub(crate) struct ReplicaView {
    cluster_id: String,
    topic_name: TopicName,
    partition_id: PartitionIndex,
    broker_id: NodeId,
    is_leader: bool,
    is_in_sync: bool,
    broker: Related,
}

#[derive(Serialize)]
pub(crate) struct OffsetView {
    cluster_id: String,
    topic_name: TopicName,
    partition_id: PartitionIndex,
    #[serde(skip_serializing_if = "Option::is_none")]
    earliest_offset: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latest_offset: Option<i64>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OffsetType {
    Earliest,
    Latest,
    EarliestAndLatest,
}

#[derive(Deserialize)]
pub(crate) struct OffsetQuery {
    offset_type: Option<OffsetType>,
}

pub(crate) async fn list(at: At) -> Result<Json<List<Object<PartitionView>>>, ApiError> {
    let (links, topic) = (at.links(), at.topic()?);
    let partitions = topic.numbered().map(|(i, p)| view(&at, &links, topic, i, p));
    let path = format!("/topics/{}/partitions", topic.name);
    Ok(Json(links.list("KafkaPartitionList", &path, partitions.collect())))
}

pub(crate) async fn get(at: At) -> Result<Json<Object<PartitionView>>, ApiError> {
    let (index, partition) = at.partition()?;
    Ok(Json(view(&at, &at.links(), at.topic()?, index, partition)))
}

pub(crate) async fn replicas(at: At) -> Result<Json<List<Object<ReplicaView>>>, ApiError> {
    let (index, partition) = at.partition()?;
    let (links, topic) = (at.links(), at.topic()?);
    let replicas =
        partition.replicas.iter().map(|broker| replica_view(&at, &links, topic, index, partition, *broker));
    let path = format!("{}/replicas", partition_path(&topic.name, index));
    Ok(Json(links.list("KafkaReplicaList", &path, replicas.collect())))
}

pub(crate) async fn replica(at: At) -> Result<Json<Object<ReplicaView>>, ApiError> {
    let (index, partition) = at.partition()?;
    let topic = at.topic()?;
    let text = at.param("broker");
    let broker = text.parse().ok().map(NodeId).filter(|b| partition.replicas.contains(b));
    let broker = broker.ok_or_else(|| {
        let message = format!("broker '{text}' has no replica of {}-{index}", topic.name);
        ApiError::plain(StatusCode::NOT_FOUND, message)
    })?;
    Ok(Json(replica_view(&at, &at.links(), topic, index, partition, broker)))
}

/// Both ends, unless the query asks for one.
pub(crate) async fn offset(
    at: At,
    Query(query): Query<OffsetQuery>,
) -> Result<Json<Object<OffsetView>>, ApiError> {
    let (topic, target) = at.target()?;
    let (nodes, image) = (&at.app.nodes, &at.app.image);
    let (earliest, latest) = match query.offset_type.unwrap_or(OffsetType::EarliestAndLatest) {
        OffsetType::EarliestAndLatest => {
            let (earliest, latest) = ends(nodes, image, &topic.name, target).await?;
            (Some(earliest), Some(latest))
        }
        OffsetType::Earliest => {
            let earliest = offset_at(nodes, image, &topic.name, target, Place::Earliest).await?;
            (Some(earliest), None)
        }
        OffsetType::Latest => {
            let latest = offset_at(nodes, image, &topic.name, target, Place::Latest).await?;
            (None, Some(latest))
        }
    };
    let view = OffsetView {
        cluster_id: at.cluster.to_string(),
        topic_name: topic.name.clone(),
        partition_id: target.partition,
        earliest_offset: earliest.map(|o| o.0),
        latest_offset: latest.map(|o| o.0),
    };
    let path = format!("{}/offset", partition_path(&topic.name, target.partition));
    let resource = format!("/topic={}/partition={}/offset", topic.name, target.partition);
    Ok(Json(at.links().object("KafkaPartitionOffset", &path, &resource, view)))
}

fn view(
    at: &At,
    links: &Links,
    topic: &Topic,
    index: PartitionIndex,
    partition: &Partition,
) -> Object<PartitionView> {
    let path = partition_path(&topic.name, index);
    let leader = partition.leader.map(|leader| links.related(&format!("{path}/replicas/{leader}")));
    let view = PartitionView {
        cluster_id: at.cluster.to_string(),
        topic_name: topic.name.clone(),
        partition_id: index,
        leader,
        replicas: links.related(&format!("{path}/replicas")),
    };
    let resource = format!("/topic={}/partition={index}", topic.name);
    links.object("KafkaPartition", &path, &resource, view)
}

fn replica_view(
    at: &At,
    links: &Links,
    topic: &Topic,
    index: PartitionIndex,
    partition: &Partition,
    broker: NodeId,
) -> Object<ReplicaView> {
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

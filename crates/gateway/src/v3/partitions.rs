use axum::Json;
use domain::{PartitionIndex, TopicName};
use metadata::{Partition, Topic};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::shape::{Links, List, Related, Resource, partition_path};
use crate::{
    ApiError,
    offsets::{Place, ends, offset_at},
    openapi::{Found, PartitionPath, TopicPath, V3},
    place::{At, Query},
};

#[derive(Serialize, ToSchema)]
#[schema(as = KafkaPartition)]
pub(crate) struct PartitionView {
    cluster_id: String,
    #[schema(value_type = String)]
    topic_name: TopicName,
    #[schema(value_type = i32)]
    partition_id: PartitionIndex,
    /// Nothing while nobody leads.
    leader: Option<Related>,
    replicas: Related,
    reassignment: Related,
}

#[derive(Serialize, ToSchema)]
#[schema(as = KafkaPartitionOffset)]
pub(crate) struct OffsetView {
    cluster_id: String,
    #[schema(value_type = String)]
    topic_name: TopicName,
    #[schema(value_type = i32)]
    partition_id: PartitionIndex,
    #[serde(skip_serializing_if = "Option::is_none")]
    earliest_offset: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latest_offset: Option<i64>,
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OffsetType {
    Earliest,
    Latest,
    EarliestAndLatest,
}

#[derive(Deserialize, IntoParams)]
pub(crate) struct OffsetQuery {
    /// Both, unless it is said.
    #[param(inline)]
    offset_type: Option<OffsetType>,
}

/// The partitions of a topic.
#[utoipa::path(
    get,
    path = "/v3/clusters/{cluster}/topics/{topic}/partitions",
    operation_id = "listKafkaPartitions",
    tag = V3,
    params(TopicPath),
    responses((status = 200, description = "As asked.", body = List<Resource<PartitionView>>), Found),
)]
pub(crate) async fn list(at: At) -> Result<Json<List<Resource<PartitionView>>>, ApiError> {
    let (links, topic) = (at.links(), at.topic()?);
    let partitions = topic.numbered().map(|(i, p)| view(&at, &links, topic, i, p));
    let path = format!("/topics/{}/partitions", topic.name);
    Ok(Json(links.list("KafkaPartitionList", &path, partitions.collect())))
}

/// One partition of a topic.
#[utoipa::path(
    get,
    path = "/v3/clusters/{cluster}/topics/{topic}/partitions/{partition}",
    operation_id = "getKafkaPartition",
    tag = V3,
    params(PartitionPath),
    responses((status = 200, description = "As asked.", body = Resource<PartitionView>), Found),
)]
pub(crate) async fn get(at: At) -> Result<Json<Resource<PartitionView>>, ApiError> {
    let (index, partition) = at.partition()?;
    Ok(Json(view(&at, &at.links(), at.topic()?, index, partition)))
}

/// Both ends, unless the query asks for one.
#[utoipa::path(
    get,
    path = "/v3/clusters/{cluster}/topics/{topic}/partitions/{partition}/offset",
    operation_id = "listKafkaPartitionOffsets",
    tag = V3,
    params(PartitionPath, OffsetQuery),
    responses((status = 200, description = "As asked.", body = Resource<OffsetView>), Found),
)]
pub(crate) async fn offset(
    at: At,
    Query(query): Query<OffsetQuery>,
) -> Result<Json<Resource<OffsetView>>, ApiError> {
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
) -> Resource<PartitionView> {
    let path = partition_path(&topic.name, index);
    let leader = partition.leader.map(|leader| links.related(&format!("{path}/replicas/{leader}")));
    let view = PartitionView {
        cluster_id: at.cluster.to_string(),
        topic_name: topic.name.clone(),
        partition_id: index,
        leader,
        replicas: links.related(&format!("{path}/replicas")),
        reassignment: links.related(&format!("{path}/reassignment")),
    };
    let resource = format!("/topic={}/partition={index}", topic.name);
    links.object("KafkaPartition", &path, &resource, view)
}

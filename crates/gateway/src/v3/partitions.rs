use axum::Json;
use domain::{PartitionIndex, TopicName};
use metadata::{Partition, Topic};
use serde::{Deserialize, Serialize};

use super::shape::{Links, List, Object, Related, partition_path};
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
    reassignment: Related,
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
        reassignment: links.related(&format!("{path}/reassignment")),
    };
    let resource = format!("/topic={}/partition={index}", topic.name);
    links.object("KafkaPartition", &path, &resource, view)
}

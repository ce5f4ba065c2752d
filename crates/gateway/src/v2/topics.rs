use std::collections::BTreeMap;

use axum::Json;
use domain::{NodeId, PartitionIndex, topic_config_definitions};
use metadata::{Image, Partition, Topic};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    ApiError,
    offsets::ends,
    openapi::{V2, V2Found, V2PartitionPath, V2Shown, V2TopicPath},
    place::At,
};

#[derive(Serialize, ToSchema)]
#[schema(as = V2Brokers)]
pub(crate) struct BrokerList {
    #[schema(value_type = Vec<i32>)]
    brokers: Vec<NodeId>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = V2Topic)]
pub(crate) struct TopicView {
    name: String,
    configs: BTreeMap<&'static str, String>,
    partitions: Vec<PartitionView>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = V2Partition)]
pub(crate) struct PartitionView {
    #[schema(value_type = i32)]
    partition: PartitionIndex,
    /// -1 while there is none.
    #[schema(value_type = i32)]
    leader: NodeId,
    replicas: Vec<ReplicaView>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = V2Replica)]
struct ReplicaView {
    #[schema(value_type = i32)]
    broker: NodeId,
    leader: bool,
    in_sync: bool,
}

#[derive(Serialize, ToSchema)]
#[schema(as = V2Offsets)]
pub(crate) struct OffsetsView {
    beginning_offset: i64,
    end_offset: i64,
}

/// The ids of the brokers that take part now.
#[utoipa::path(
    get,
    path = "/brokers",
    operation_id = "v2ListBrokers",
    tag = V2,
    responses((status = 200, description = "As asked.", body = BrokerList, content_type = "application/vnd.kafka.v2+json"), V2Shown),
)]
pub(crate) async fn brokers(at: At) -> Json<BrokerList> {
    let brokers = at.image.live_nodes().map(|node| node.id).collect();
    Json(BrokerList { brokers })
}

/// The names of all topics.
#[utoipa::path(
    get,
    path = "/topics",
    operation_id = "v2ListTopics",
    tag = V2,
    responses((status = 200, description = "As asked.", body = Vec<String>, content_type = "application/vnd.kafka.v2+json"), V2Shown),
)]
pub(crate) async fn list(at: At) -> Json<Vec<String>> {
    Json(at.image.topics.keys().map(ToString::to_string).collect())
}

/// A topic with its settings and its partitions.
#[utoipa::path(
    get,
    path = "/topics/{topic}",
    operation_id = "v2GetTopic",
    tag = V2,
    params(V2TopicPath),
    responses((status = 200, description = "As asked.", body = TopicView, content_type = "application/vnd.kafka.v2+json"), V2Found),
)]
pub(crate) async fn get(at: At) -> Result<Json<TopicView>, ApiError> {
    let topic = at.topic()?;
    Ok(Json(TopicView {
        name: topic.name.to_string(),
        configs: configs(&at.image, topic),
        partitions: views(topic),
    }))
}

/// The partitions of a topic.
#[utoipa::path(
    get,
    path = "/topics/{topic}/partitions",
    operation_id = "v2ListPartitions",
    tag = V2,
    params(V2TopicPath),
    responses((status = 200, description = "As asked.", body = Vec<PartitionView>, content_type = "application/vnd.kafka.v2+json"), V2Found),
)]
pub(crate) async fn partitions(at: At) -> Result<Json<Vec<PartitionView>>, ApiError> {
    Ok(Json(views(at.topic()?)))
}

/// One partition of a topic.
#[utoipa::path(
    get,
    path = "/topics/{topic}/partitions/{partition}",
    operation_id = "v2GetPartition",
    tag = V2,
    params(V2PartitionPath),
    responses((status = 200, description = "As asked.", body = PartitionView, content_type = "application/vnd.kafka.v2+json"), V2Found),
)]
pub(crate) async fn partition(at: At) -> Result<Json<PartitionView>, ApiError> {
    let (index, partition) = at.partition()?;
    Ok(Json(PartitionView::new(index, partition)))
}

/// Where a partition begins and ends.
#[utoipa::path(
    get,
    path = "/topics/{topic}/partitions/{partition}/offsets",
    operation_id = "v2GetOffsets",
    tag = V2,
    params(V2PartitionPath),
    responses((status = 200, description = "As asked.", body = OffsetsView, content_type = "application/vnd.kafka.v2+json"), V2Found),
)]
pub(crate) async fn offsets(at: At) -> Result<Json<OffsetsView>, ApiError> {
    let (topic, target) = at.target()?;
    let (beginning, end) = ends(&at.app.nodes, &at.app.image, &topic.name, target).await?;
    Ok(Json(OffsetsView { beginning_offset: beginning.0, end_offset: end.0 }))
}

/// The settings in force, as text.
fn configs(image: &Image, topic: &Topic) -> BTreeMap<&'static str, String> {
    let in_force = topic_config_definitions().iter().map(|definition| {
        let set = topic.configs.get(definition.name).or_else(|| image.cluster_configs.get(definition.name));
        let value = set.map_or(definition.default, String::as_str);
        (definition.name, value.to_owned())
    });
    in_force.collect()
}

fn views(topic: &Topic) -> Vec<PartitionView> {
    topic.numbered().map(|(index, partition)| PartitionView::new(index, partition)).collect()
}

impl PartitionView {
    fn new(index: PartitionIndex, partition: &Partition) -> Self {
        let replicas = partition.replicas.iter().map(|broker| ReplicaView {
            broker: *broker,
            leader: partition.leader == Some(*broker),
            in_sync: partition.isr.contains(broker),
        });
        Self {
            partition: index,
            leader: partition.leader.unwrap_or(NodeId(-1)),
            replicas: replicas.collect(),
        }
    }
}

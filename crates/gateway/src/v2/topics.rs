use std::collections::BTreeMap;

use axum::Json;
use domain::{NodeId, PartitionIndex, topic_config_definitions};
use metadata::{Image, Partition, Topic};
use serde::Serialize;

use crate::{ApiError, offsets::ends, place::At};

#[derive(Serialize)]
pub(crate) struct BrokerList {
    brokers: Vec<NodeId>,
}

#[derive(Serialize)]
pub(crate) struct TopicView {
    name: String,
    configs: BTreeMap<&'static str, String>,
    partitions: Vec<PartitionView>,
}

#[derive(Serialize)]
pub(crate) struct PartitionView {
    partition: PartitionIndex,
    /// -1 while there is none.
    leader: NodeId,
    replicas: Vec<ReplicaView>,
}

#[derive(Serialize)]
struct ReplicaView {
    broker: NodeId,
    leader: bool,
    in_sync: bool,
}

#[derive(Serialize)]
pub(crate) struct OffsetsView {
    beginning_offset: i64,
    end_offset: i64,
}

pub(crate) async fn brokers(at: At) -> Json<BrokerList> {
    let brokers = at.image.live_nodes().map(|node| node.id).collect();
    Json(BrokerList { brokers })
}

pub(crate) async fn list(at: At) -> Json<Vec<String>> {
    Json(at.image.topics.keys().map(ToString::to_string).collect())
}

pub(crate) async fn get(at: At) -> Result<Json<TopicView>, ApiError> {
    let topic = at.topic()?;
    Ok(Json(TopicView {
        name: topic.name.to_string(),
        configs: configs(&at.image, topic),
        partitions: views(topic),
    }))
}

pub(crate) async fn partitions(at: At) -> Result<Json<Vec<PartitionView>>, ApiError> {
    Ok(Json(views(at.topic()?)))
}

pub(crate) async fn partition(at: At) -> Result<Json<PartitionView>, ApiError> {
    let (index, partition) = at.partition()?;
    Ok(Json(PartitionView::new(index, partition)))
}

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

//! Replicas on their way from one broker to another (KIP-455).

use axum::{Json, http::StatusCode};
use domain::{NodeId, PartitionIndex, TopicName};
use metadata::{Partition, Topic};
use serde::Serialize;
use utoipa::ToSchema;

use super::shape::{Links, List, Related, Resource, partition_path};
use crate::{
    ApiError,
    openapi::{ClusterPath, Found, PartitionPath, TopicPath, V3},
    place::At,
};

#[derive(Serialize, ToSchema)]
#[schema(as = KafkaReassignment)]
pub(crate) struct ReassignmentView {
    cluster_id: String,
    #[schema(value_type = String)]
    topic_name: TopicName,
    #[schema(value_type = i32)]
    partition_id: PartitionIndex,
    #[schema(value_type = Vec<i32>)]
    adding_replicas: Vec<NodeId>,
    #[schema(value_type = Vec<i32>)]
    removing_replicas: Vec<NodeId>,
    replicas: Related,
}

/// All replicas that are on their way.
#[utoipa::path(
    get,
    path = "/v3/clusters/{cluster}/topics/-/partitions/-/reassignment",
    operation_id = "listKafkaAllReassignments",
    tag = V3,
    params(ClusterPath),
    responses((status = 200, description = "As asked.", body = List<Resource<ReassignmentView>>), Found),
)]
pub(crate) async fn list_all(at: At) -> Json<List<Resource<ReassignmentView>>> {
    let links = at.links();
    let ongoing = at.image.topics.values().flat_map(|topic| of_topic(&at, &links, topic));
    Json(links.list("KafkaReassignmentList", "/topics/-/partitions/-/reassignment", ongoing.collect()))
}

/// Those of a topic.
#[utoipa::path(
    get,
    path = "/v3/clusters/{cluster}/topics/{topic}/partitions/-/reassignment",
    operation_id = "searchKafkaReassignmentsByTopic",
    tag = V3,
    params(TopicPath),
    responses((status = 200, description = "As asked.", body = List<Resource<ReassignmentView>>), Found),
)]
pub(crate) async fn list(at: At) -> Result<Json<List<Resource<ReassignmentView>>>, ApiError> {
    let (links, topic) = (at.links(), at.topic()?);
    let path = format!("/topics/{}/partitions/-/reassignment", topic.name);
    Ok(Json(links.list("KafkaReassignmentList", &path, of_topic(&at, &links, topic))))
}

/// That of a partition; 404 while it is at rest.
#[utoipa::path(
    get,
    path = "/v3/clusters/{cluster}/topics/{topic}/partitions/{partition}/reassignment",
    operation_id = "getKafkaReassignment",
    tag = V3,
    params(PartitionPath),
    responses((status = 200, description = "As asked.", body = Resource<ReassignmentView>), Found),
)]
pub(crate) async fn get(at: At) -> Result<Json<Resource<ReassignmentView>>, ApiError> {
    let ((index, partition), topic) = (at.partition()?, at.topic()?);
    if !is_ongoing(partition) {
        let message = format!("{}-{index} is not being reassigned", topic.name);
        return Err(ApiError::plain(StatusCode::NOT_FOUND, message));
    }
    Ok(Json(view(&at, &at.links(), topic, index, partition)))
}

fn is_ongoing(partition: &Partition) -> bool {
    !partition.adding.is_empty() || !partition.removing.is_empty()
}

fn of_topic(at: &At, links: &Links, topic: &Topic) -> Vec<Resource<ReassignmentView>> {
    let ongoing = topic.numbered().filter(|(_, partition)| is_ongoing(partition));
    ongoing.map(|(index, partition)| view(at, links, topic, index, partition)).collect()
}

fn view(
    at: &At,
    links: &Links,
    topic: &Topic,
    index: PartitionIndex,
    partition: &Partition,
) -> Resource<ReassignmentView> {
    let path = partition_path(&topic.name, index);
    let view = ReassignmentView {
        cluster_id: at.cluster.to_string(),
        topic_name: topic.name.clone(),
        partition_id: index,
        adding_replicas: partition.adding.clone(),
        removing_replicas: partition.removing.clone(),
        replicas: links.related(&format!("{path}/replicas")),
    };
    let resource = format!("/topic={}/partition={index}/reassignment", topic.name);
    links.object("KafkaReassignment", &format!("{path}/reassignment"), &resource, view)
}

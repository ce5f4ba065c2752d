//! Replicas on their way from one broker to another (KIP-455).

use axum::{Json, http::StatusCode};
use domain::{NodeId, PartitionIndex, TopicName};
use metadata::{Partition, Topic};
use serde::Serialize;

use super::shape::{Links, List, Object, Related, partition_path};
use crate::{ApiError, place::At};

#[derive(Serialize)]
pub(crate) struct ReassignmentView {
    cluster_id: String,
    topic_name: TopicName,
    partition_id: PartitionIndex,
    adding_replicas: Vec<NodeId>,
    removing_replicas: Vec<NodeId>,
    replicas: Related,
}

pub(crate) async fn list_all(at: At) -> Json<List<Object<ReassignmentView>>> {
    let links = at.links();
    let ongoing = at.image.topics.values().flat_map(|topic| of_topic(&at, &links, topic));
    Json(links.list("KafkaReassignmentList", "/topics/-/partitions/-/reassignment", ongoing.collect()))
}

pub(crate) async fn list(at: At) -> Result<Json<List<Object<ReassignmentView>>>, ApiError> {
    let (links, topic) = (at.links(), at.topic()?);
    let path = format!("/topics/{}/partitions/-/reassignment", topic.name);
    Ok(Json(links.list("KafkaReassignmentList", &path, of_topic(&at, &links, topic))))
}

pub(crate) async fn get(at: At) -> Result<Json<Object<ReassignmentView>>, ApiError> {
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

fn of_topic(at: &At, links: &Links, topic: &Topic) -> Vec<Object<ReassignmentView>> {
    let ongoing = topic.numbered().filter(|(_, partition)| is_ongoing(partition));
    ongoing.map(|(index, partition)| view(at, links, topic, index, partition)).collect()
}

fn view(
    at: &At,
    links: &Links,
    topic: &Topic,
    index: PartitionIndex,
    partition: &Partition,
) -> Object<ReassignmentView> {
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

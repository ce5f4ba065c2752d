use axum::{
    Json,
    http::{HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
};
use domain::{ConfigOverrides, NodeId, TopicId, TopicName};
use metadata::{Topic, TopicSpec};
use rpc::pb;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::shape::{Links, List, Related, Resource, topic_path};
use crate::{
    ApiError,
    app::CONTROLLER_MAX,
    json_object::JsonObject,
    openapi::{Changed, ChangedBy, ClusterPath, Found, TopicPath, V3},
    place::{At, JsonBody},
};

#[derive(Serialize, ToSchema)]
#[schema(as = KafkaTopic)]
pub(crate) struct TopicView {
    cluster_id: String,
    #[schema(value_type = String)]
    topic_name: TopicName,
    is_internal: bool,
    replication_factor: i64,
    partitions_count: i64,
    partitions: Related,
    configs: Related,
    partition_reassignments: Related,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = CreateTopic)]
#[serde(deny_unknown_fields)]
pub(crate) struct Create {
    topic_name: String,
    partitions_count: Option<i32>,
    replication_factor: Option<i16>,
    #[serde(default)]
    #[schema(value_type = Vec<Assignment>)]
    replicas_assignments: Vec<JsonObject<Assignment>>,
    #[serde(default)]
    #[schema(value_type = Vec<Config>)]
    configs: Vec<JsonObject<Config>>,
    #[serde(default)]
    validate_only: bool,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = ReplicasAssignment)]
#[serde(deny_unknown_fields)]
struct Assignment {
    partition_id: i32,
    broker_ids: Vec<i32>,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = TopicConfigToSet)]
#[serde(deny_unknown_fields)]
struct Config {
    name: String,
    /// Null: the default.
    value: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = UpdateTopic)]
#[serde(deny_unknown_fields)]
pub(crate) struct Patch {
    partitions_count: i32,
}

/// All topics.
#[utoipa::path(
    get,
    path = "/v3/clusters/{cluster}/topics",
    operation_id = "listKafkaTopics",
    tag = V3,
    params(ClusterPath),
    responses((status = 200, description = "As asked.", body = List<Resource<TopicView>>), Found),
)]
pub(crate) async fn list(at: At) -> Json<List<Resource<TopicView>>> {
    let links = at.links();
    let topics = at.image.topics.values().map(|t| topic_view(&at, &links, t));
    Json(links.list("KafkaTopicList", "/topics", topics.collect()))
}

/// One topic.
#[utoipa::path(
    get,
    path = "/v3/clusters/{cluster}/topics/{topic}",
    operation_id = "getKafkaTopic",
    tag = V3,
    params(TopicPath),
    responses((status = 200, description = "As asked.", body = Resource<TopicView>), Found),
)]
pub(crate) async fn get(at: At) -> Result<Json<Resource<TopicView>>, ApiError> {
    let topic = at.topic()?;
    Ok(Json(topic_view(&at, &at.links(), topic)))
}

/// Makes a topic, or, with `validate_only`, says what would be made.
#[utoipa::path(
    post,
    path = "/v3/clusters/{cluster}/topics",
    operation_id = "createKafkaTopic",
    tag = V3,
    params(ClusterPath),
    request_body = Create,
    responses((status = 201, description = "It was made.", body = Resource<TopicView>, headers(("Location" = String, description = "Where it is."))), (status = 200, description = "It could be made: that was all that was asked.", body = Resource<TopicView>), ChangedBy),
)]
pub(crate) async fn create(at: At, JsonBody(wanted): JsonBody<Create>) -> Result<Response, ApiError> {
    let validate_only = wanted.validate_only;
    // Chosen here, so that asking the controller again after a lost answer is not a second topic.
    let spec = spec(wanted, TopicId(Uuid::new_v4()))?;
    let created = at.app.controller.create_topic(&spec, validate_only, CONTROLLER_MAX).await?;
    let links = at.links();
    let view = created_view(&at, &links, &spec.name, &created);
    if validate_only {
        return Ok((StatusCode::OK, Json(view)).into_response());
    }
    at.app.settled(created.version).await;
    let location: [(HeaderName, String); 1] = [(header::LOCATION, links.url(&topic_path(&spec.name)))];
    Ok((StatusCode::CREATED, location, Json(view)).into_response())
}

/// Adds partitions, up to this many.
#[utoipa::path(
    patch,
    path = "/v3/clusters/{cluster}/topics/{topic}",
    operation_id = "updatePartitionCountKafkaTopic",
    tag = V3,
    params(TopicPath),
    request_body = Patch,
    responses((status = 200, description = "As asked.", body = Resource<TopicView>), ChangedBy),
)]
pub(crate) async fn patch(
    at: At,
    JsonBody(wanted): JsonBody<Patch>,
) -> Result<Json<Resource<TopicView>>, ApiError> {
    let topic = at.topic()?;
    let version = at
        .app
        .controller
        .add_partitions(&topic.name, wanted.partitions_count, &[], false, CONTROLLER_MAX)
        .await?;
    let image = at.app.settled(version).await;
    let topic = image.topics.get(&topic.name).unwrap_or(topic);
    Ok(Json(topic_view(&at, &at.links(), topic)))
}

/// Deletes a topic with all that is in it.
#[utoipa::path(
    delete,
    path = "/v3/clusters/{cluster}/topics/{topic}",
    operation_id = "deleteKafkaTopic",
    tag = V3,
    params(TopicPath),
    responses((status = 204, description = "It is gone."), Changed),
)]
pub(crate) async fn delete(at: At) -> Result<StatusCode, ApiError> {
    let topic = at.topic()?;
    let version = at.app.controller.delete_topic(&topic.name, CONTROLLER_MAX).await?;
    at.app.settled(version).await;
    Ok(StatusCode::NO_CONTENT)
}

fn spec(wanted: Create, id: TopicId) -> Result<TopicSpec, ApiError> {
    let assignments = wanted.replicas_assignments.into_iter().map(|JsonObject(assignment)| assignment);
    let mut assignments: Vec<Assignment> = assignments.collect();
    assignments.sort_by_key(|a| a.partition_id);
    let expected = 0..;
    if let Some((_, assignment)) =
        expected.zip(&assignments).find(|(expected, a)| *expected != a.partition_id)
    {
        let message = format!(
            "replicas_assignments must name each partition from 0 on once, {} is out of turn",
            assignment.partition_id
        );
        return Err(ApiError::invalid(message));
    }
    let mut configs = ConfigOverrides::new();
    for JsonObject(config) in wanted.configs {
        if let Some(value) = config.value {
            configs.insert(config.name, value);
        }
    }
    Ok(TopicSpec {
        id,
        name: TopicName::new(&wanted.topic_name)?,
        partitions: wanted.partitions_count,
        replication_factor: wanted.replication_factor,
        assignments: assignments
            .into_iter()
            .map(|a| a.broker_ids.into_iter().map(NodeId).collect())
            .collect(),
        configs,
    })
}

fn topic_view(at: &At, links: &Links, topic: &Topic) -> Resource<TopicView> {
    let factor = topic.partitions.get(0).map_or(0, |p| p.replicas.len());
    view(at, links, &topic.name, topic.partitions.len() as i64, factor as i64)
}

fn created_view(
    at: &At,
    links: &Links,
    name: &TopicName,
    created: &pb::CreateTopicResponse,
) -> Resource<TopicView> {
    view(at, links, name, created.partitions.into(), created.replication_factor.into())
}

fn view(
    at: &At,
    links: &Links,
    name: &TopicName,
    partitions_count: i64,
    replication_factor: i64,
) -> Resource<TopicView> {
    let path = topic_path(name);
    let view = TopicView {
        cluster_id: at.cluster.to_string(),
        topic_name: name.clone(),
        is_internal: name.as_str().starts_with("__"),
        replication_factor,
        partitions_count,
        partitions: links.related(&format!("{path}/partitions")),
        configs: links.related(&format!("{path}/configs")),
        partition_reassignments: links.related(&format!("{path}/partitions/-/reassignment")),
    };
    links.object("KafkaTopic", &path, &format!("/topic={name}"), view)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec_of(json: &str) -> Result<TopicSpec, ApiError> {
        spec(serde_json::from_str(json).unwrap(), TopicId(Uuid::nil()))
    }

    #[test]
    fn a_topic_is_asked_for_by_numbers_or_by_assignments() {
        let spec = spec_of(
            r#"{"topic_name":"t","partitions_count":3,"configs":[{"name":"retention.ms","value":"1"},{"name":"x","value":null}]}"#,
        )
        .unwrap();
        assert_eq!((spec.partitions, spec.replication_factor), (Some(3), None));
        assert_eq!(spec.configs, ConfigOverrides::from([("retention.ms".into(), "1".into())]));
        let spec = spec_of(
            r#"{"topic_name":"t","replicas_assignments":[{"partition_id":1,"broker_ids":[5]},{"partition_id":0,"broker_ids":[4]}]}"#,
        )
        .unwrap();
        assert_eq!(spec.assignments, [[NodeId(4)], [NodeId(5)]]);
    }

    #[test]
    fn a_wrong_name_or_a_gap_in_the_assignments_is_refused() {
        assert_eq!(spec_of(r#"{"topic_name":"a/b"}"#).unwrap_err().code, 40002);
        for ids in [[1, 2], [0, 2], [0, 0]] {
            let json = format!(
                r#"{{"topic_name":"t","replicas_assignments":[{{"partition_id":{},"broker_ids":[0]}},{{"partition_id":{},"broker_ids":[0]}}]}}"#,
                ids[0], ids[1]
            );
            assert_eq!(spec_of(&json).unwrap_err().code, 40002, "{ids:?}");
        }
    }
}

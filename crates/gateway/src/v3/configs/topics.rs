use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use domain::{ConfigDefinition, topic_config_definitions};
use metadata::{ConfigChange, ConfigOperation, Image, Topic};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    super::shape::{Links, List, Resource},
    change::{self, Alter, Change, Put, apply},
    view::{ConfigView, Source, Synonym},
};
use crate::{
    ApiError,
    json_object::JsonObject,
    openapi::{Changed, ChangedBy, ClusterPath, Found, TopicConfigPath, TopicPath, V3},
    place::{At, JsonBody},
};

/// Whose setting it is.
#[derive(Serialize, ToSchema)]
pub(crate) struct OfTopic {
    topic_name: String,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = AlterConfigsOfTopics)]
#[serde(deny_unknown_fields)]
pub(crate) struct AlterMany {
    #[schema(value_type = Vec<OneTopic>)]
    data: Vec<JsonObject<OneTopic>>,
    #[serde(default)]
    validate_only: bool,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = AlterConfigsOfTopic)]
#[serde(deny_unknown_fields)]
struct OneTopic {
    topic_name: String,
    #[schema(value_type = Vec<Change>)]
    configs: Vec<JsonObject<Change>>,
}

/// The topics that were not changed.
#[derive(Serialize, ToSchema)]
#[schema(as = AlterConfigsFailures)]
pub(crate) struct Failures {
    failures: Vec<Failure>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = AlterConfigsFailure)]
struct Failure {
    topic_name: String,
    error_code: u32,
    message: String,
}

type View = Resource<ConfigView<OfTopic>>;

/// The settings of all topics.
#[utoipa::path(
    get,
    path = "/v3/clusters/{cluster}/topics/-/configs",
    operation_id = "listKafkaAllTopicConfigs",
    tag = V3,
    params(ClusterPath),
    responses((status = 200, description = "As asked.", body = List<Resource<ConfigView<OfTopic>>>), Found),
)]
pub(crate) async fn list_all(at: At) -> Json<List<View>> {
    let links = at.links();
    let configs = at.image.topics.values().flat_map(|t| views(&at, &links, t));
    Json(links.list("KafkaTopicConfigList", "/topics/-/configs", configs.collect()))
}

/// The settings of a topic.
#[utoipa::path(
    get,
    path = "/v3/clusters/{cluster}/topics/{topic}/configs",
    operation_id = "listKafkaTopicConfigs",
    tag = V3,
    params(TopicPath),
    responses((status = 200, description = "As asked.", body = List<Resource<ConfigView<OfTopic>>>), Found),
)]
pub(crate) async fn list(at: At) -> Result<Json<List<View>>, ApiError> {
    let links = at.links();
    let topic = at.topic()?;
    let path = format!("/topics/{}/configs", topic.name);
    Ok(Json(links.list("KafkaTopicConfigList", &path, views(&at, &links, topic))))
}

/// One setting of a topic.
#[utoipa::path(
    get,
    path = "/v3/clusters/{cluster}/topics/{topic}/configs/{name}",
    operation_id = "getKafkaTopicConfig",
    tag = V3,
    params(TopicConfigPath),
    responses((status = 200, description = "As asked.", body = Resource<ConfigView<OfTopic>>), Found),
)]
pub(crate) async fn get(at: At) -> Result<Json<View>, ApiError> {
    let topic = at.topic()?;
    Ok(Json(view(&at, &at.links(), topic, definition(&at)?)))
}

/// Sets it.
#[utoipa::path(
    put,
    path = "/v3/clusters/{cluster}/topics/{topic}/configs/{name}",
    operation_id = "updateKafkaTopicConfig",
    tag = V3,
    params(TopicConfigPath),
    request_body = Put,
    responses((status = 204, description = "It is set."), ChangedBy),
)]
pub(crate) async fn put(at: At, JsonBody(wanted): JsonBody<Put>) -> Result<StatusCode, ApiError> {
    change(&at, ConfigOperation::Set(wanted.value)).await
}

/// Unsets it: what holds for all topics holds then.
#[utoipa::path(
    delete,
    path = "/v3/clusters/{cluster}/topics/{topic}/configs/{name}",
    operation_id = "deleteKafkaTopicConfig",
    tag = V3,
    params(TopicConfigPath),
    responses((status = 204, description = "It is unset."), Changed),
)]
pub(crate) async fn delete(at: At) -> Result<StatusCode, ApiError> {
    change(&at, ConfigOperation::Delete).await
}

/// Changes several, all of them or none.
#[utoipa::path(
    post,
    path = "/v3/clusters/{cluster}/topics/{topic}/configs:alter",
    operation_id = "updateKafkaTopicConfigBatch",
    tag = V3,
    params(TopicPath),
    request_body = Alter,
    responses((status = 204, description = "They are changed."), ChangedBy),
)]
pub(crate) async fn alter(at: At, JsonBody(wanted): JsonBody<Alter>) -> Result<StatusCode, ApiError> {
    let validate_only = wanted.validate_only;
    let changes = wanted.changes()?;
    apply(&at, Some(&at.topic()?.name), &changes, validate_only).await
}

/// Each topic by itself: what is wrong with one does not keep the others from their change.
#[utoipa::path(
    post,
    path = "/v3/clusters/{cluster}/topics/-/configs:alter",
    operation_id = "updateKafkaTopicsConfigBatch",
    tag = V3,
    params(ClusterPath),
    request_body = AlterMany,
    responses((status = 204, description = "All are changed."), (status = 207, description = "All but these are changed.", body = Failures), ChangedBy),
)]
pub(crate) async fn alter_many(at: At, JsonBody(wanted): JsonBody<AlterMany>) -> Result<Response, ApiError> {
    let topics =
        wanted.data.into_iter().map(|JsonObject(one)| Ok((one.topic_name, change::changes(one.configs)?)));
    let topics: Vec<(String, Vec<ConfigChange>)> = topics.collect::<Result<_, ApiError>>()?;
    let mut failures = Vec::new();
    for (topic_name, changes) in topics {
        let applied = match at.image.topics.get(topic_name.as_str()) {
            Some(topic) => apply(&at, Some(&topic.name), &changes, wanted.validate_only).await,
            None => Err(ApiError::unknown_topic(&topic_name)),
        };
        if let Err(error) = applied {
            failures.push(Failure { topic_name, error_code: error.code, message: error.message });
        }
    }
    Ok(match failures.is_empty() {
        true => StatusCode::NO_CONTENT.into_response(),
        false => (StatusCode::MULTI_STATUS, Json(Failures { failures })).into_response(),
    })
}

async fn change(at: &At, operation: ConfigOperation) -> Result<StatusCode, ApiError> {
    let name = definition(at)?.name.to_owned();
    apply(at, Some(&at.topic()?.name), &[ConfigChange { name, operation }], false).await
}

/// The setting that the path names.
fn definition(at: &At) -> Result<&'static ConfigDefinition, ApiError> {
    at.topic()?;
    let name = at.param("name");
    ConfigDefinition::find(name).ok_or_else(|| {
        let message = format!("topics have no config '{name}'");
        ApiError::plain(StatusCode::NOT_FOUND, message)
    })
}

fn views(at: &At, links: &Links, topic: &Topic) -> Vec<View> {
    topic_config_definitions().iter().map(|definition| view(at, links, topic, definition)).collect()
}

fn view(at: &At, links: &Links, topic: &Topic, definition: &'static ConfigDefinition) -> View {
    let (name, of) = (definition.name, OfTopic { topic_name: topic.name.to_string() });
    let synonyms = synonyms(&at.image, topic, definition);
    let view = ConfigView::new(at.cluster.to_string(), of, name, synonyms);
    let resource = format!("/topic={}/config={name}", topic.name);
    links.object("KafkaTopicConfig", &format!("/topics/{}/configs/{name}", topic.name), &resource, view)
}

/// Everything that sets it, the strongest first.
fn synonyms(image: &Image, topic: &Topic, definition: &'static ConfigDefinition) -> Vec<Synonym> {
    let name = definition.name;
    let sources = [
        (topic.configs.get(name).map(String::as_str), Source::Topic),
        (image.cluster_configs.get(name).map(String::as_str), Source::AllTopics),
        (Some(definition.default), Source::Nobody),
    ];
    let set = sources.into_iter().filter_map(|(value, source)| Some(Synonym::new(name, value?, source)));
    set.collect()
}

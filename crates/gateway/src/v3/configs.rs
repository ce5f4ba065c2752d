use axum::{Json, http::StatusCode};
use domain::{ConfigDefinition, topic_config_definitions};
use metadata::{ConfigChange, ConfigOperation, Image, Topic};
use serde::{Deserialize, Serialize};

use super::shape::{Links, List, Object};
use crate::{
    ApiError,
    app::CONTROLLER_MAX,
    json_object::JsonObject,
    place::{At, JsonBody},
};

#[derive(Serialize)]
pub(crate) struct ConfigView {
    cluster_id: String,
    topic_name: String,
    name: &'static str,
    value: String,
    is_default: bool,
    is_read_only: bool,
    is_sensitive: bool,
    source: &'static str,
    synonyms: Vec<Synonym>,
}

/// A value that would be in force if what comes before it in the list were not set.
#[derive(Serialize)]
struct Synonym {
    name: &'static str,
    value: String,
    source: &'static str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Put {
    value: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Alter {
    data: Vec<JsonObject<Change>>,
    #[serde(default)]
    validate_only: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    name: String,
    value: Option<String>,
    operation: Option<String>,
}

pub(crate) async fn list_all(at: At) -> Json<List<Object<ConfigView>>> {
    let links = at.links();
    let configs = at.image.topics.values().flat_map(|t| views(&at, &links, t));
    Json(links.list("KafkaTopicConfigList", "/topics/-/configs", configs.collect()))
}

pub(crate) async fn list(at: At) -> Result<Json<List<Object<ConfigView>>>, ApiError> {
    let links = at.links();
    let topic = at.topic()?;
    let path = format!("/topics/{}/configs", topic.name);
    Ok(Json(links.list("KafkaTopicConfigList", &path, views(&at, &links, topic))))
}

pub(crate) async fn get(at: At) -> Result<Json<Object<ConfigView>>, ApiError> {
    let topic = at.topic()?;
    Ok(Json(view(&at, &at.links(), topic, definition(&at)?)))
}

pub(crate) async fn put(at: At, JsonBody(wanted): JsonBody<Put>) -> Result<StatusCode, ApiError> {
    definition(&at)?;
    change(&at, ConfigOperation::Set(wanted.value)).await
}

pub(crate) async fn delete(at: At) -> Result<StatusCode, ApiError> {
    definition(&at)?;
    change(&at, ConfigOperation::Delete).await
}

pub(crate) async fn alter(at: At, JsonBody(wanted): JsonBody<Alter>) -> Result<StatusCode, ApiError> {
    let changes: Result<Vec<ConfigChange>, ApiError> =
        wanted.data.into_iter().map(|JsonObject(change)| parsed(change)).collect();
    alter_topic(&at, &changes?, wanted.validate_only).await
}

async fn change(at: &At, operation: ConfigOperation) -> Result<StatusCode, ApiError> {
    let name = at.param("name").to_owned();
    alter_topic(at, &[ConfigChange { name, operation }], false).await
}

/// All of the changes or none.
async fn alter_topic(at: &At, changes: &[ConfigChange], validate_only: bool) -> Result<StatusCode, ApiError> {
    let topic = at.topic()?;
    let controller = &at.app.controller;
    let version = controller.alter_configs(Some(&topic.name), changes, validate_only, CONTROLLER_MAX).await?;
    if !validate_only {
        at.app.settled(version).await;
    }
    Ok(StatusCode::NO_CONTENT)
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

fn parsed(change: Change) -> Result<ConfigChange, ApiError> {
    let name = change.name;
    let value = || {
        let message = format!("config {name} has no value to set");
        change.value.clone().ok_or_else(|| ApiError::bad_request(message))
    };
    let operation = match change.operation.as_deref() {
        None | Some("SET") => ConfigOperation::Set(value()?),
        Some("DELETE") => ConfigOperation::Delete,
        Some("APPEND") => ConfigOperation::Append(value()?),
        Some("SUBTRACT") => ConfigOperation::Subtract(value()?),
        Some(other) => {
            let message =
                format!("config {name}: operation '{other}' is not one of SET, DELETE, APPEND, SUBTRACT");
            return Err(ApiError::bad_request(message));
        }
    };
    Ok(ConfigChange { name, operation })
}

fn views(at: &At, links: &Links, topic: &Topic) -> Vec<Object<ConfigView>> {
    topic_config_definitions().iter().map(|definition| view(at, links, topic, definition)).collect()
}

fn view(at: &At, links: &Links, topic: &Topic, definition: &'static ConfigDefinition) -> Object<ConfigView> {
    let synonyms = synonyms(&at.image, topic, definition);
    let (value, source) =
        synonyms.first().map_or((definition.default.to_owned(), DEFAULT), |s| (s.value.clone(), s.source));
    let name = definition.name;
    let view = ConfigView {
        cluster_id: at.cluster.to_string(),
        topic_name: topic.name.to_string(),
        name,
        value,
        is_default: source == DEFAULT,
        is_read_only: false,
        is_sensitive: false,
        source,
        synonyms,
    };
    let resource = format!("/topic={}/config={name}", topic.name);
    links.object("KafkaTopicConfig", &format!("/topics/{}/configs/{name}", topic.name), &resource, view)
}

const DEFAULT: &str = "DEFAULT_CONFIG";

/// Everything that sets it, the strongest first.
fn synonyms(image: &Image, topic: &Topic, definition: &'static ConfigDefinition) -> Vec<Synonym> {
    let name = definition.name;
    let sources = [
        (topic.configs.get(name).cloned(), "DYNAMIC_TOPIC_CONFIG"),
        (image.cluster_configs.get(name).cloned(), "DYNAMIC_DEFAULT_BROKER_CONFIG"),
        (Some(definition.default.to_owned()), DEFAULT),
    ];
    let set = sources.into_iter().filter_map(|(value, source)| Some(Synonym { name, value: value?, source }));
    set.collect()
}

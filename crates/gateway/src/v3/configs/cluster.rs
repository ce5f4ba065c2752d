//! What holds for every topic that says nothing else, which in Kafka is the default of all brokers: under their names, and only
//! what somebody set.

use axum::{Json, http::StatusCode};
use domain::{ConfigDefinition, topic_config_definitions};
use metadata::{ConfigChange, ConfigOperation, Image};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    super::shape::{Links, List, Resource},
    change::{Alter, Put, apply},
    view::{ConfigView, Source, Synonym},
};
use crate::{
    ApiError,
    openapi::{Changed, ChangedBy, ClusterConfigPath, ClusterPath, Found, V3},
    place::{At, JsonBody},
};

/// Whose setting it is.
#[derive(Serialize, ToSchema)]
pub(crate) struct OfCluster {
    #[schema(value_type = String)]
    config_type: &'static str,
}

type View = Resource<ConfigView<OfCluster>>;

/// What somebody set for all topics.
#[utoipa::path(
    get,
    path = "/v3/clusters/{cluster}/broker-configs",
    operation_id = "listKafkaClusterConfigs",
    tag = V3,
    params(ClusterPath),
    responses((status = 200, description = "As asked.", body = List<Resource<ConfigView<OfCluster>>>), Found),
)]
pub(crate) async fn list(at: At) -> Json<List<View>> {
    let links = at.links();
    let set = topic_config_definitions().iter().filter(|d| at.image.cluster_configs.contains_key(d.name));
    let mut set: Vec<_> = set.collect();
    set.sort_by_key(|definition| definition.broker_name());
    let views = set.into_iter().map(|definition| view(&at, &links, definition));
    Json(links.list("KafkaClusterConfigList", "/broker-configs", views.collect()))
}

/// One setting that somebody set for all topics.
#[utoipa::path(
    get,
    path = "/v3/clusters/{cluster}/broker-configs/{name}",
    operation_id = "getKafkaClusterConfig",
    tag = V3,
    params(ClusterConfigPath),
    responses((status = 200, description = "As asked.", body = Resource<ConfigView<OfCluster>>), Found),
)]
pub(crate) async fn get(at: At) -> Result<Json<View>, ApiError> {
    let definition = definition(&at)?;
    if !at.image.cluster_configs.contains_key(definition.name) {
        let message = format!(
            "config '{}' is not set, its default is {}",
            definition.broker_name(),
            definition.default
        );
        return Err(ApiError::plain(StatusCode::NOT_FOUND, message));
    }
    Ok(Json(view(&at, &at.links(), definition)))
}

/// Sets it for all topics that say nothing else.
#[utoipa::path(
    put,
    path = "/v3/clusters/{cluster}/broker-configs/{name}",
    operation_id = "updateKafkaClusterConfig",
    tag = V3,
    params(ClusterConfigPath),
    request_body = Put,
    responses((status = 204, description = "It is set."), ChangedBy),
)]
pub(crate) async fn put(at: At, JsonBody(wanted): JsonBody<Put>) -> Result<StatusCode, ApiError> {
    change(&at, ConfigOperation::Set(wanted.value)).await
}

/// Unsets it: the default holds then.
#[utoipa::path(
    delete,
    path = "/v3/clusters/{cluster}/broker-configs/{name}",
    operation_id = "deleteKafkaClusterConfig",
    tag = V3,
    params(ClusterConfigPath),
    responses((status = 204, description = "It is unset."), Changed),
)]
pub(crate) async fn delete(at: At) -> Result<StatusCode, ApiError> {
    change(&at, ConfigOperation::Delete).await
}

/// Changes several, all of them or none.
#[utoipa::path(
    post,
    path = "/v3/clusters/{cluster}/broker-configs:alter",
    operation_id = "updateKafkaClusterConfigs",
    tag = V3,
    params(ClusterPath),
    request_body = Alter,
    responses((status = 204, description = "They are changed."), ChangedBy),
)]
pub(crate) async fn alter(at: At, JsonBody(wanted): JsonBody<Alter>) -> Result<StatusCode, ApiError> {
    let validate_only = wanted.validate_only;
    let mut changes = wanted.changes()?;
    for change in &mut changes {
        // What has no such name is left to the controller to refuse.
        if let Some(definition) = ConfigDefinition::find_for_brokers(&change.name) {
            change.name = definition.name.to_owned();
        }
    }
    apply(&at, None, &changes, validate_only).await
}

async fn change(at: &At, operation: ConfigOperation) -> Result<StatusCode, ApiError> {
    let name = definition(at)?.name.to_owned();
    apply(at, None, &[ConfigChange { name, operation }], false).await
}

/// The setting that the path names.
fn definition(at: &At) -> Result<&'static ConfigDefinition, ApiError> {
    let name = at.param("name");
    ConfigDefinition::find_for_brokers(name).ok_or_else(|| {
        let message = format!("the cluster has no config '{name}'");
        ApiError::plain(StatusCode::NOT_FOUND, message)
    })
}

fn view(at: &At, links: &Links, definition: &'static ConfigDefinition) -> View {
    let (name, of) = (definition.broker_name(), OfCluster { config_type: "BROKER" });
    let view = ConfigView::new(at.cluster.to_string(), of, name, synonyms(&at.image, definition));
    links.object(
        "KafkaClusterConfig",
        &format!("/broker-configs/{name}"),
        &format!("/broker-config={name}"),
        view,
    )
}

/// Everything that sets it for a broker, the strongest first.
pub(super) fn synonyms(image: &Image, definition: &'static ConfigDefinition) -> Vec<Synonym> {
    let name = definition.broker_name();
    let set = image.cluster_configs.get(definition.name);
    let set = set.map(|value| Synonym::new(name, value, Source::AllTopics));
    set.into_iter().chain([Synonym::new(name, definition.default, Source::Nobody)]).collect()
}

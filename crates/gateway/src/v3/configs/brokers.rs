//! What a broker was started with, which only it knows, and what holds for all topics, which is in the metadata.

use std::{collections::BTreeMap, time::Duration};

use axum::{Json, http::StatusCode};
use domain::{NodeId, topic_config_definitions};
use futures_util::future::try_join_all;
use metadata::Node;
use serde::Serialize;
use utoipa::ToSchema;
use wire::{
    ResponseError, StrBytes,
    messages::{
        DescribeConfigsRequest, describe_configs_request::DescribeConfigsResource,
        describe_configs_response::DescribeConfigsResourceResult,
    },
};

use super::{
    super::shape::{Links, List, Resource, broker_path},
    change::{Alter, Put},
    cluster::synonyms,
    view::{ConfigView, Source, Synonym},
};
use crate::{
    ApiError,
    openapi::{BrokerConfigPath, BrokerPath, Changed, ChangedBy, ClusterPath, Found, V3},
    place::{At, JsonBody},
};

/// Whose setting it is.
#[derive(Serialize, ToSchema)]
pub(crate) struct OfBroker {
    #[schema(value_type = i32)]
    broker_id: NodeId,
}

type View = Resource<ConfigView<OfBroker>>;
/// Settings by their names, with all that sets them.
type Configs = BTreeMap<String, Vec<Synonym>>;

/// How the wire names a broker's settings, and one that it was started with.
const BROKER: i8 = 4;
const SOURCE_STATIC: i8 = 4;

/// The settings of all brokers.
#[utoipa::path(
    get,
    path = "/v3/clusters/{cluster}/brokers/-/configs",
    operation_id = "listKafkaAllBrokersConfigs",
    tag = V3,
    params(ClusterPath),
    responses((status = 200, description = "As asked.", body = List<Resource<ConfigView<OfBroker>>>), Found),
)]
pub(crate) async fn list_all(at: At) -> Result<Json<List<View>>, ApiError> {
    let links = at.links();
    let nodes =
        at.image.live_nodes().map(|node| async { Ok::<_, ApiError>((node.id, configs(&at, node).await?)) });
    let of_all = try_join_all(nodes).await?;
    let views = of_all.into_iter().flat_map(|(node, configs)| views(&at, &links, node, configs));
    Ok(Json(links.list("KafkaBrokerConfigList", "/brokers/-/configs", views.collect())))
}

/// The settings of a broker.
#[utoipa::path(
    get,
    path = "/v3/clusters/{cluster}/brokers/{broker}/configs",
    operation_id = "listKafkaBrokerConfigs",
    tag = V3,
    params(BrokerPath),
    responses((status = 200, description = "As asked.", body = List<Resource<ConfigView<OfBroker>>>), Found),
)]
pub(crate) async fn list(at: At) -> Result<Json<List<View>>, ApiError> {
    let (links, node) = (at.links(), at.broker()?);
    let configs = configs(&at, node).await?;
    let path = format!("{}/configs", broker_path(node.id));
    Ok(Json(links.list("KafkaBrokerConfigList", &path, views(&at, &links, node.id, configs))))
}

/// One setting of a broker.
#[utoipa::path(
    get,
    path = "/v3/clusters/{cluster}/brokers/{broker}/configs/{name}",
    operation_id = "getKafkaBrokerConfig",
    tag = V3,
    params(BrokerConfigPath),
    responses((status = 200, description = "As asked.", body = Resource<ConfigView<OfBroker>>), Found),
)]
pub(crate) async fn get(at: At) -> Result<Json<View>, ApiError> {
    let node = at.broker()?;
    let synonyms = named(&at, node).await?;
    Ok(Json(view(&at, &at.links(), node.id, at.param("name"), synonyms)))
}

/// Refused: a broker reads its settings at its start. What holds for all topics is set at `/broker-configs`.
#[utoipa::path(
    put,
    path = "/v3/clusters/{cluster}/brokers/{broker}/configs/{name}",
    operation_id = "updateKafkaBrokerConfig",
    tag = V3,
    params(BrokerConfigPath),
    request_body = Put,
    responses(ChangedBy),
)]
pub(crate) async fn put(at: At, JsonBody(_wanted): JsonBody<Put>) -> Result<StatusCode, ApiError> {
    unchangeable(&at).await
}

/// Refused, as setting one is.
#[utoipa::path(
    delete,
    path = "/v3/clusters/{cluster}/brokers/{broker}/configs/{name}",
    operation_id = "deleteKafkaBrokerConfig",
    tag = V3,
    params(BrokerConfigPath),
    responses(Changed),
)]
pub(crate) async fn delete(at: At) -> Result<StatusCode, ApiError> {
    unchangeable(&at).await
}

/// Refused, as setting one is.
#[utoipa::path(
    post,
    path = "/v3/clusters/{cluster}/brokers/{broker}/configs:alter",
    operation_id = "updateKafkaBrokerConfigBatch",
    tag = V3,
    params(BrokerPath),
    request_body = Alter,
    responses(ChangedBy),
)]
pub(crate) async fn alter(at: At, JsonBody(wanted): JsonBody<Alter>) -> Result<StatusCode, ApiError> {
    wanted.changes()?;
    Err(refused(at.broker()?))
}

async fn unchangeable(at: &At) -> Result<StatusCode, ApiError> {
    let node = at.broker()?;
    named(at, node).await?;
    Err(refused(node))
}

fn refused(node: &Node) -> ApiError {
    ApiError::invalid(format!(
        "broker {} reads its configs at its start; what holds for all topics is altered at /broker-configs",
        node.id
    ))
}

/// The setting that the path names.
async fn named(at: &At, node: &Node) -> Result<Vec<Synonym>, ApiError> {
    let name = at.param("name");
    configs(at, node).await?.remove(name).ok_or_else(|| {
        let message = format!("brokers have no config '{name}'");
        ApiError::plain(StatusCode::NOT_FOUND, message)
    })
}

/// From this gateway's metadata what is in it, so that who altered it here sees it.
async fn configs(at: &At, node: &Node) -> Result<Configs, ApiError> {
    let of_all = topic_config_definitions().iter();
    let of_all = of_all.map(|d| (d.broker_name().to_owned(), synonyms(&at.image, d)));
    let own = own(at, node).await?.into_iter().map(|config| {
        let (name, value) = (config.name.to_string(), config.value.map(|value| value.to_string()));
        let synonym = Synonym { name: name.clone(), value, source: Source::Start };
        (name, vec![synonym])
    });
    Ok(of_all.chain(own).collect())
}

async fn own(at: &At, node: &Node) -> Result<Vec<DescribeConfigsResourceResult>, ApiError> {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(BROKER)
        .with_resource_name(StrBytes::from_string(node.id.to_string()))
        .with_configuration_keys(None);
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
    let address = node.kafka.to_string();
    let answer = at.app.backend.upstream.call(&address, request, i16::MAX, Duration::ZERO).await;
    let mut results = answer.map_err(|e| ApiError::unchanged(format!("broker {}: {e}", node.id)))?.results;
    let result = results.pop().unwrap_or_default();
    if let Some(code) = ResponseError::try_from_code(result.error_code) {
        let message = result.error_message.map(|message| message.to_string()).unwrap_or_default();
        return Err(ApiError::refused(code, format!("broker {}: {message}", node.id)));
    }
    Ok(result.configs.into_iter().filter(|config| config.config_source == SOURCE_STATIC).collect())
}

fn views(at: &At, links: &Links, node: NodeId, configs: Configs) -> Vec<View> {
    configs.into_iter().map(|(name, synonyms)| view(at, links, node, &name, synonyms)).collect()
}

fn view(at: &At, links: &Links, node: NodeId, name: &str, synonyms: Vec<Synonym>) -> View {
    let view = ConfigView::new(at.cluster.to_string(), OfBroker { broker_id: node }, name, synonyms);
    let resource = format!("/broker={node}/config={name}");
    links.object("KafkaBrokerConfig", &format!("{}/configs/{name}", broker_path(node)), &resource, view)
}

use axum::Json;
use domain::NodeId;
use metadata::Node;
use serde::Serialize;
use utoipa::ToSchema;

use super::shape::{Links, List, Related, Resource, broker_path};
use crate::{
    ApiError,
    openapi::{BrokerPath, ClusterPath, Found, V3},
    place::At,
};

#[derive(Serialize, ToSchema)]
#[schema(as = KafkaBroker)]
pub(crate) struct BrokerView {
    cluster_id: String,
    #[schema(value_type = i32)]
    broker_id: NodeId,
    host: String,
    port: u16,
    rack: Option<String>,
    configs: Related,
    partition_replicas: Related,
}

/// Those that take part now.
#[utoipa::path(
    get,
    path = "/v3/clusters/{cluster}/brokers",
    operation_id = "listKafkaBrokers",
    tag = V3,
    params(ClusterPath),
    responses((status = 200, description = "As asked.", body = List<Resource<BrokerView>>), Found),
)]
pub(crate) async fn list(at: At) -> Json<List<Resource<BrokerView>>> {
    let links = at.links();
    let brokers = at.image.live_nodes().map(|node| view(&at, &links, node)).collect();
    Json(links.list("KafkaBrokerList", "/brokers", brokers))
}

/// One that takes part now.
#[utoipa::path(
    get,
    path = "/v3/clusters/{cluster}/brokers/{broker}",
    operation_id = "getKafkaBroker",
    tag = V3,
    params(BrokerPath),
    responses((status = 200, description = "As asked.", body = Resource<BrokerView>), Found),
)]
pub(crate) async fn get(at: At) -> Result<Json<Resource<BrokerView>>, ApiError> {
    let node = at.broker()?;
    Ok(Json(view(&at, &at.links(), node)))
}

fn view(at: &At, links: &Links, node: &Node) -> Resource<BrokerView> {
    let path = broker_path(node.id);
    let view = BrokerView {
        cluster_id: at.cluster.to_string(),
        broker_id: node.id,
        host: node.kafka.host.clone(),
        port: node.kafka.port,
        rack: node.rack.clone(),
        configs: links.related(&format!("{path}/configs")),
        partition_replicas: links.related(&format!("{path}/partition-replicas")),
    };
    links.object("KafkaBroker", &path, &format!("/broker={}", node.id), view)
}

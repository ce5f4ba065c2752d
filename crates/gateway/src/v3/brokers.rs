use axum::Json;
use domain::NodeId;
use metadata::Node;
use serde::Serialize;

use super::shape::{Links, List, Object, Related, broker_path};
use crate::{ApiError, place::At};

#[derive(Serialize)]
pub(crate) struct BrokerView {
    cluster_id: String,
    broker_id: NodeId,
    host: String,
    port: u16,
    rack: Option<String>,
    configs: Related,
    partition_replicas: Related,
}

/// Those that take part now.
pub(crate) async fn list(at: At) -> Json<List<Object<BrokerView>>> {
    let links = at.links();
    let brokers = at.image.live_nodes().map(|node| view(&at, &links, node)).collect();
    Json(links.list("KafkaBrokerList", "/brokers", brokers))
}

pub(crate) async fn get(at: At) -> Result<Json<Object<BrokerView>>, ApiError> {
    let node = at.broker()?;
    Ok(Json(view(&at, &at.links(), node)))
}

fn view(at: &At, links: &Links, node: &Node) -> Object<BrokerView> {
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

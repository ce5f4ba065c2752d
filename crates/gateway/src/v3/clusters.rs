use axum::{Json, http::StatusCode};
use domain::NodeId;
use metadata::{Node, NodeState};
use serde::Serialize;

use super::shape::{Links, List, Object, Related, broker_path};
use crate::{ApiError, place::At};

#[derive(Serialize)]
pub(crate) struct ClusterView {
    cluster_id: String,
    brokers: Related,
    topics: Related,
}

#[derive(Serialize)]
pub(crate) struct BrokerView {
    cluster_id: String,
    broker_id: NodeId,
    host: String,
    port: u16,
    rack: Option<String>,
}

pub(crate) async fn list(at: At) -> Json<List<Object<ClusterView>>> {
    Json(at.links().clusters("KafkaClusterList", vec![cluster_view(&at)]))
}

pub(crate) async fn get(at: At) -> Json<Object<ClusterView>> {
    Json(cluster_view(&at))
}

fn cluster_view(at: &At) -> Object<ClusterView> {
    let links = at.links();
    let view = ClusterView {
        cluster_id: at.cluster.to_string(),
        brokers: links.related("/brokers"),
        topics: links.related("/topics"),
    };
    links.object("KafkaCluster", "", "", view)
}

/// Those that take part now.
pub(crate) async fn brokers(at: At) -> Json<List<Object<BrokerView>>> {
    let links = at.links();
    let brokers = at.image.live_nodes().map(|node| broker_view(&at, &links, node)).collect();
    Json(links.list("KafkaBrokerList", "/brokers", brokers))
}

pub(crate) async fn broker(at: At) -> Result<Json<Object<BrokerView>>, ApiError> {
    let text = at.param("broker");
    let node = text
        .parse()
        .ok()
        .and_then(|id| at.image.nodes.get(&NodeId(id)))
        .filter(|node| node.state != NodeState::Fenced);
    match node {
        Some(node) => Ok(Json(broker_view(&at, &at.links(), node))),
        None => Err(ApiError::plain(StatusCode::NOT_FOUND, format!("broker '{text}' does not exist"))),
    }
}

fn broker_view(at: &At, links: &Links, node: &Node) -> Object<BrokerView> {
    let view = BrokerView {
        cluster_id: at.cluster.to_string(),
        broker_id: node.id,
        host: node.kafka.host.clone(),
        port: node.kafka.port,
        rack: node.rack.clone(),
    };
    let resource = format!("/broker={}", node.id);
    links.object("KafkaBroker", &broker_path(node.id), &resource, view)
}

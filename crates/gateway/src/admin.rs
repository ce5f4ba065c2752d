//! `/admin/v1`: what operators see, in a form of our own.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, Router, routing::get};
use domain::NodeId;
use serde::Serialize;

use crate::{ApiError, App, app::CONTROLLER_MAX, place::At};

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new().route("/admin/v1/nodes", get(nodes)).route("/admin/v1/controllers", get(controllers))
}

#[derive(Serialize)]
struct NodeList {
    nodes: Vec<NodeView>,
}

#[derive(Serialize)]
struct NodeView {
    node_id: NodeId,
    state: String,
    epoch: i64,
    kafka: String,
    http: String,
    rack: Option<String>,
    /// How many partitions it leads, and of how many it has a replica.
    leaders: usize,
    replicas: usize,
}

async fn nodes(at: At) -> Json<NodeList> {
    let mut counts: BTreeMap<NodeId, (usize, usize)> = BTreeMap::new();
    for partition in at.image.topics.values().flat_map(|t| t.partitions.iter()) {
        if let Some(leader) = partition.leader {
            counts.entry(leader).or_default().0 += 1;
        }
        for replica in &partition.replicas {
            counts.entry(*replica).or_default().1 += 1;
        }
    }
    let nodes = at.image.nodes.values().map(|node| {
        let (leaders, replicas) = counts.get(&node.id).copied().unwrap_or_default();
        NodeView {
            node_id: node.id,
            state: node.state.to_string(),
            epoch: node.epoch.0,
            kafka: node.kafka.to_string(),
            http: node.http.to_string(),
            rack: node.rack.clone(),
            leaders,
            replicas,
        }
    });
    Json(NodeList { nodes: nodes.collect() })
}

#[derive(Serialize)]
struct ControllerList {
    controllers: Vec<ControllerView>,
}

#[derive(Serialize)]
struct ControllerView {
    /// As text: it may be larger than a number in JSON is safe to be.
    raft_id: String,
    ordinal: u32,
    address: String,
    voter: bool,
    leader: bool,
}

async fn controllers(at: At) -> Result<Json<ControllerList>, ApiError> {
    let described = at.app.controller.describe_controllers(CONTROLLER_MAX).await?;
    let controllers = described.into_iter().map(|c| ControllerView {
        raft_id: c.raft_id.to_string(),
        ordinal: c.ordinal,
        address: c.address,
        voter: c.voter,
        leader: c.leader,
    });
    Ok(Json(ControllerList { controllers: controllers.collect() }))
}

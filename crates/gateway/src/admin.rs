//! `/admin/v1`: what operators see, in a form of our own.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json, Router,
    routing::{get, post},
};
use domain::{NodeId, PartitionIndex};
use metadata::{ElectionKind, Partition};
use serde::{Deserialize, Serialize};

use crate::{
    ApiError, App,
    app::CONTROLLER_MAX,
    place::{At, JsonBody},
};

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/admin/v1/nodes", get(nodes))
        .route("/admin/v1/controllers", get(controllers))
        .route("/admin/v1/topics/{topic}/partitions", get(partitions))
        .route("/admin/v1/topics/{topic}/elections", post(elect))
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
struct PartitionList {
    partitions: Vec<PartitionView>,
}

/// A partition as the controller has it.
#[derive(Serialize)]
struct PartitionView {
    partition: PartitionIndex,
    leader: Option<NodeId>,
    leader_epoch: i32,
    replicas: Vec<NodeId>,
    in_sync: Vec<NodeId>,
    /// Out of the ISR, but nothing was committed without them (KIP-966).
    eligible: Vec<NodeId>,
    /// The last that were in sync, while nobody leads: one of them has to come back.
    last_known: Vec<NodeId>,
    adding: Vec<NodeId>,
    removing: Vec<NodeId>,
    /// So many must be in sync for acks=all.
    min_in_sync: u32,
    /// The leader was elected without proof that it has every record.
    recovering: bool,
}

impl PartitionView {
    fn new(partition: PartitionIndex, of: &Partition) -> Self {
        Self {
            partition,
            leader: of.leader,
            leader_epoch: of.leader_epoch.0,
            replicas: of.replicas.clone(),
            in_sync: of.isr.clone(),
            eligible: of.elr.clone(),
            last_known: of.still_waits_for().collect(),
            adding: of.adding.clone(),
            removing: of.removing.clone(),
            min_in_sync: of.min_isr,
            recovering: of.recovering,
        }
    }
}

async fn partitions(at: At) -> Result<Json<PartitionList>, ApiError> {
    let partitions = at.topic()?.numbered().map(|(index, partition)| PartitionView::new(index, partition));
    Ok(Json(PartitionList { partitions: partitions.collect() }))
}

/// Leaders at an operator's word (KIP-460).
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Elect {
    /// All of the topic's, if none is named.
    #[serde(default)]
    partitions: Vec<PartitionIndex>,
    /// Any live replica where nobody leads, though records may be lost; else the preferred leaders.
    #[serde(default)]
    unclean: bool,
}

#[derive(Serialize)]
struct ElectionList {
    elections: Vec<ElectionView>,
}

#[derive(Serialize)]
struct ElectionView {
    partition: PartitionIndex,
    elected: bool,
    /// Why not.
    message: Option<String>,
}

async fn elect(at: At, JsonBody(wanted): JsonBody<Elect>) -> Result<Json<ElectionList>, ApiError> {
    let topic = at.topic()?;
    let numbers = match wanted.partitions.is_empty() {
        true => topic.numbered().map(|(number, _)| number).collect(),
        false => wanted.partitions,
    };
    let kind = if wanted.unclean { ElectionKind::Unclean } else { ElectionKind::Preferred };
    let partitions: Vec<_> = numbers.iter().map(|number| (topic.name.clone(), *number)).collect();
    let answer = at.app.controller.elect_leaders(kind, &partitions, CONTROLLER_MAX).await?;
    at.app.settled(answer.version).await;
    let elections = numbers.into_iter().zip(answer.results).map(|(partition, result)| ElectionView {
        partition,
        elected: result.is_ok(),
        message: result.err().map(|refusal| refusal.to_string()),
    });
    Ok(Json(ElectionList { elections: elections.collect() }))
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

//! `/admin/v1`: what operators see, in a form of our own.

mod leaving;
mod rebalance;

use std::{collections::BTreeMap, sync::Arc};

use axum::Json;
use domain::{NodeId, PartitionIndex};
use metadata::{ElectionKind, Partition};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    ApiError, App,
    app::CONTROLLER_MAX,
    openapi::{ADMIN, Changed, ChangedBy, Found, Shown, V2TopicPath},
    place::{At, JsonBody},
};

pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(nodes))
        .routes(routes!(controllers))
        .routes(routes!(partitions))
        .routes(routes!(elect))
        .routes(routes!(leaving::drain, leaving::undrain))
        .routes(routes!(leaving::remove))
        .routes(routes!(rebalance::show, rebalance::alter))
        .routes(routes!(rebalance::cancel))
}

#[derive(Serialize, ToSchema)]
#[schema(as = Nodes)]
struct NodeList {
    nodes: Vec<NodeView>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Node)]
struct NodeView {
    #[schema(value_type = i32)]
    node_id: NodeId,
    state: String,
    /// It gives its replicas away, and gets no new ones.
    draining: bool,
    epoch: i64,
    kafka: String,
    http: String,
    rack: Option<String>,
    /// How many partitions it leads, and of how many it has a replica.
    leaders: usize,
    replicas: usize,
}

/// The storage nodes, and what they carry.
#[utoipa::path(
    get,
    path = "/admin/v1/nodes",
    operation_id = "listNodes",
    tag = ADMIN,
    responses((status = 200, description = "As asked.", body = NodeList), Shown),
)]
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
            draining: node.draining,
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

#[derive(Serialize, ToSchema)]
#[schema(as = Partitions)]
struct PartitionList {
    partitions: Vec<PartitionView>,
}

/// A partition as the controller has it.
#[derive(Serialize, ToSchema)]
#[schema(as = Partition)]
struct PartitionView {
    #[schema(value_type = i32)]
    partition: PartitionIndex,
    #[schema(value_type = Option<i32>)]
    leader: Option<NodeId>,
    leader_epoch: i32,
    #[schema(value_type = Vec<i32>)]
    replicas: Vec<NodeId>,
    #[schema(value_type = Vec<i32>)]
    in_sync: Vec<NodeId>,
    /// Out of the ISR, but nothing was committed without them (KIP-966).
    #[schema(value_type = Vec<i32>)]
    eligible: Vec<NodeId>,
    /// The last that were in sync, while nobody leads: one of them has to come back.
    #[schema(value_type = Vec<i32>)]
    last_known: Vec<NodeId>,
    #[schema(value_type = Vec<i32>)]
    adding: Vec<NodeId>,
    #[schema(value_type = Vec<i32>)]
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

/// The partitions of a topic as the controller has them.
#[utoipa::path(
    get,
    path = "/admin/v1/topics/{topic}/partitions",
    operation_id = "describePartitions",
    tag = ADMIN,
    params(V2TopicPath),
    responses((status = 200, description = "As asked.", body = PartitionList), Found),
)]
async fn partitions(at: At) -> Result<Json<PartitionList>, ApiError> {
    let partitions = at.topic()?.numbered().map(|(index, partition)| PartitionView::new(index, partition));
    Ok(Json(PartitionList { partitions: partitions.collect() }))
}

/// Leaders at an operator's word (KIP-460).
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Elect {
    /// All of the topic's, if none is named.
    #[serde(default)]
    #[schema(value_type = Vec<i32>)]
    partitions: Vec<PartitionIndex>,
    /// Any live replica where nobody leads, though records may be lost; else the preferred leaders.
    #[serde(default)]
    unclean: bool,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Elections)]
struct ElectionList {
    elections: Vec<ElectionView>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Election)]
struct ElectionView {
    #[schema(value_type = i32)]
    partition: PartitionIndex,
    elected: bool,
    /// Why not.
    message: Option<String>,
}

/// Elects leaders: the preferred ones, or any live ones where nobody leads, though records may be lost.
#[utoipa::path(
    post,
    path = "/admin/v1/topics/{topic}/elections",
    operation_id = "electLeaders",
    tag = ADMIN,
    params(V2TopicPath),
    request_body = Elect,
    responses((status = 200, description = "As asked.", body = ElectionList), ChangedBy),
)]
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

#[derive(Serialize, ToSchema)]
#[schema(as = Controllers)]
struct ControllerList {
    controllers: Vec<ControllerView>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Controller)]
struct ControllerView {
    /// As text: it may be larger than a number in JSON is safe to be.
    raft_id: String,
    ordinal: u32,
    address: String,
    voter: bool,
    leader: bool,
}

/// The controllers, and which of them leads.
#[utoipa::path(
    get,
    path = "/admin/v1/controllers",
    operation_id = "listControllers",
    tag = ADMIN,
    responses((status = 200, description = "As asked.", body = ControllerList), Changed),
)]
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

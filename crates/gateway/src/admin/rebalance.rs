//! Replicas that move to where there is room for them.

use axum::Json;
use rpc::pb;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    ApiError,
    app::CONTROLLER_MAX,
    openapi::{ADMIN, Changed, ChangedBy},
    place::{At, JsonBody, Query},
};

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Shown {
    /// With each move that is still to come.
    #[serde(default)]
    #[param(required = false)]
    planned: bool,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Rebalance)]
pub(super) struct RebalanceView {
    /// Nothing new is begun.
    paused: bool,
    /// How many bytes of what moves to it a node may take in in a second: as many as producers do not notice, up to what was set
    /// or configured.
    bytes_per_second_max: u64,
    bytes_per_second_set: Option<u64>,
    /// What all nodes took in lately.
    bytes_per_second: u64,
    under_way: Vec<MoveView>,
    moves_planned: u32,
    /// Empty unless asked for.
    planned: Vec<MoveView>,
    bytes_left: u64,
    /// At the present rate; null: not known.
    seconds_left: Option<u64>,
    /// Replicas of draining nodes that no other node can take.
    stuck: Vec<StuckView>,
    nodes: Vec<UsageView>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Move)]
struct MoveView {
    topic: String,
    partition: i32,
    from: Vec<i32>,
    to: Vec<i32>,
    bytes: u64,
    bytes_left: u64,
    /// Drain, Racks, Replicas, Disk or Leaders; empty: asked for by somebody.
    why: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = StuckReplica)]
struct StuckView {
    topic: String,
    partition: i32,
    node_id: i32,
    reason: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = NodeUsage)]
struct UsageView {
    node_id: i32,
    replicas: u32,
    leaders: u32,
    /// Null until it has told.
    disk_used_bytes: Option<u64>,
    disk_total_bytes: Option<u64>,
    /// What a draining node still has.
    replicas_left: u32,
    bytes_left: u64,
    seconds_left: Option<u64>,
}

impl From<pb::Move> for MoveView {
    fn from(of: pb::Move) -> Self {
        let pb::TopicPartition { topic, partition } = of.partition.unwrap_or_default();
        let pb::Move { from, to, bytes, bytes_left, why, .. } = of;
        Self { topic, partition, from, to, bytes, bytes_left, why }
    }
}

impl From<pb::StuckReplica> for StuckView {
    fn from(of: pb::StuckReplica) -> Self {
        let pb::TopicPartition { topic, partition } = of.partition.unwrap_or_default();
        Self { topic, partition, node_id: of.node, reason: of.reason }
    }
}

impl From<pb::NodeUsage> for UsageView {
    fn from(of: pb::NodeUsage) -> Self {
        Self {
            node_id: of.node,
            replicas: of.replicas,
            leaders: of.leaders,
            disk_used_bytes: of.disk_used_bytes,
            disk_total_bytes: of.disk_total_bytes,
            replicas_left: of.replicas_left,
            bytes_left: of.bytes_left,
            seconds_left: of.seconds_left,
        }
    }
}

impl From<pb::DescribeRebalanceResponse> for RebalanceView {
    fn from(of: pb::DescribeRebalanceResponse) -> Self {
        Self {
            paused: of.paused,
            bytes_per_second_max: of.bytes_per_second_max,
            bytes_per_second_set: of.bytes_per_second_set,
            bytes_per_second: of.bytes_per_second,
            under_way: of.under_way.into_iter().map(MoveView::from).collect(),
            moves_planned: of.moves_planned,
            planned: of.planned.into_iter().map(MoveView::from).collect(),
            bytes_left: of.bytes_left,
            seconds_left: of.seconds_left,
            stuck: of.stuck.into_iter().map(StuckView::from).collect(),
            nodes: of.nodes.into_iter().map(UsageView::from).collect(),
        }
    }
}

/// What moves, what is still to move, how long that takes, and how full the nodes are.
#[utoipa::path(
    get,
    path = "/admin/v1/rebalance",
    operation_id = "describeRebalance",
    tag = ADMIN,
    params(Shown),
    responses((status = 200, description = "As asked.", body = RebalanceView), Changed),
)]
pub(super) async fn show(at: At, Query(shown): Query<Shown>) -> Result<Json<RebalanceView>, ApiError> {
    let described = at.app.controller.describe_rebalance(shown.planned, CONTROLLER_MAX).await?;
    Ok(Json(described.into()))
}

#[derive(Deserialize, ToSchema)]
#[schema(as = AlterRebalance)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Whether nothing new is begun; as it is, if it is not said.
    paused: Option<bool>,
    /// The most that a node takes in in a second; 0: as configured; as it is, if it is not said.
    bytes_per_second_max: Option<u64>,
}

/// Pauses, resumes and limits moves.
#[utoipa::path(
    patch,
    path = "/admin/v1/rebalance",
    operation_id = "alterRebalance",
    tag = ADMIN,
    request_body = Wanted,
    responses((status = 200, description = "As it is now.", body = RebalanceView), ChangedBy),
)]
pub(super) async fn alter(
    at: At,
    JsonBody(wanted): JsonBody<Wanted>,
) -> Result<Json<RebalanceView>, ApiError> {
    let Wanted { paused, bytes_per_second_max } = wanted;
    if let Some(bytes) = bytes_per_second_max.filter(|bytes| i64::try_from(*bytes).is_err()) {
        let message = format!("bytes_per_second_max {bytes} is more than {}", i64::MAX);
        return Err(ApiError::bad_request(message));
    }
    let request = pb::AlterRebalanceRequest { paused, bytes_per_second_max, cancel: false };
    at.app.controller.alter_rebalance(request, CONTROLLER_MAX).await?;
    let described = at.app.controller.describe_rebalance(false, CONTROLLER_MAX).await?;
    Ok(Json(described.into()))
}

#[derive(Serialize, ToSchema)]
#[schema(as = CancelledMoves)]
pub(super) struct CancelledView {
    cancelled: u32,
}

/// Takes back every move that is under way. They are begun again unless moves are paused.
#[utoipa::path(
    delete,
    path = "/admin/v1/rebalance/moves",
    operation_id = "cancelMoves",
    tag = ADMIN,
    responses((status = 200, description = "How many there were.", body = CancelledView), Changed),
)]
pub(super) async fn cancel(at: At) -> Result<Json<CancelledView>, ApiError> {
    let request = pb::AlterRebalanceRequest { cancel: true, ..Default::default() };
    let answer = at.app.controller.alter_rebalance(request, CONTROLLER_MAX).await?;
    Ok(Json(CancelledView { cancelled: answer.cancelled }))
}

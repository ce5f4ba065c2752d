//! Nodes that give their replicas away, and nodes that are gone for good.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use domain::NodeId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    ApiError,
    app::CONTROLLER_MAX,
    openapi::{ADMIN, Left, LeftBy, NodePath},
    place::{At, JsonBody},
};

#[derive(Deserialize, ToSchema)]
#[schema(as = Drain)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Though partitions would be in fewer racks.
    #[serde(default)]
    ignore_racks: bool,
    /// Only say what it would come to.
    #[serde(default)]
    validate_only: bool,
}

#[derive(Serialize, ToSchema)]
#[schema(as = DrainCost)]
pub(super) struct CostView {
    #[schema(value_type = i32)]
    node_id: NodeId,
    /// What has to move.
    replicas: u32,
    bytes: u64,
}

impl At {
    /// The node that the path names; the controller knows whether there is one.
    fn node(&self) -> Result<NodeId, ApiError> {
        let text = self.param("node");
        let id = text.parse().ok().filter(|id| *id >= 0);
        id.map(NodeId)
            .ok_or_else(|| ApiError::plain(StatusCode::NOT_FOUND, format!("node '{text}' does not exist")))
    }
}

/// Has a node give its replicas to others, while it serves what it still has. Refused with 409 where the others cannot take them.
#[utoipa::path(
    post,
    path = "/admin/v1/nodes/{node}/drain",
    operation_id = "drainNode",
    tag = ADMIN,
    params(NodePath),
    request_body = Wanted,
    responses((status = 200, description = "What has to move.", body = CostView), LeftBy),
)]
pub(super) async fn drain(at: At, JsonBody(wanted): JsonBody<Wanted>) -> Result<Json<CostView>, ApiError> {
    let node = at.node()?;
    let Wanted { ignore_racks, validate_only } = wanted;
    let controller = &at.app.controller;
    let cost = controller.set_draining(node, true, ignore_racks, validate_only, CONTROLLER_MAX).await?;
    at.app.settled(cost.version).await;
    Ok(Json(CostView { node_id: node, replicas: cost.replicas, bytes: cost.bytes }))
}

/// Has a node keep what it has, and take part again. What was on its way elsewhere stays.
#[utoipa::path(
    delete,
    path = "/admin/v1/nodes/{node}/drain",
    operation_id = "undrainNode",
    tag = ADMIN,
    params(NodePath),
    responses((status = 204, description = "Done."), Left),
)]
pub(super) async fn undrain(at: At) -> Result<Response, ApiError> {
    let node = at.node()?;
    let done = at.app.controller.set_draining(node, false, false, false, CONTROLLER_MAX).await?;
    at.app.settled(done.version).await;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Forgets a node that was drained and stopped. Its data folder never comes back as it is.
#[utoipa::path(
    delete,
    path = "/admin/v1/nodes/{node}",
    operation_id = "removeNode",
    tag = ADMIN,
    params(NodePath),
    responses((status = 204, description = "Done."), Left),
)]
pub(super) async fn remove(at: At) -> Result<Response, ApiError> {
    let version = at.app.controller.retire_node(at.node()?, CONTROLLER_MAX).await?;
    at.app.settled(version).await;
    Ok(StatusCode::NO_CONTENT.into_response())
}

use axum::{extract::State, http::StatusCode};
use telemetry::{Health, Metrics};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::SERVICE;

/// The same as every service has, with documentation.
pub(crate) fn routes(health: Health, metrics: Metrics) -> OpenApiRouter {
    let ready = OpenApiRouter::new().routes(routes!(readyz)).routes(routes!(startupz)).with_state(health);
    let measured = OpenApiRouter::new().routes(routes!(measurements)).with_state(metrics);
    OpenApiRouter::new().routes(routes!(livez)).merge(ready).merge(measured)
}

/// Whether the process lives.
#[utoipa::path(
    get,
    path = "/livez",
    operation_id = "isAlive",
    tag = SERVICE,
    responses((status = 200, description = "It does.", body = String, content_type = "text/plain")),
)]
async fn livez() -> &'static str {
    "ok\n"
}

/// Whether it has metadata, and is not about to stop.
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "isReady",
    tag = SERVICE,
    responses(
        (status = 200, description = "It serves.", body = String, content_type = "text/plain"),
        (status = 503, description = "It does not, and why.", body = String, content_type = "text/plain"),
    ),
)]
async fn readyz(State(health): State<Health>) -> (StatusCode, String) {
    health.readiness()
}

/// Whether it has started: it was ready once.
#[utoipa::path(
    get,
    path = "/startupz",
    operation_id = "hasStarted",
    tag = SERVICE,
    responses(
        (status = 200, description = "It has.", body = String, content_type = "text/plain"),
        (status = 503, description = "It has not, and why.", body = String, content_type = "text/plain"),
    ),
)]
async fn startupz(State(health): State<Health>) -> (StatusCode, String) {
    health.startup()
}

/// What it has counted and measured.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "getMetrics",
    tag = SERVICE,
    responses((status = 200, description = "As Prometheus reads it.", body = String, content_type = "text/plain")),
)]
async fn measurements(State(metrics): State<Metrics>) -> String {
    metrics.render()
}

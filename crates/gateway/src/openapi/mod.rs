//! The document of the whole REST interface (OpenAPI 3.1), made of what the handlers say of themselves.

mod errors;
pub(crate) mod health;
mod params;

use std::sync::{Arc, OnceLock};

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use utoipa::openapi::{Info, OpenApi, OpenApiBuilder, tag::TagBuilder};

pub(crate) use self::{
    errors::{
        Changed, ChangedBy, Found, Left, LeftBy, Produced, Shown, V2Asked, V2Consumer, V2Created, V2Found,
        V2Polled, V2Produced, V2Read, V2Shown, V2Told,
    },
    params::{
        AssignmentPath, BrokerConfigPath, BrokerPath, ClusterConfigPath, ClusterPath, ConsumerPath,
        GroupPath, IdempotencyHeader, LagPath, NodePath, PartitionPath, ReplicaPath, TopicConfigPath,
        TopicPath, V2GroupPath, V2InstancePath, V2PartitionPath, V2TopicPath,
    },
};
use crate::negotiate::JSON;

pub(crate) const V2: &str = "v2";
pub(crate) const V3: &str = "v3";
pub(crate) const ADMIN: &str = "admin";
pub(crate) const SERVICE: &str = "service";

/// The document without any path.
pub(crate) fn outline() -> OpenApi {
    let mut info = Info::new("Anabranch", env!("CARGO_PKG_VERSION"));
    info.description = Some(DESCRIPTION.to_owned());
    let tags = [
        (V2, "Confluent's REST API, version 2: produce, and read by partition and offset or as a consumer."),
        (V3, "Confluent's REST API, version 3: administration, produce, and a live tail."),
        (ADMIN, "What operators see and do, in a form of our own."),
        (SERVICE, "Of this process: whether it lives and is ready, its metrics, and this document."),
    ];
    let tags = tags.map(|(name, text)| TagBuilder::new().name(name).description(Some(text)).build());
    OpenApiBuilder::new().info(info).tags(Some(tags)).build()
}

const DESCRIPTION: &str = "A partitioned, replicated, durable log. Errors are `{\"error_code\", \"message\"}` everywhere; 503 \
                           means that nothing was changed, 504 that it is not known.";

/// The document as it is served, once all routes are known.
#[derive(Clone, Default)]
pub(crate) struct Document(Arc<OnceLock<Bytes>>);

impl Document {
    pub(crate) fn set(&self, document: &OpenApi) {
        let json = document.to_pretty_json().unwrap_or_default();
        self.0.get_or_init(|| json.into());
    }
}

/// This document.
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "getOpenApi",
    tag = SERVICE,
    responses((status = 200, description = "OpenAPI 3.1", body = Object, content_type = "application/json")),
)]
pub(crate) async fn serve(State(Document(document)): State<Document>) -> Response {
    let json = document.get().cloned().unwrap_or_default();
    ([(header::CONTENT_TYPE, JSON)], json).into_response()
}

//! Confluent's REST API, version 2.

mod consumers;
pub(crate) mod embedded;
mod produce;
mod read;
mod topics;

use std::sync::Arc;

use axum::{
    Json,
    extract::Request,
    http::{HeaderValue, header},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Value, error::Category, json};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    ApiError, App,
    json_object::JsonObject,
    negotiate,
    openapi::{V2, V2Shown},
};

pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    let negotiated = OpenApiRouter::new()
        .routes(routes!(root))
        .routes(routes!(topics::brokers))
        .routes(routes!(topics::list))
        .routes(routes!(topics::get, produce::to_topic))
        .routes(routes!(topics::partitions))
        .routes(routes!(topics::partition, produce::to_partition))
        .routes(routes!(topics::offsets))
        .merge(consumers::routes())
        .layer(from_fn(negotiated));
    // Accept says in which form records are to come, which is for the handler to know.
    negotiated.merge(OpenApiRouter::new().routes(routes!(read::records))).merge(consumers::records_route())
}

/// Nothing: a client finds out by this that it has found a proxy.
#[utoipa::path(
    get,
    path = "/",
    operation_id = "v2GetRoot",
    tag = V2,
    responses(
        (status = 200, description = "An empty object.", body = Object, content_type = "application/vnd.kafka.v2+json"),
        V2Shown,
    ),
)]
async fn root() -> Json<Value> {
    Json(json!({}))
}

/// Refuses a client that would not take v2's media type, and gives the answer that type.
async fn negotiated(request: Request, next: Next) -> Response {
    let media_type = match negotiate::v2_answer(request.headers()) {
        Ok(media_type) => media_type,
        Err(error) => return error.into_response(),
    };
    let mut response = next.run(request).await;
    if let Some(content_type) = response.headers_mut().get_mut(header::CONTENT_TYPE) {
        *content_type = HeaderValue::from_static(media_type);
    }
    response
}

/// A body as v2 reads it: what is no JSON is 400, what is not what was expected 422.
fn parsed<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, ApiError> {
    let parsed = serde_json::from_slice::<JsonObject<T>>(bytes);
    parsed.map(|JsonObject(body)| body).map_err(|e| match e.classify() {
        Category::Data => ApiError::unprocessable(format!("the body is not what is expected: {e}")),
        _ => ApiError::bad_request(format!("the body is not JSON: {e}")),
    })
}

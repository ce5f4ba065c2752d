//! Confluent's REST API, version 2.

mod consumers;
pub(crate) mod embedded;
mod produce;
mod read;
mod topics;

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::Request,
    http::{HeaderValue, header},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::json;

use crate::{App, negotiate};

pub(crate) fn routes() -> Router<Arc<App>> {
    let negotiated = Router::new()
        .route("/", get(async || Json(json!({}))))
        .route("/brokers", get(topics::brokers))
        .route("/topics", get(topics::list))
        .route("/topics/{topic}", get(topics::get).post(produce::to_topic))
        .route("/topics/{topic}/partitions", get(topics::partitions))
        .route("/topics/{topic}/partitions/{partition}", get(topics::partition).post(produce::to_partition))
        .route("/topics/{topic}/partitions/{partition}/offsets", get(topics::offsets))
        .merge(consumers::routes())
        .layer(from_fn(negotiated));
    // Accept says in which form records are to come, which is for the handler to know.
    let records = Router::new().route("/topics/{topic}/partitions/{partition}/records", get(read::records));
    negotiated.merge(records).merge(consumers::records_route())
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

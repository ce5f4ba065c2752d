//! Confluent's REST API, version 3.

mod batch;
mod brokers;
mod clusters;
mod configs;
mod consumers;
mod framing;
mod groups;
mod intake;
mod lags;
mod partitions;
mod reassignments;
mod record;
mod replicas;
mod shape;
mod stream;
mod tail;
mod topics;

use std::sync::Arc;

use axum::{
    extract::Request,
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{App, negotiate};

pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    // The tail's answers are no JSON.
    let tail = OpenApiRouter::new().routes(routes!(tail::tail));
    topics().merge(brokers()).merge(groups()).layer(from_fn(negotiated)).merge(tail)
}

fn topics() -> OpenApiRouter<Arc<App>> {
    use configs::topics as configs;

    OpenApiRouter::new()
        .routes(routes!(topics::list, topics::create))
        .routes(routes!(topics::get, topics::patch, topics::delete))
        .routes(routes!(configs::list_all))
        .routes(routes!(configs::alter_many))
        .routes(routes!(configs::list))
        .routes(routes!(configs::alter))
        .routes(routes!(configs::get, configs::put, configs::delete))
        .routes(routes!(stream::produce))
        .routes(routes!(batch::produce))
        .routes(routes!(partitions::list))
        .routes(routes!(partitions::get))
        .routes(routes!(partitions::offset))
        .routes(routes!(replicas::list))
        .routes(routes!(replicas::get))
        .routes(routes!(reassignments::list_all))
        .routes(routes!(reassignments::list))
        .routes(routes!(reassignments::get))
}

fn brokers() -> OpenApiRouter<Arc<App>> {
    use configs::{brokers as own, cluster};

    OpenApiRouter::new()
        .routes(routes!(clusters::list))
        .routes(routes!(clusters::get))
        .routes(routes!(brokers::list))
        .routes(routes!(brokers::get))
        .routes(routes!(replicas::of_broker))
        .routes(routes!(own::list_all))
        .routes(routes!(own::list))
        .routes(routes!(own::alter))
        .routes(routes!(own::get, own::put, own::delete))
        .routes(routes!(cluster::list))
        .routes(routes!(cluster::alter))
        .routes(routes!(cluster::get, cluster::put, cluster::delete))
}

fn groups() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(groups::list))
        .routes(routes!(groups::get))
        .routes(routes!(consumers::list))
        .routes(routes!(consumers::get))
        .routes(routes!(consumers::assignments))
        .routes(routes!(consumers::assignment))
        .routes(routes!(lags::summary))
        .routes(routes!(lags::list))
        .routes(routes!(lags::get))
}

async fn negotiated(request: Request, next: Next) -> Response {
    match negotiate::v3_answer(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

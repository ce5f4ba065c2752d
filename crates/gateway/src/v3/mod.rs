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
    Router,
    extract::Request,
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::{get, post},
};

use crate::{App, negotiate};

pub(crate) fn routes() -> Router<Arc<App>> {
    const CLUSTER: &str = "/v3/clusters/{cluster}";
    let at = |path: &str| format!("{CLUSTER}{path}");
    let topic = |path: &str| format!("{CLUSTER}/topics/{{topic}}{path}");
    let group = |path: &str| format!("{CLUSTER}/consumer-groups/{{group}}{path}");
    // Its answers are no JSON.
    let tail = Router::new().route(&topic("/records"), get(tail::tail));
    Router::new()
        .route("/v3/clusters", get(clusters::list))
        .route(CLUSTER, get(clusters::get))
        .route(&at("/brokers"), get(brokers::list))
        .route(&at("/brokers/{broker}"), get(brokers::get))
        .route(&at("/topics"), get(topics::list).post(topics::create))
        .route(&at("/topics/-/configs"), get(configs::topics::list_all))
        .route(&at("/topics/-/configs:alter"), post(configs::topics::alter_many))
        .route(&at("/topics/-/partitions/-/reassignment"), get(reassignments::list_all))
        .route(&topic("/partitions/-/reassignment"), get(reassignments::list))
        .route(&topic("/partitions/{partition}/reassignment"), get(reassignments::get))
        .route(&at("/brokers/-/configs"), get(configs::brokers::list_all))
        .route(&at("/brokers/{broker}/partition-replicas"), get(replicas::of_broker))
        .route(&at("/brokers/{broker}/configs"), get(configs::brokers::list))
        .route(&at("/brokers/{broker}/configs:alter"), post(configs::brokers::alter))
        .route(
            &at("/brokers/{broker}/configs/{name}"),
            get(configs::brokers::get).put(configs::brokers::put).delete(configs::brokers::delete),
        )
        .route(&at("/broker-configs"), get(configs::cluster::list))
        .route(&at("/broker-configs:alter"), post(configs::cluster::alter))
        .route(
            &at("/broker-configs/{name}"),
            get(configs::cluster::get).put(configs::cluster::put).delete(configs::cluster::delete),
        )
        .route(&topic(""), get(topics::get).patch(topics::patch).delete(topics::delete))
        .route(&topic("/configs"), get(configs::topics::list))
        .route(&topic("/configs:alter"), post(configs::topics::alter))
        .route(
            &topic("/configs/{name}"),
            get(configs::topics::get).put(configs::topics::put).delete(configs::topics::delete),
        )
        .route(&topic("/records"), post(stream::produce))
        .route(&topic("/records:batch"), post(batch::produce))
        .route(&topic("/partitions"), get(partitions::list))
        .route(&topic("/partitions/{partition}"), get(partitions::get))
        .route(&topic("/partitions/{partition}/offset"), get(partitions::offset))
        .route(&topic("/partitions/{partition}/replicas"), get(replicas::list))
        .route(&topic("/partitions/{partition}/replicas/{broker}"), get(replicas::get))
        .route(&at("/consumer-groups"), get(groups::list))
        .route(&group(""), get(groups::get))
        .route(&group("/consumers"), get(consumers::list))
        .route(&group("/consumers/{consumer}"), get(consumers::get))
        .route(&group("/consumers/{consumer}/assignments"), get(consumers::assignments))
        .route(
            &group("/consumers/{consumer}/assignments/{topic}/partitions/{partition}"),
            get(consumers::assignment),
        )
        .route(&group("/lag-summary"), get(lags::summary))
        .route(&group("/lags"), get(lags::list))
        .route(&group("/lags/{topic}/partitions/{partition}"), get(lags::get))
        .layer(from_fn(negotiated))
        .merge(tail)
}

async fn negotiated(request: Request, next: Next) -> Response {
    match negotiate::v3_answer(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

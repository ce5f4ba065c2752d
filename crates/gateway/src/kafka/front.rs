use std::{net::SocketAddr, sync::Arc};

use metrics::{Counter, Gauge};
use transport::Service;
use wire::StrBytes;

use super::{backend::Backend, budget::Budget, session::Session};

/// What all connections share.
pub(super) struct Front {
    pub(super) backend: Arc<Backend>,
    /// What clients are told to connect to.
    pub(super) host: StrBytes,
    pub(super) port: i32,
    pub(super) traffic: Traffic,
    pub(super) budget: Budget,
}

/// The numbers that are counted for every request; looked up once.
pub(super) struct Traffic {
    pub(super) connections: Gauge,
    pub(super) requests: Counter,
    pub(super) produced_bytes: Counter,
    pub(super) fetched_bytes: Counter,
}

impl Traffic {
    pub(super) fn new() -> Self {
        Self {
            connections: metrics::gauge!("anabranch_gateway_kafka_connections"),
            requests: metrics::counter!("anabranch_gateway_kafka_requests_total"),
            produced_bytes: metrics::counter!("anabranch_gateway_kafka_produced_bytes_total"),
            fetched_bytes: metrics::counter!("anabranch_gateway_kafka_fetched_bytes_total"),
        }
    }
}

/// Makes a session for each connection.
pub(super) struct Sessions(pub(super) Arc<Front>);

impl Service for Sessions {
    type Handler = Session;

    fn connect(&self, _: SocketAddr) -> Session {
        Session::new(self.0.clone())
    }
}

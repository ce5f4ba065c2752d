use std::time::Duration;

use domain::ProducerId;
use futures_util::future::BoxFuture;
use rpc::{ControllerClient, ControllerError};
use transport::{CallError, ClientPool};
use wire::messages::{ProduceRequest, ProduceResponse};

/// Where batches and producer ids come from and go to: the cluster, or a test's idea of it.
pub(crate) trait Upstream: Send + Sync + 'static {
    fn produce<'a>(
        &'a self,
        address: &'a str,
        request: ProduceRequest,
        within: Duration,
    ) -> BoxFuture<'a, Result<ProduceResponse, CallError>>;

    /// The first of a block of so many ids.
    fn producer_ids(
        &self,
        count: i32,
        within: Duration,
    ) -> BoxFuture<'_, Result<ProducerId, ControllerError>>;
}

/// The cluster.
pub(crate) struct Cluster {
    pub(crate) controller: ControllerClient,
    pub(crate) nodes: ClientPool,
}

impl Upstream for Cluster {
    fn produce<'a>(
        &'a self,
        address: &'a str,
        request: ProduceRequest,
        within: Duration,
    ) -> BoxFuture<'a, Result<ProduceResponse, CallError>> {
        Box::pin(self.nodes.call(address, request, within))
    }

    fn producer_ids(
        &self,
        count: i32,
        within: Duration,
    ) -> BoxFuture<'_, Result<ProducerId, ControllerError>> {
        Box::pin(self.controller.allocate_producer_ids(count, within))
    }
}

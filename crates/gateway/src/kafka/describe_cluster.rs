use wire::messages::{DescribeClusterResponse, describe_cluster_response::DescribeClusterBroker};

use super::{VIRTUAL, front::Front, text};

/// The cluster's id, and the one broker (KIP-700).
pub(super) fn answer(front: &Front) -> DescribeClusterResponse {
    let broker = DescribeClusterBroker::default()
        .with_broker_id(VIRTUAL)
        .with_host(front.host.clone())
        .with_port(front.port);
    DescribeClusterResponse::default()
        .with_cluster_id(front.backend.image.load().cluster_id.map(text).unwrap_or_default())
        .with_controller_id(VIRTUAL)
        .with_brokers(vec![broker])
}

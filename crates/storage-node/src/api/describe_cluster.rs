use ::metadata::NodeState;
use wire::{
    BrokerId,
    messages::{DescribeClusterResponse, describe_cluster_response::DescribeClusterBroker},
};

use crate::{api::text, broker::Broker};

/// The nodes and the cluster's id (KIP-700).
pub(crate) fn answer(broker: &Broker) -> DescribeClusterResponse {
    let image = broker.image.load();
    let brokers = image.nodes.values().filter(|n| n.state == NodeState::Active).map(|node| {
        DescribeClusterBroker::default()
            .with_broker_id(BrokerId(node.id.0))
            .with_host(text(&node.kafka.host))
            .with_port(node.kafka.port.into())
            .with_rack(node.rack.as_ref().map(text))
    });
    DescribeClusterResponse::default()
        .with_cluster_id(image.cluster_id.map(text).unwrap_or_default())
        .with_controller_id(BrokerId(broker.node.0))
        .with_brokers(brokers.collect())
}

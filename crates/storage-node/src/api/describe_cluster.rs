use ::metadata::{Node, NodeState};
use wire::{
    BrokerId,
    messages::{
        DescribeClusterRequest, DescribeClusterResponse, describe_cluster_response::DescribeClusterBroker,
    },
};

use crate::{api::text, broker::Broker};

/// The nodes and the cluster's id (KIP-700); those that are not heard of only for who asks for them (KIP-1073).
pub(crate) fn answer(broker: &Broker, request: &DescribeClusterRequest) -> DescribeClusterResponse {
    let image = broker.image.load();
    let fenced = |node: &Node| node.state == NodeState::Fenced;
    let shown = image.nodes.values().filter(|n| request.include_fenced_brokers || !fenced(n));
    let brokers = shown.map(|node| {
        DescribeClusterBroker::default()
            .with_is_fenced(fenced(node))
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

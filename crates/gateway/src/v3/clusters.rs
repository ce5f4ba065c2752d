use axum::Json;
use serde::Serialize;

use super::shape::{List, Object, Related};
use crate::place::At;

#[derive(Serialize)]
pub(crate) struct ClusterView {
    cluster_id: String,
    brokers: Related,
    broker_configs: Related,
    consumer_groups: Related,
    topics: Related,
    partition_reassignments: Related,
}

pub(crate) async fn list(at: At) -> Json<List<Object<ClusterView>>> {
    Json(at.links().clusters("KafkaClusterList", vec![cluster_view(&at)]))
}

pub(crate) async fn get(at: At) -> Json<Object<ClusterView>> {
    Json(cluster_view(&at))
}

fn cluster_view(at: &At) -> Object<ClusterView> {
    let links = at.links();
    let view = ClusterView {
        cluster_id: at.cluster.to_string(),
        brokers: links.related("/brokers"),
        broker_configs: links.related("/broker-configs"),
        consumer_groups: links.related("/consumer-groups"),
        topics: links.related("/topics"),
        partition_reassignments: links.related("/topics/-/partitions/-/reassignment"),
    };
    links.object("KafkaCluster", "", "", view)
}

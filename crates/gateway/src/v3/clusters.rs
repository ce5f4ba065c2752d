use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

use super::shape::{List, Related, Resource};
use crate::{
    openapi::{ClusterPath, Found, Shown, V3},
    place::At,
};

#[derive(Serialize, ToSchema)]
#[schema(as = KafkaCluster)]
pub(crate) struct ClusterView {
    cluster_id: String,
    brokers: Related,
    broker_configs: Related,
    consumer_groups: Related,
    topics: Related,
    partition_reassignments: Related,
}

/// The one cluster that there is.
#[utoipa::path(
    get,
    path = "/v3/clusters",
    operation_id = "listKafkaClusters",
    tag = V3,
    responses((status = 200, description = "As asked.", body = List<Resource<ClusterView>>), Shown),
)]
pub(crate) async fn list(at: At) -> Json<List<Resource<ClusterView>>> {
    Json(at.links().clusters("KafkaClusterList", vec![cluster_view(&at)]))
}

/// The cluster.
#[utoipa::path(
    get,
    path = "/v3/clusters/{cluster}",
    operation_id = "getKafkaCluster",
    tag = V3,
    params(ClusterPath),
    responses((status = 200, description = "As asked.", body = Resource<ClusterView>), Found),
)]
pub(crate) async fn get(at: At) -> Json<Resource<ClusterView>> {
    Json(cluster_view(&at))
}

fn cluster_view(at: &At) -> Resource<ClusterView> {
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

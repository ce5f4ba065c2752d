use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

use super::shape::{Links, List, Related, Resource, broker_path, group_path};
use crate::{
    ApiError,
    groups::{self, Group, GroupKind},
    openapi::{ClusterPath, Found, GroupPath, V3},
    place::{At, segment},
};

#[derive(Serialize, ToSchema)]
#[schema(as = KafkaConsumerGroup)]
pub(crate) struct GroupView {
    cluster_id: String,
    consumer_group_id: String,
    is_simple: bool,
    partition_assignor: String,
    state: String,
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    kind: &'static str,
    is_mixed_consumer_group: bool,
    coordinator: Option<Related>,
    consumers: Related,
    lag_summary: Related,
}

/// All consumer groups.
#[utoipa::path(
    get,
    path = "/v3/clusters/{cluster}/consumer-groups",
    operation_id = "listKafkaConsumerGroups",
    tag = V3,
    params(ClusterPath),
    responses((status = 200, description = "As asked.", body = List<Resource<GroupView>>), Found),
)]
pub(crate) async fn list(at: At) -> Result<Json<List<Resource<GroupView>>>, ApiError> {
    let links = at.links();
    let groups = groups::list(&at.app.backend).await?;
    let views = groups.iter().map(|group| view(&at, &links, group));
    Ok(Json(links.list("KafkaConsumerGroupList", "/consumer-groups", views.collect())))
}

/// One consumer group.
#[utoipa::path(
    get,
    path = "/v3/clusters/{cluster}/consumer-groups/{group}",
    operation_id = "getKafkaConsumerGroup",
    tag = V3,
    params(GroupPath),
    responses((status = 200, description = "As asked.", body = Resource<GroupView>), Found),
)]
pub(crate) async fn get(at: At) -> Result<Json<Resource<GroupView>>, ApiError> {
    let group = at.group().await?;
    Ok(Json(view(&at, &at.links(), &group)))
}

impl At {
    /// The group that the path names.
    pub(super) async fn group(&self) -> Result<Group, ApiError> {
        Ok(groups::find(&self.app.backend, self.param("group")).await?)
    }
}

fn view(at: &At, links: &Links, group: &Group) -> Resource<GroupView> {
    let path = group_path(&group.id);
    let view = GroupView {
        cluster_id: at.cluster.to_string(),
        consumer_group_id: group.id.clone(),
        is_simple: group.is_simple,
        partition_assignor: group.assignor.clone(),
        state: screaming(&group.state),
        kind: match group.kind {
            GroupKind::Classic => "CLASSIC",
            GroupKind::Consumer => "CONSUMER",
        },
        is_mixed_consumer_group: group.is_mixed,
        coordinator: group.coordinator.map(|node| links.related(&broker_path(node))),
        consumers: links.related(&format!("{path}/consumers")),
        lag_summary: links.related(&format!("{path}/lag-summary")),
    };
    links.object("KafkaConsumerGroup", &path, &format!("/consumer-group={}", segment(&group.id)), view)
}

/// `PREPARING_REBALANCE` for `PreparingRebalance`.
fn screaming(state: &str) -> String {
    let mut screaming = String::with_capacity(state.len() + 2);
    for (index, letter) in state.char_indices() {
        if letter.is_ascii_uppercase() && index > 0 {
            screaming.push('_');
        }
        screaming.push(letter.to_ascii_uppercase());
    }
    screaming
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_written_as_confluent_writes_them() {
        assert_eq!(screaming("Stable"), "STABLE");
        assert_eq!(screaming("PreparingRebalance"), "PREPARING_REBALANCE");
        assert_eq!(screaming(""), "");
    }
}

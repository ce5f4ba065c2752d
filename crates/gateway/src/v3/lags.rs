//! How far a consumer group is behind.

use axum::{Json, http::StatusCode};
use domain::PartitionIndex;
use serde::Serialize;
use utoipa::ToSchema;

use super::shape::{Links, List, Related, Resource, group_path};
use crate::{
    ApiError,
    groups::{Group, GroupError, Lag, lags},
    openapi::{Found, GroupPath, LagPath, V3},
    place::{At, segment},
};

#[derive(Serialize, ToSchema)]
#[schema(as = KafkaConsumerLag)]
pub(crate) struct LagView {
    cluster_id: String,
    consumer_group_id: String,
    topic_name: String,
    #[schema(value_type = i32)]
    partition_id: PartitionIndex,
    /// The ids are empty while nobody has the partition.
    consumer_id: String,
    instance_id: Option<String>,
    client_id: String,
    current_offset: i64,
    log_end_offset: i64,
    lag: i64,
}

/// The longest of the group's lags, and all of them together.
#[derive(Serialize, ToSchema)]
#[schema(as = KafkaConsumerGroupLagSummary)]
pub(crate) struct SummaryView {
    cluster_id: String,
    consumer_group_id: String,
    max_lag: i64,
    total_lag: i64,
    max_lag_consumer_id: String,
    max_lag_instance_id: Option<String>,
    max_lag_client_id: String,
    max_lag_topic_name: String,
    #[schema(value_type = i32)]
    max_lag_partition_id: PartitionIndex,
    max_lag_consumer: Related,
    max_lag_partition: Related,
}

/// The longest lag first, as Confluent lists them.
#[utoipa::path(
    get,
    path = "/v3/clusters/{cluster}/consumer-groups/{group}/lags",
    operation_id = "listKafkaConsumerLags",
    tag = V3,
    params(GroupPath),
    responses((status = 200, description = "As asked.", body = List<Resource<LagView>>), Found),
)]
pub(crate) async fn list(at: At) -> Result<Json<List<Resource<LagView>>>, ApiError> {
    let (links, group) = (at.links(), at.group().await?);
    let mut lags = lags(&at.app.backend, &group).await?;
    lags.sort_by_key(|lag| std::cmp::Reverse(lag.lag()));
    let views = lags.iter().map(|lag| view(&at, &links, &group, lag));
    let path = format!("{}/lags", group_path(&group.id));
    Ok(Json(links.list("KafkaConsumerLagList", &path, views.collect())))
}

/// How far a group is behind in a partition.
#[utoipa::path(
    get,
    path = "/v3/clusters/{cluster}/consumer-groups/{group}/lags/{topic}/partitions/{partition}",
    operation_id = "getKafkaConsumerLag",
    tag = V3,
    params(LagPath),
    responses((status = 200, description = "As asked.", body = Resource<LagView>), Found),
)]
pub(crate) async fn get(at: At) -> Result<Json<Resource<LagView>>, ApiError> {
    let group = at.group().await?;
    let (topic, number) = (at.param("topic"), at.param("partition"));
    let lags = lags(&at.app.backend, &group).await?;
    let wanted = number.parse().ok().map(PartitionIndex);
    match lags.iter().find(|lag| lag.topic == topic && Some(lag.partition) == wanted) {
        Some(lag) => Ok(Json(view(&at, &at.links(), &group, lag))),
        None => {
            let message = format!(
                "consumer group '{}' has committed no offset in partition '{number}' of topic '{topic}'",
                group.id
            );
            Err(ApiError::plain(StatusCode::NOT_FOUND, message))
        }
    }
}

/// The longest of the group's lags, and all of them together.
#[utoipa::path(
    get,
    path = "/v3/clusters/{cluster}/consumer-groups/{group}/lag-summary",
    operation_id = "getKafkaConsumerGroupLagSummary",
    tag = V3,
    params(GroupPath),
    responses((status = 200, description = "As asked.", body = Resource<SummaryView>), Found),
)]
pub(crate) async fn summary(at: At) -> Result<Json<Resource<SummaryView>>, ApiError> {
    let (links, group) = (at.links(), at.group().await?);
    let lags = lags(&at.app.backend, &group).await?;
    let total = lags.iter().map(Lag::lag).fold(0, i64::saturating_add);
    // The first of those that are equally long: `max_by_key` takes the last.
    let longest = lags.iter().rev().max_by_key(|lag| lag.lag());
    let longest = longest.ok_or_else(|| GroupError::NoOffsets(group.id.clone()))?;
    let ids = Ids::of(longest);
    let consumers = format!("{}/consumers", group_path(&group.id));
    let partition = format!("/topics/{}/partitions/{}", segment(&longest.topic), longest.partition);
    let view = SummaryView {
        cluster_id: at.cluster.to_string(),
        consumer_group_id: group.id.clone(),
        max_lag: longest.lag(),
        total_lag: total,
        max_lag_consumer: links.related(&format!("{consumers}/{}", segment(&ids.consumer))),
        max_lag_consumer_id: ids.consumer,
        max_lag_instance_id: ids.instance,
        max_lag_client_id: ids.client,
        max_lag_topic_name: longest.topic.clone(),
        max_lag_partition_id: longest.partition,
        max_lag_partition: links.related(&partition),
    };
    let path = format!("{}/lag-summary", group_path(&group.id));
    let resource = format!("/consumer-group={}/lag-summary", segment(&group.id));
    Ok(Json(links.object("KafkaConsumerGroupLagSummary", &path, &resource, view)))
}

/// Who has the partition of a lag.
struct Ids {
    consumer: String,
    /// A member may do without one; where there is no member it is empty, as the others.
    instance: Option<String>,
    client: String,
}

impl Ids {
    fn of(lag: &Lag<'_>) -> Self {
        match lag.member {
            Some(member) => Self {
                consumer: member.id.clone(),
                instance: member.instance.clone(),
                client: member.client.clone(),
            },
            None => Self { consumer: String::new(), instance: Some(String::new()), client: String::new() },
        }
    }
}

fn view(at: &At, links: &Links, group: &Group, lag: &Lag<'_>) -> Resource<LagView> {
    let ids = Ids::of(lag);
    let view = LagView {
        cluster_id: at.cluster.to_string(),
        consumer_group_id: group.id.clone(),
        topic_name: lag.topic.clone(),
        partition_id: lag.partition,
        consumer_id: ids.consumer,
        instance_id: ids.instance,
        client_id: ids.client,
        current_offset: lag.current,
        log_end_offset: lag.end,
        lag: lag.lag(),
    };
    let topic = segment(&lag.topic);
    let path = format!("{}/lags/{topic}/partitions/{}", group_path(&group.id), lag.partition);
    let resource = format!("/consumer-group={}/lag={topic}/partition={}", segment(&group.id), lag.partition);
    links.object("KafkaConsumerLag", &path, &resource, view)
}

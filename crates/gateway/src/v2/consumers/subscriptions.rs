use assign::Partitions;
use axum::{Json, http::StatusCode};
use group::{Described, SessionOp, SessionReply, Subscribed, Wanted};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::shape::{NamedPartition, PartitionList, PartitionListView, SomeV2Body};
use crate::{
    ApiError,
    consumers::{Consumer, ConsumerError},
    openapi::{V2, V2Consumer, V2InstancePath, V2Told},
    place::At,
};

/// One of both.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[schema(as = V2Subscribe)]
#[serde(deny_unknown_fields)]
pub(crate) struct Subscribe {
    topics: Option<Vec<String>>,
    /// A regular expression for the whole name, those that come later included.
    topic_pattern: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = V2Subscription)]
pub(crate) struct SubscriptionView {
    topics: Vec<String>,
}

/// Subscribes to topics, in place of what it subscribed to before; their partitions are shared with the group's others.
#[utoipa::path(
    post,
    path = "/consumers/{group}/instances/{instance}/subscription",
    operation_id = "v2Subscribe",
    tag = V2,
    params(V2InstancePath),
    request_body(content = Subscribe, content_type = "application/vnd.kafka.v2+json"),
    responses((status = 204, description = "Partitions are assigned to it."), V2Told),
)]
pub(crate) async fn subscribe(
    at: At,
    SomeV2Body(wanted): SomeV2Body<Subscribe>,
) -> Result<StatusCode, ApiError> {
    let wanted = match (wanted.topics, wanted.topic_pattern) {
        (Some(_), Some(_)) => {
            return Err(ApiError::conflict("topics and topic_pattern exclude each other"));
        }
        (None, None) => return Err(ApiError::unprocessable("neither topics nor topic_pattern is given")),
        (Some(topics), None) => {
            topics
                .iter()
                .try_for_each(|name| domain::TopicName::new(name).map(drop))
                .map_err(|e| ApiError::unprocessable(e.to_string()))?;
            Subscribed::Topics(topics.into_iter().collect())
        }
        (None, Some(pattern)) => Subscribed::Pattern(pattern),
    };
    // Kafka's clients, too, take a subscription to nothing for its end.
    let op = match &wanted {
        Subscribed::Topics(topics) if topics.is_empty() => SessionOp::Unsubscribe,
        _ => SessionOp::Subscribe(wanted),
    };
    at.ask(&at.consumer(), op).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends the subscription, or the assignment by hand.
#[utoipa::path(
    delete,
    path = "/consumers/{group}/instances/{instance}/subscription",
    operation_id = "v2Unsubscribe",
    tag = V2,
    params(V2InstancePath),
    responses((status = 204, description = "It reads nothing."), V2Consumer),
)]
pub(crate) async fn unsubscribe(at: At) -> Result<StatusCode, ApiError> {
    at.ask(&at.consumer(), SessionOp::Unsubscribe).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The topics that it subscribes to.
#[utoipa::path(
    get,
    path = "/consumers/{group}/instances/{instance}/subscription",
    operation_id = "v2GetSubscription",
    tag = V2,
    params(V2InstancePath),
    responses((status = 200, description = "None, if it subscribes to nothing.", body = SubscriptionView, content_type = "application/vnd.kafka.v2+json"), V2Consumer),
)]
pub(crate) async fn get(at: At) -> Result<Json<SubscriptionView>, ApiError> {
    let view = at.described(&at.consumer()).await?;
    let topics = match view.wanted {
        Wanted::Nothing | Wanted::Partitions(_) => Vec::new(),
        Wanted::Topics(topics) => topics.into_iter().collect(),
        Wanted::Pattern(pattern) => {
            let names =
                at.image.topics.keys().map(|name| name.as_str()).filter(|name| !name.starts_with("__"));
            group::matching(&pattern, names).into_iter().map(str::to_owned).collect()
        }
    };
    Ok(Json(SubscriptionView { topics }))
}

/// Assigns partitions by hand, in place of those before; the group's others do not know of it.
#[utoipa::path(
    post,
    path = "/consumers/{group}/instances/{instance}/assignments",
    operation_id = "v2Assign",
    tag = V2,
    params(V2InstancePath),
    request_body(content = PartitionList, content_type = "application/vnd.kafka.v2+json"),
    responses((status = 204, description = "It reads these."), V2Told),
)]
pub(crate) async fn assign(
    at: At,
    SomeV2Body(wanted): SomeV2Body<PartitionList>,
) -> Result<StatusCode, ApiError> {
    let mut partitions = Partitions::new();
    for place in wanted.places(&at.image)? {
        partitions.entry(place.topic).or_default().insert(place.partition);
    }
    at.ask(&at.consumer(), SessionOp::Assign(partitions)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The partitions that it reads.
#[utoipa::path(
    get,
    path = "/consumers/{group}/instances/{instance}/assignments",
    operation_id = "v2GetAssignments",
    tag = V2,
    params(V2InstancePath),
    responses((status = 200, description = "By hand, or of its subscription.", body = PartitionListView, content_type = "application/vnd.kafka.v2+json"), V2Consumer),
)]
pub(crate) async fn assignments(at: At) -> Result<Json<PartitionListView>, ApiError> {
    let view = at.described(&at.consumer()).await?;
    let partitions = view.positions.iter().filter_map(|(place, _)| NamedPartition::of(place, &at.image));
    Ok(Json(PartitionListView { partitions: partitions.collect() }))
}

impl At {
    pub(super) async fn described(&self, consumer: &Consumer) -> Result<Described, ApiError> {
        match self.ask(consumer, SessionOp::Describe).await? {
            SessionReply::Described(view) => Ok(*view),
            other => Err(ConsumerError::Unknown(format!("the coordinator answered {other:?}")).into()),
        }
    }
}

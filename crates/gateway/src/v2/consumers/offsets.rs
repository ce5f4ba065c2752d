use std::collections::BTreeSet;

use axum::{Json, http::StatusCode};
use domain::Offset;
use group::{Commit, SessionOp, SessionReply};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::shape::{NamedPartition, PartitionList, V2Body, place};
use crate::{
    ApiError,
    consumers::ConsumerError,
    json_object::JsonObject,
    openapi::{V2, V2Asked, V2InstancePath, V2Told},
    place::{At, Query},
};

#[derive(Deserialize, ToSchema)]
#[schema(as = V2Commit)]
#[serde(deny_unknown_fields)]
pub(crate) struct CommitBody {
    /// Of the last records that were worked on: what is committed is the one after each.
    #[serde(default)]
    #[schema(value_type = Option<Vec<CommittedOffset>>)]
    offsets: Option<Vec<JsonObject<CommittedOffset>>>,
    /// What is committed, exactly.
    #[serde(default)]
    #[schema(value_type = Option<Vec<CommittedOffset>>)]
    partitions: Option<Vec<JsonObject<CommittedOffset>>>,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = V2CommitOffset)]
#[serde(deny_unknown_fields)]
struct CommittedOffset {
    topic: String,
    partition: i32,
    #[schema(minimum = 0)]
    offset: i64,
    metadata: Option<String>,
}

#[derive(Deserialize, IntoParams)]
pub(crate) struct How {
    /// Whether not to wait until it is committed.
    #[serde(default, rename = "async")]
    is_async: bool,
}

#[derive(Deserialize, IntoParams)]
pub(crate) struct Which {
    /// With `partition`, in place of a body.
    topic: Option<String>,
    partition: Option<i32>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = V2CommittedOffsets)]
pub(crate) struct OffsetList {
    offsets: Vec<OffsetView>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = V2CommittedOffset)]
struct OffsetView {
    topic: String,
    partition: i32,
    offset: i64,
    metadata: String,
}

/// Commits the group's offsets: those of the body, or, without one, what was delivered.
#[utoipa::path(
    post,
    path = "/consumers/{group}/instances/{instance}/offsets",
    operation_id = "v2Commit",
    tag = V2,
    params(V2InstancePath, How),
    request_body(content = Option<CommitBody>, content_type = "application/vnd.kafka.v2+json"),
    responses((status = 204, description = "It is committed, or will be, if `async` is true."), V2Told),
)]
pub(crate) async fn commit(
    at: At,
    Query(how): Query<How>,
    V2Body(body): V2Body<CommitBody>,
) -> Result<StatusCode, ApiError> {
    let commit = commit_of(&at, body)?;
    let consumer = at.consumer();
    if how.is_async {
        tokio::spawn(async move {
            if let Err(error) = at.ask(&consumer, SessionOp::Commit(commit)).await {
                tracing::debug!(reason = error.message, "a commit that nobody waits for failed");
            }
        });
        return Ok(StatusCode::NO_CONTENT);
    }
    at.ask(&consumer, SessionOp::Commit(commit)).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn commit_of(at: &At, body: Option<CommitBody>) -> Result<Commit, ApiError> {
    // A list without anything in it commits nothing.
    let Some(body) = body.filter(|body| body.offsets.is_some() || body.partitions.is_some()) else {
        return Ok(Commit::Delivered);
    };
    let read = body.offsets.into_iter().flatten().map(|JsonObject(offset)| (offset, 1));
    let exact = body.partitions.into_iter().flatten().map(|JsonObject(offset)| (offset, 0));
    let one = |(committed, more): (CommittedOffset, i64)| {
        if committed.offset < 0 {
            return Err(ApiError::unprocessable(format!("offset {} is negative", committed.offset)));
        }
        let place = place(&at.image, &committed.topic, committed.partition)?;
        let offset = Offset(committed.offset.saturating_add(more));
        Ok((place, offset, committed.metadata.unwrap_or_default()))
    };
    read.chain(exact).map(one).collect::<Result<_, _>>().map(Commit::These)
}

/// The group's committed offsets. Which partitions are asked about stands in a body, as Confluent has it, or, since not
/// everything lets a GET have one, in the query.
#[utoipa::path(
    get,
    path = "/consumers/{group}/instances/{instance}/offsets",
    operation_id = "v2GetCommittedOffsets",
    tag = V2,
    params(V2InstancePath, Which),
    request_body(content = Option<PartitionList>, content_type = "application/vnd.kafka.v2+json"),
    responses((status = 200, description = "Of those of which something is committed.", body = OffsetList, content_type = "application/vnd.kafka.v2+json"), V2Asked),
)]
pub(crate) async fn committed(
    at: At,
    Query(which): Query<Which>,
    V2Body(body): V2Body<PartitionList>,
) -> Result<Json<OffsetList>, ApiError> {
    let mut places = match body {
        Some(body) => body.places(&at.image)?,
        None => BTreeSet::new(),
    };
    match (which.topic, which.partition) {
        (Some(topic), Some(partition)) => drop(places.insert(place(&at.image, &topic, partition)?)),
        (None, None) if !places.is_empty() => {}
        _ => {
            let message = "neither a body with partitions nor topic and partition in the query is given";
            return Err(ApiError::unprocessable(message));
        }
    }
    let committed = match at.ask(&at.consumer(), SessionOp::Committed(places)).await? {
        SessionReply::Committed(committed) => committed,
        other => return Err(ConsumerError::Unknown(format!("the coordinator answered {other:?}")).into()),
    };
    let offsets = committed.into_iter().filter_map(|(place, offset, metadata)| {
        let NamedPartition { topic, partition } = NamedPartition::of(&place, &at.image)?;
        Some(OffsetView { topic, partition, offset: offset.0, metadata })
    });
    Ok(Json(OffsetList { offsets: offsets.collect() }))
}

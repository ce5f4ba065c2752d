use std::collections::BTreeSet;

use axum::{Json, http::StatusCode};
use domain::Offset;
use group::{Commit, SessionOp, SessionReply};
use serde::{Deserialize, Serialize};

use super::shape::{NamedPartition, PartitionList, V2Body, place};
use crate::{
    ApiError,
    consumers::ConsumerError,
    json_object::JsonObject,
    place::{At, Query},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CommitBody {
    /// Of the last records that were worked on: what is committed is the one after each.
    #[serde(default)]
    offsets: Vec<JsonObject<CommittedOffset>>,
    /// What is committed, exactly.
    #[serde(default)]
    partitions: Vec<JsonObject<CommittedOffset>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CommittedOffset {
    topic: String,
    partition: i32,
    offset: i64,
    metadata: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct How {
    /// Whether not to wait until it is committed.
    #[serde(default, rename = "async")]
    is_async: bool,
}

#[derive(Deserialize)]
pub(super) struct Which {
    topic: Option<String>,
    partition: Option<i32>,
}

#[derive(Serialize)]
pub(super) struct OffsetList {
    offsets: Vec<OffsetView>,
}

#[derive(Serialize)]
struct OffsetView {
    topic: String,
    partition: i32,
    offset: i64,
    metadata: String,
}

pub(super) async fn commit(
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
    let Some(body) = body.filter(|body| !body.offsets.is_empty() || !body.partitions.is_empty()) else {
        return Ok(Commit::Delivered);
    };
    let read = body.offsets.into_iter().map(|JsonObject(offset)| (offset, 1));
    let exact = body.partitions.into_iter().map(|JsonObject(offset)| (offset, 0));
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

/// Which partitions are asked about stands in a body, as Confluent has it, or, since not everything lets a GET have one, in the
/// query.
pub(super) async fn committed(
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

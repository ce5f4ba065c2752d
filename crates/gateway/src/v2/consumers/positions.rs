use axum::http::StatusCode;
use domain::Offset;
use futures_util::future::try_join_all;
use group::{SessionOp, TopicPlace};
use serde::{Deserialize, de::IgnoredAny};
use utoipa::ToSchema;

use super::shape::{PartitionList, SomeV2Body, place};
use crate::{
    ApiError,
    consumers::{at_time, ends},
    json_object::JsonObject,
    offsets::Place,
    openapi::{V2, V2InstancePath, V2Told},
    place::At,
};

#[derive(Deserialize, ToSchema)]
#[schema(as = V2Seek)]
#[serde(deny_unknown_fields)]
pub(crate) struct Seek {
    #[serde(default)]
    #[schema(value_type = Vec<ToOffset>)]
    offsets: Vec<JsonObject<ToOffset>>,
    #[serde(default)]
    #[schema(value_type = Vec<ToTime>)]
    timestamps: Vec<JsonObject<ToTime>>,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = V2SeekOffset)]
#[serde(deny_unknown_fields)]
struct ToOffset {
    topic: String,
    partition: i32,
    #[schema(minimum = 0)]
    offset: i64,
    /// Confluent's clients may send it along; a position has none.
    #[serde(default, rename = "metadata")]
    #[schema(value_type = Value)]
    _metadata: IgnoredAny,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = V2SeekTime)]
#[serde(deny_unknown_fields)]
struct ToTime {
    topic: String,
    partition: i32,
    /// Milliseconds since 1970, or RFC 3339.
    timestamp: Timestamp,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = V2Timestamp)]
#[serde(untagged)]
enum Timestamp {
    Milliseconds(i64),
    Text(String),
}

impl Timestamp {
    fn ms(&self) -> Result<i64, ApiError> {
        match self {
            Timestamp::Milliseconds(ms) if *ms >= 0 => Ok(*ms),
            Timestamp::Milliseconds(ms) => {
                Err(ApiError::unprocessable(format!("timestamp {ms} lies before 1970")))
            }
            Timestamp::Text(text) => match text.parse::<jiff::Timestamp>() {
                Ok(time) => Ok(time.as_millisecond().max(0)),
                Err(e) => Err(ApiError::unprocessable(format!("timestamp '{text}' is not RFC 3339: {e}"))),
            },
        }
    }
}

/// Sets where it reads on, by offset or by time.
#[utoipa::path(
    post,
    path = "/consumers/{group}/instances/{instance}/positions",
    operation_id = "v2Seek",
    tag = V2,
    params(V2InstancePath),
    request_body(content = Seek, content_type = "application/vnd.kafka.v2+json"),
    responses((status = 204, description = "It reads on from there."), V2Told),
)]
pub(crate) async fn seek(at: At, SomeV2Body(wanted): SomeV2Body<Seek>) -> Result<StatusCode, ApiError> {
    if wanted.offsets.is_empty() && wanted.timestamps.is_empty() {
        return Err(ApiError::unprocessable("neither offsets nor timestamps are given"));
    }
    let mut positions = Vec::with_capacity(wanted.offsets.len() + wanted.timestamps.len());
    for JsonObject(to) in &wanted.offsets {
        if to.offset < 0 {
            return Err(ApiError::unprocessable(format!("offset {} is negative", to.offset)));
        }
        positions.push((place(&at.image, &to.topic, to.partition)?, Offset(to.offset)));
    }
    let times = wanted.timestamps.iter().map(|JsonObject(to)| {
        let at = &at;
        async move {
            let place = place(&at.image, &to.topic, to.partition)?;
            let offset = at_time(&at.app, &at.image, place, to.timestamp.ms()?).await?;
            Ok::<_, ApiError>((place, offset))
        }
    });
    positions.extend(try_join_all(times).await?);
    to_positions(&at, positions).await
}

/// Reads on from the first record that is there.
#[utoipa::path(
    post,
    path = "/consumers/{group}/instances/{instance}/positions/beginning",
    operation_id = "v2SeekToBeginning",
    tag = V2,
    params(V2InstancePath),
    request_body(content = PartitionList, content_type = "application/vnd.kafka.v2+json"),
    responses((status = 204, description = "It reads on from there."), V2Told),
)]
pub(crate) async fn to_beginning(
    at: At,
    SomeV2Body(wanted): SomeV2Body<PartitionList>,
) -> Result<StatusCode, ApiError> {
    to_end_of(&at, wanted, Place::Earliest).await
}

/// Reads on after the last record that is there.
#[utoipa::path(
    post,
    path = "/consumers/{group}/instances/{instance}/positions/end",
    operation_id = "v2SeekToEnd",
    tag = V2,
    params(V2InstancePath),
    request_body(content = PartitionList, content_type = "application/vnd.kafka.v2+json"),
    responses((status = 204, description = "It reads on from there."), V2Told),
)]
pub(crate) async fn to_end(
    at: At,
    SomeV2Body(wanted): SomeV2Body<PartitionList>,
) -> Result<StatusCode, ApiError> {
    to_end_of(&at, wanted, Place::Latest).await
}

async fn to_end_of(at: &At, wanted: PartitionList, end: Place) -> Result<StatusCode, ApiError> {
    let places: Vec<TopicPlace> = wanted.places(&at.image)?.into_iter().collect();
    let positions = ends(&at.app, &at.image, &places, end).await?;
    to_positions(at, positions).await
}

async fn to_positions(at: &At, positions: Vec<(TopicPlace, Offset)>) -> Result<StatusCode, ApiError> {
    at.ask(&at.consumer(), SessionOp::Seek(positions)).await?;
    Ok(StatusCode::NO_CONTENT)
}

//! Producing a few records in one request, each of which has its own outcome.

use std::{borrow::Cow, collections::HashSet};

use axum::{
    Json,
    http::{HeaderMap, StatusCode},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr, Schema,
        schema::{ObjectBuilder, Type},
    },
};

use super::{
    intake::{Intake, Report},
    record::{self, Entry},
};
use crate::{
    ApiError,
    idempotency::IdempotencyKey,
    json_object::JsonObject,
    limits::Whole,
    negotiate,
    openapi::{IdempotencyHeader, Produced, TopicPath, V3},
    place::At,
    producer::now_ms,
};

#[derive(Deserialize, ToSchema)]
#[schema(as = ProduceBatch)]
#[serde(deny_unknown_fields)]
struct Batch<'a> {
    #[serde(borrow)]
    #[schema(value_type = Vec<Identified>, min_items = 1)]
    entries: Vec<&'a RawValue>,
}

/// A record with an id.
struct Identified;

impl PartialSchema for Identified {
    fn schema() -> RefOr<Schema> {
        let mut record = Entry::schema();
        if let RefOr::T(Schema::Object(object)) = &mut record {
            let id = ObjectBuilder::new().schema_type(Type::String).pattern(Some(ID_PATTERN)).build();
            object.properties.insert("id".to_owned(), id.into());
            object.required.push("id".to_owned());
        }
        record
    }
}

impl ToSchema for Identified {
    fn name() -> Cow<'static, str> {
        "ProduceBatchEntry".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        Entry::schemas(schemas);
    }
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ProduceBatchOutcomes)]
pub(crate) struct Outcomes {
    successes: Vec<Success>,
    failures: Vec<Failure>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ProduceBatchSuccess)]
struct Success {
    id: String,
    #[serde(flatten)]
    report: Report,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ProduceBatchFailure)]
struct Failure {
    id: String,
    error_code: u32,
    message: String,
}

const ID_CHARACTERS_MAX: usize = 80;
const ID_PATTERN: &str = "^[A-Za-z0-9_-]{1,80}$";

/// A few records with names, each with its own outcome.
#[utoipa::path(
    post,
    path = "/v3/clusters/{cluster}/topics/{topic}/records:batch",
    operation_id = "produceRecordsBatch",
    tag = V3,
    params(TopicPath, IdempotencyHeader),
    request_body = Batch,
    responses((status = 207, description = "What became of each.", body = Outcomes), Produced),
)]
pub(crate) async fn produce(
    at: At,
    headers: HeaderMap,
    body: Whole,
) -> Result<(StatusCode, Json<Outcomes>), ApiError> {
    negotiate::require_json(&headers)?;
    at.topic()?;
    let entries = entries(&body.bytes, at.app.limits.batch_entries_max)?;
    let once = IdempotencyKey::of(&headers)?.map(|key| key.request(&[b"v3 batch", &body.bytes]));
    let now = now_ms();
    let (ids, asked): (Vec<_>, Vec<_>) =
        entries.into_iter().map(|(id, entry)| (id.into_owned(), record::parse_entry(entry, now))).unzip();
    let taken = Intake::new(&at).take_all(asked, once)?;
    let mut outcomes = Outcomes { successes: Vec::new(), failures: Vec::new() };
    for (id, taken) in ids.into_iter().zip(taken) {
        let report = async { taken?.report().await };
        match report.await {
            Ok(report) => outcomes.successes.push(Success { id, report }),
            Err(error) => {
                outcomes.failures.push(Failure { id, error_code: error.code, message: error.message });
            }
        }
    }
    Ok((StatusCode::MULTI_STATUS, Json(outcomes)))
}

type NamedEntry<'a> = (Cow<'a, str>, &'a RawValue);

/// The entries with their ids. What is wrong with an id is wrong with the whole batch: its entry could not be reported on.
fn entries(body: &[u8], entries_max: usize) -> Result<Vec<NamedEntry<'_>>, ApiError> {
    let JsonObject(batch): JsonObject<Batch<'_>> = serde_json::from_slice(body)
        .map_err(|e| ApiError::bad_request(format!("the body is not what is expected: {e}")))?;
    if batch.entries.is_empty() {
        return Err(ApiError::no_record("entries is empty"));
    }
    if batch.entries.len() > entries_max {
        let message = format!("the batch has {} entries, the most is {entries_max}", batch.entries.len());
        return Err(refused(message));
    }
    let mut ids = HashSet::new();
    let mut entries = Vec::with_capacity(batch.entries.len());
    for (index, entry) in batch.entries.into_iter().enumerate() {
        let JsonObject(named): JsonObject<Named<'_>> = serde_json::from_str(entry.get())
            .map_err(|e| ApiError::bad_request(format!("entries[{index}] is not what is expected: {e}")))?;
        let id = named.id.ok_or_else(|| refused(format!("entries[{index}] has no id")))?;
        if !is_id(&id) {
            return Err(refused(format!(
                "entries[{index}].id must have 1 to {ID_CHARACTERS_MAX} characters of [A-Za-z0-9_-]"
            )));
        }
        if !ids.insert(id.clone()) {
            return Err(refused(format!("entries[{index}].id '{id}' is there twice")));
        }
        entries.push((id, entry));
    }
    Ok(entries)
}

fn is_id(id: &str) -> bool {
    (1..=ID_CHARACTERS_MAX).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

fn refused(message: String) -> ApiError {
    ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, 42208, format!("Error: 42208 : {message}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(body: &str) -> Result<Vec<String>, (u16, u32)> {
        let entries = entries(body.as_bytes(), 3).map_err(|e| (e.status.as_u16(), e.code))?;
        Ok(entries.into_iter().map(|(id, _)| id.into_owned()).collect())
    }

    #[test]
    fn each_entry_of_a_batch_has_an_id_of_its_own() {
        let long = "x".repeat(80);
        let body = format!(r#"{{"entries":[{{"id":"a-B_9"}},{{"id":"{long}","value":5}}]}}"#);
        assert_eq!(ids(&body), Ok(vec!["a-B_9".to_owned(), long]));
        for id in ["", "a b", "é", "a/b", &"x".repeat(81)] {
            assert_eq!(ids(&format!(r#"{{"entries":[{{"id":"{id}"}}]}}"#)), Err((422, 42208)), "{id}");
        }
        assert_eq!(ids(r#"{"entries":[{"id":"a"},{"id":"a"}]}"#), Err((422, 42208)));
        assert_eq!(ids(r#"{"entries":[{"value":null}]}"#), Err((422, 42208)));
    }

    #[test]
    fn a_batch_has_at_least_one_entry_and_no_more_than_allowed() {
        let of = |count: usize| {
            let entries: Vec<String> = (0..count).map(|n| format!(r#"{{"id":"{n}"}}"#)).collect();
            ids(&format!(r#"{{"entries":[{}]}}"#, entries.join(","))).map(|ids| ids.len())
        };
        assert_eq!(of(0), Err((422, 42206)));
        assert_eq!(of(3), Ok(3));
        assert_eq!(of(4), Err((422, 42208)));
    }

    #[test]
    fn what_is_no_batch_is_not_taken() {
        for body in
            ["", "{", "[]", "{}", r#"{"entries":5}"#, r#"{"entries":[5]}"#, r#"{"entries":[{"id":5}]}"#]
        {
            assert_eq!(ids(body), Err((400, 400)), "{body}");
        }
    }
}

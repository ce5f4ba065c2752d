use axum::{Json, http::HeaderMap};
use domain::{Offset, PartitionIndex};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{embedded::bytes_of, parsed};
use crate::{
    ApiError,
    idempotency::{IdempotencyKey, Once},
    json_object::JsonObject,
    limits::Whole,
    negotiate::{Embedded, produced_form},
    openapi::{IdempotencyHeader, V2, V2PartitionPath, V2Produced, V2TopicPath},
    place::At,
    producer::{OutRecord, ProduceError, Receipt, TopicRules, hand_over, now_ms},
};

#[derive(Deserialize, ToSchema)]
#[schema(as = V2Produce)]
#[serde(deny_unknown_fields)]
pub(crate) struct Body<'a> {
    #[serde(borrow)]
    #[schema(value_type = Vec<Entry<'static>>, min_items = 1)]
    records: Vec<JsonObject<Entry<'a>>>,
    // Confluent's clients send these along; binary and JSON have no schemas.
    #[serde(default, rename = "key_schema")]
    #[schema(value_type = Value)]
    _key_schema: IgnoredAny,
    #[serde(default, rename = "key_schema_id")]
    #[schema(value_type = Value)]
    _key_schema_id: IgnoredAny,
    #[serde(default, rename = "value_schema")]
    #[schema(value_type = Value)]
    _value_schema: IgnoredAny,
    #[serde(default, rename = "value_schema_id")]
    #[schema(value_type = Value)]
    _value_schema_id: IgnoredAny,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = V2ProduceRecord)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry<'a> {
    /// JSON, or base64, as the body's type says.
    #[serde(borrow)]
    #[schema(value_type = Value, required = false)]
    key: Option<&'a RawValue>,
    /// As the key. Required, though it may be null: a misspelled one must not become a tombstone.
    #[serde(borrow)]
    #[schema(value_type = Value)]
    value: &'a RawValue,
    partition: Option<i32>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = V2Produced)]
pub(crate) struct Produced {
    offsets: Vec<Place>,
    key_schema_id: Option<i32>,
    value_schema_id: Option<i32>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = V2ProducedPlace)]
pub(crate) struct Place {
    #[schema(value_type = i32)]
    partition: PartitionIndex,
    offset: Option<i64>,
    error_code: Option<u32>,
    error: Option<String>,
}

/// Writes records to the partitions of their keys, or to those that they name.
#[utoipa::path(
    post,
    path = "/topics/{topic}",
    operation_id = "v2ProduceToTopic",
    tag = V2,
    params(V2TopicPath, IdempotencyHeader),
    request_body(content(
        (Body<'static> = "application/vnd.kafka.binary.v2+json"),
        (Body<'static> = "application/vnd.kafka.json.v2+json"),
    )),
    responses((status = 200, description = "The place of each record, or why it has none.", body = Produced, content_type = "application/vnd.kafka.v2+json"), V2Produced),
)]
pub(crate) async fn to_topic(at: At, headers: HeaderMap, body: Whole) -> Result<Json<Produced>, ApiError> {
    produce(&at, &headers, None, &body).await
}

/// Writes records to one partition.
#[utoipa::path(
    post,
    path = "/topics/{topic}/partitions/{partition}",
    operation_id = "v2ProduceToPartition",
    tag = V2,
    params(V2PartitionPath, IdempotencyHeader),
    request_body(content(
        (Body<'static> = "application/vnd.kafka.binary.v2+json"),
        (Body<'static> = "application/vnd.kafka.json.v2+json"),
    )),
    responses((status = 200, description = "The place of each record, or why it has none.", body = Produced, content_type = "application/vnd.kafka.v2+json"), V2Produced),
)]
pub(crate) async fn to_partition(
    at: At,
    headers: HeaderMap,
    body: Whole,
) -> Result<Json<Produced>, ApiError> {
    at.topic_to_produce()?;
    let (partition, _) = at.partition()?;
    produce(&at, &headers, Some(partition), &body).await
}

impl At {
    fn topic_to_produce(&self) -> Result<&std::sync::Arc<metadata::Topic>, ApiError> {
        let unknown = |_| ApiError::unknown_topic_to_produce(self.param("topic"));
        self.topic().map_err(unknown)
    }
}

async fn produce(
    at: &At,
    headers: &HeaderMap,
    only: Option<PartitionIndex>,
    body: &Whole,
) -> Result<Json<Produced>, ApiError> {
    let form = produced_form(headers)?;
    let once = IdempotencyKey::of(headers)?.map(|key| {
        let path = only.map_or(-1, |partition| partition.0).to_be_bytes();
        key.request(&[b"v2", &[form as u8], &path, &body.bytes])
    });
    let pushed = push(at, form, only, &body.bytes, once)?;
    let mut outcomes = Vec::with_capacity(pushed.len());
    for (partition, receipt) in pushed {
        let outcome = match receipt {
            Ok(receipt) => receipt.wait().await,
            Err(error) => Err(error),
        };
        outcomes.push((partition, outcome));
    }
    if outcomes.iter().all(|(_, outcome)| matches!(outcome, Err(ProduceError::KeyReused))) {
        return Err(ProduceError::KeyReused.into());
    }
    let place = |(partition, outcome): (_, Result<(Offset, _), _>)| {
        Place::new(partition, outcome.map(|(offset, _)| offset.0))
    };
    let offsets = outcomes.into_iter().map(place).collect();
    Ok(Json(Produced { offsets, key_schema_id: None, value_schema_id: None }))
}

type Pushed = (PartitionIndex, Result<Receipt, ProduceError>);

/// Hands the records over, all of them or, when the request is wrong, none. The answers are in the order of the request.
fn push(
    at: &At,
    form: Embedded,
    only: Option<PartitionIndex>,
    body: &[u8],
    once: Option<Once>,
) -> Result<Vec<Pushed>, ApiError> {
    let topic = at.topic_to_produce()?;
    let parsed = parse(body, form, only, now_ms())?;
    let partitions = at
        .app
        .choice
        .partitions(&at.image, topic, once, parsed.iter().map(|(p, r)| (*p, r)))
        .map_err(|e| ApiError::no_such_partition(topic.name.as_str(), e.partition))?;
    let records = partitions.iter().copied().zip(parsed.into_iter().map(|(_, record)| record)).collect();
    let rules = TopicRules::new(&at.image.topic_config(topic));
    let receipts = hand_over(&at.app, topic, &rules, records, once)?;
    Ok(partitions.into_iter().zip(receipts).collect())
}

/// The records of a body. `only`: the partition that the path names, which no record may contradict.
fn parse<'a>(
    body: &'a [u8],
    form: Embedded,
    only: Option<PartitionIndex>,
    now: i64,
) -> Result<Vec<(Option<PartitionIndex>, OutRecord<'a>)>, ApiError> {
    let body: Body<'a> = parsed(body)?;
    if body.records.is_empty() {
        return Err(ApiError::unprocessable("records is empty"));
    }
    let record = |(index, JsonObject(entry)): (usize, JsonObject<Entry<'a>>)| {
        let named = entry.partition.map(PartitionIndex);
        if let (Some(only), Some(named)) = (only, named)
            && only != named
        {
            let message = format!("records[{index}].partition is {named}, the path says {only}");
            return Err(ApiError::unprocessable(message));
        }
        let key = match entry.key {
            Some(raw) => bytes_of(form, raw, || format!("records[{index}].key"))?,
            None => None,
        };
        let value = bytes_of(form, entry.value, || format!("records[{index}].value"))?;
        let record = OutRecord { timestamp: now, key, value, headers: Vec::new() };
        Ok((only.or(named), record))
    };
    body.records.into_iter().enumerate().map(record).collect()
}

impl Place {
    fn new(partition: PartitionIndex, outcome: Result<i64, ProduceError>) -> Self {
        match outcome {
            Ok(offset) => Self { partition, offset: Some(offset), error_code: None, error: None },
            Err(error) => {
                let error = ApiError::from(error);
                Self { partition, offset: None, error_code: Some(error.code), error: Some(error.message) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Parsed<'a> = Vec<(Option<i32>, OutRecord<'a>)>;

    fn parsed(form: Embedded, body: &str) -> Result<Parsed<'_>, (u32, String)> {
        parse(body.as_bytes(), form, None, 9)
            .map(|records| records.into_iter().map(|(p, r)| (p.map(|p| p.0), r)).collect())
            .map_err(|e| (e.code, e.message))
    }

    fn refused(form: Embedded, body: &str) -> (u32, String) {
        parsed(form, body).unwrap_err()
    }

    #[test]
    fn records_have_a_key_a_value_and_a_partition() {
        let body =
            r#"{"records":[{"key":"aw==","value":"dg==","partition":3},{"value":null}],"value_schema_id":1}"#;
        let out = |key: Option<&'static [u8]>, value: Option<&'static [u8]>| OutRecord {
            timestamp: 9,
            key: key.map(Into::into),
            value: value.map(Into::into),
            headers: Vec::new(),
        };
        assert_eq!(
            parsed(Embedded::Binary, body).unwrap(),
            [(Some(3), out(Some(b"k"), Some(b"v"))), (None, out(None, None))]
        );
        let body = r#"{"records":[{"key":"k","value":{ "a" : 1 }},{"key":null,"value":0}]}"#;
        assert_eq!(
            parsed(Embedded::Json, body).unwrap(),
            [(None, out(Some(b"\"k\""), Some(b"{ \"a\" : 1 }"))), (None, out(None, Some(b"0")))]
        );
    }

    #[test]
    fn what_is_not_json_is_400_and_what_is_not_a_request_422() {
        for body in ["", "{", "nonsense", r#"{"records":[{"value":1}]} x"#, "\u{1}"] {
            assert_eq!(refused(Embedded::Json, body).0, 400, "{body}");
        }
        for body in [
            "[]",
            "5",
            "{}",
            r#"{"records":{}}"#,
            r#"{"records":[]}"#,
            r#"{"records":[{}]}"#,
            r#"{"records":[{"vaule":1}]}"#,
            r#"{"records":[{"value":1,"partition":"0"}]}"#,
            r#"{"records":[{"value":1,"partition":4294967296}]}"#,
            r#"{"records":[{"value":1}],"record":[]}"#,
        ] {
            assert_eq!(refused(Embedded::Json, body).0, 422, "{body}");
        }
    }

    #[test]
    fn a_bad_record_is_named_by_its_place() {
        let body = r#"{"records":[{"value":"aGk="},{"value":"?"}]}"#;
        let (code, message) = refused(Embedded::Binary, body);
        assert_eq!(code, 400);
        assert!(message.starts_with("records[1].value is not base64: "), "{message}");
        let body = r#"{"records":[{"value":"aGk=","key":1}]}"#;
        assert_eq!(
            refused(Embedded::Binary, body),
            (422, "records[0].key is not a string of base64".to_owned())
        );
    }

    #[test]
    fn a_record_may_not_contradict_the_path() {
        let parse = |body: &'static str| {
            parse(body.as_bytes(), Embedded::Json, Some(PartitionIndex(1)), 0).map(|r| r[0].0)
        };
        assert_eq!(parse(r#"{"records":[{"value":1}]}"#), Ok(Some(PartitionIndex(1))));
        let error = parse(r#"{"records":[{"value":1,"partition":2}]}"#).unwrap_err();
        assert_eq!(error.message, "records[0].partition is 2, the path says 1");
    }
}

//! One record of a v3 stream.

use std::{borrow::Cow, fmt::Display};

use domain::PartitionIndex;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{IgnoredAny, IntoDeserializer},
};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::{
    ApiError,
    json_object::JsonObject,
    producer::OutRecord,
    surrogates::{half_a_character, lone_surrogate},
    time::parse_rfc3339,
    v2::embedded::{from_base64, text_of},
};

#[derive(Deserialize, ToSchema)]
#[schema(as = ProduceRecord)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry<'a> {
    /// Only the entries of a batch have one, which was looked at before.
    #[serde(default, rename = "id", deserialize_with = "is_there")]
    #[schema(ignore)]
    has_id: bool,
    /// That of its key, or any, if it is not said.
    partition_id: Option<i32>,
    #[serde(default, borrow)]
    #[schema(value_type = Vec<Header<'static>>)]
    headers: Vec<JsonObject<Header<'a>>>,
    #[serde(borrow)]
    #[schema(value_type = Option<Data<'static>>)]
    key: Option<JsonObject<Data<'a>>>,
    #[serde(borrow)]
    #[schema(value_type = Option<Data<'static>>)]
    value: Option<JsonObject<Data<'a>>>,
    /// RFC 3339, or milliseconds since 1970.
    #[serde(borrow)]
    #[schema(value_type = Value, required = false)]
    timestamp: Option<&'a RawValue>,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = ProduceHeader)]
#[serde(deny_unknown_fields)]
pub(super) struct Header<'a> {
    #[serde(borrow)]
    #[schema(value_type = String)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    /// Base64.
    #[schema(value_type = Option<String>)]
    value: Option<Cow<'a, str>>,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = ProduceData)]
#[serde(deny_unknown_fields)]
pub(super) struct Data<'a> {
    #[serde(rename = "type", deserialize_with = "format")]
    format: Format,
    /// JSON, text, or base64, as `type` says; null is a tombstone.
    #[serde(borrow)]
    #[schema(value_type = Value, required = false)]
    data: Option<&'a RawValue>,
}

/// How a key or a value stands in the JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = DataType)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Format {
    Binary,
    Json,
    String,
}

/// Serde alone takes `{"JSON":null}` as well.
fn format<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Format, D::Error> {
    Format::deserialize(Cow::<'de, str>::deserialize(deserializer)?.into_deserializer())
}

fn is_there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

/// What the report says of a key or a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ProducedSize)]
pub(crate) struct Size {
    #[serde(rename = "type")]
    format: Format,
    size: usize,
}

/// A record as it was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Asked<'a> {
    pub(crate) partition: Option<PartitionIndex>,
    pub(crate) record: OutRecord<'a>,
    pub(crate) key: Option<Size>,
    pub(crate) value: Option<Size>,
}

/// Reads one object of the stream. `now`: the time of a record that has none of its own.
pub(crate) fn parse(object: &[u8], now: i64) -> Result<Asked<'_>, ApiError> {
    let JsonObject(entry): JsonObject<Entry<'_>> = serde_json::from_slice(object).map_err(unexpected)?;
    if entry.has_id {
        return Err(unexpected("unknown field `id`"));
    }
    asked(entry, now)
}

/// The same of one entry of a batch.
pub(crate) fn parse_entry(object: &RawValue, now: i64) -> Result<Asked<'_>, ApiError> {
    let JsonObject(entry): JsonObject<Entry<'_>> = serde_json::from_str(object.get()).map_err(unexpected)?;
    asked(entry, now)
}

fn unexpected(reason: impl Display) -> ApiError {
    ApiError::bad_request(format!("the record is not what is expected: {reason}"))
}

fn asked(entry: Entry<'_>, now: i64) -> Result<Asked<'_>, ApiError> {
    let (key, value) = (bytes_of("key", &entry.key)?, bytes_of("value", &entry.value)?);
    let headers = entry.headers.into_iter().enumerate().map(|(index, JsonObject(header))| {
        let place = || format!("headers[{index}].value");
        let value = header.value.map(|text| from_base64(&text, place)).transpose()?;
        Ok::<_, ApiError>((header.name, value))
    });
    let size = |data: &Option<JsonObject<Data<'_>>>, bytes: &Option<Cow<'_, [u8]>>| {
        data.as_ref()
            .map(|JsonObject(data)| Size { format: data.format, size: bytes.as_ref().map_or(0, |b| b.len()) })
    };
    Ok(Asked {
        partition: entry.partition_id.map(PartitionIndex),
        key: size(&entry.key, &key),
        value: size(&entry.value, &value),
        record: OutRecord {
            timestamp: entry.timestamp.map_or(Ok(now), timestamp)?,
            headers: headers.collect::<Result<_, _>>()?,
            key,
            value,
        },
    })
}

fn bytes_of<'a>(place: &str, data: &Option<JsonObject<Data<'a>>>) -> Result<Option<Cow<'a, [u8]>>, ApiError> {
    let Some((format, raw)) = data.as_ref().and_then(|JsonObject(d)| Some((d.format, d.data?))) else {
        return Ok(None);
    };
    let text = || text_of(raw).ok_or_else(|| ApiError::bad_request(format!("{place}.data is not a string")));
    Ok(Some(match format {
        Format::Json => match lone_surrogate(raw.get()) {
            None => raw.get().as_bytes().into(),
            Some(escape) => {
                return Err(ApiError::bad_request(half_a_character(&format!("{place}.data"), escape)));
            }
        },
        Format::String => match text()? {
            Cow::Borrowed(text) => text.as_bytes().into(),
            Cow::Owned(text) => text.into_bytes().into(),
        },
        Format::Binary => from_base64(&text()?, || format!("{place}.data"))?.into(),
    }))
}

/// RFC 3339, or milliseconds since 1970.
fn timestamp(raw: &RawValue) -> Result<i64, ApiError> {
    let parsed = match text_of(raw) {
        Some(text) => parse_rfc3339(&text),
        None => raw.get().parse().ok(),
    };
    parsed.filter(|ms| *ms >= 0).ok_or_else(|| {
        let message = format!("timestamp {} is neither RFC 3339 nor milliseconds since 1970", raw.get());
        ApiError::bad_request(message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(object: &str) -> String {
        let error = parse(object.as_bytes(), 0).unwrap_err();
        assert_eq!(error.code, 400, "{object}");
        error.message
    }

    #[test]
    fn each_format_has_its_bytes() {
        let object = r#"{"partition_id":2,"headers":[{"name":"h","value":"eA=="},{"name":"n","value":null}],
            "key":{"type":"STRING","data":"k\u00e9y"},"value":{"type":"JSON","data":{"a": 1.0}},"timestamp":"1970-01-01T00:00:01Z"}"#;
        let asked = parse(object.as_bytes(), 0).unwrap();
        assert_eq!(asked.partition, Some(PartitionIndex(2)));
        assert_eq!(
            asked.record,
            OutRecord {
                timestamp: 1_000,
                key: Some("kéy".as_bytes().into()),
                value: Some(b"{\"a\": 1.0}"[..].into()),
                headers: vec![("h".into(), Some(b"x".to_vec())), ("n".into(), None)],
            }
        );
        let size = |format, size| Some(Size { format, size });
        assert_eq!((asked.key, asked.value), (size(Format::String, 4), size(Format::Json, 10)));
        let asked = parse(br#"{"value":{"type":"BINARY","data":"aGk="}}"#, 7).unwrap();
        assert_eq!(
            (asked.record.timestamp, asked.record.value.as_deref(), asked.key),
            (7, Some(&b"hi"[..]), None)
        );
    }

    #[test]
    fn null_is_a_tombstone_in_every_format() {
        for format in ["BINARY", "JSON", "STRING"] {
            let object = format!(
                r#"{{"key":{{"type":"STRING","data":""}},"value":{{"type":"{format}","data":null}}}}"#
            );
            let asked = parse(object.as_bytes(), 0).unwrap();
            assert_eq!(asked.record.value, None);
            assert_eq!(asked.record.key.as_deref(), Some(&b""[..]));
        }
        assert_eq!(parse(b"{}", 0).unwrap().record.value, None);
        let zero = parse(br#"{"value":{"type":"JSON","data":0}}"#, 0).unwrap();
        assert_eq!(zero.record.value.as_deref(), Some(&b"0"[..]));
    }

    #[test]
    fn a_timestamp_is_a_moment_or_a_number() {
        let of = |text: &str| {
            parse(format!(r#"{{"timestamp":{text}}}"#).as_bytes(), 5).map(|asked| asked.record.timestamp).ok()
        };
        assert_eq!(of("1612552482123"), Some(1_612_552_482_123));
        assert_eq!(of("\"2021-02-05T19:14:42.123Z\""), Some(1_612_552_482_123));
        assert_eq!(of("null"), Some(5));
        for text in ["-1", "1.5", "\"yesterday\"", "true", "{}"] {
            assert_eq!(of(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(message(r#"{"vaule":{}}"#).contains("vaule"));
        assert!(message(r#"{"id":"a"}"#).contains("unknown field `id`"), "only entries of a batch have one");
        assert!(message(r#"{"value":{"type":"AVRO","data":1}}"#).contains("AVRO"));
        assert!(message(r#"{"value":{"data":1}}"#).contains("type"));
        assert!(message(r#"{"value":{"type":{"JSON":null},"data":1}}"#).contains("expected a"));
        assert!(message(r#"{"value": nope}"#).contains("line 1"));
        assert_eq!(message(r#"{"value":{"type":"STRING","data":5}}"#), "value.data is not a string");
        assert!(message(r#"{"key":{"type":"BINARY","data":"?"}}"#).starts_with("key.data is not base64"));
        assert!(
            message(r#"{"headers":[{"name":"a","value":"?"}]}"#)
                .starts_with("headers[0].value is not base64")
        );
    }
}

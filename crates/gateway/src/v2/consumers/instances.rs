use axum::{Json, http::StatusCode};
use group::{OffsetReset, RecordFormat, SessionOp, SessionOptions};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::shape::V2Body;
use crate::{
    ApiError,
    openapi::{V2, V2Consumer, V2Created, V2GroupPath, V2InstancePath},
    place::{At, segment},
};

/// Confluent's options, and its defaults; numbers and booleans may come as text.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[schema(as = V2CreateConsumer)]
#[serde(default)]
pub(crate) struct Create {
    /// The same as `name`.
    id: Option<String>,
    /// By which it is called from now on; one is made up if there is none.
    name: Option<String>,
    /// Of its records: `binary` unless said, or `json`.
    format: Option<String>,
    /// Where to begin in a partition of which nothing is committed: `latest` unless said, `earliest`, or `none`.
    #[serde(rename = "auto.offset.reset")]
    reset: Option<String>,
    /// Whether a poll commits what the one before it delivered, which it does unless said.
    #[serde(rename = "auto.commit.enable")]
    #[schema(value_type = Option<Truth>)]
    auto_commit: Option<Value>,
    /// How much there must be for a poll to end before its time: 1 unless said.
    #[serde(rename = "fetch.min.bytes")]
    #[schema(value_type = Option<Count>)]
    fetch_bytes_min: Option<Value>,
    /// How long a poll waits for records, in milliseconds: 1,000 unless said, 30,000 at most.
    #[serde(rename = "consumer.request.timeout.ms")]
    #[schema(value_type = Option<Count>)]
    request_timeout_ms: Option<Value>,
    #[serde(flatten)]
    #[schema(ignore)]
    others: serde_json::Map<String, Value>,
}

/// As clients send it.
#[derive(ToSchema)]
#[schema(as = V2Truth)]
#[serde(untagged)]
#[expect(dead_code, reason = "it is there for the document: a wrong one is refused by its name")]
enum Truth {
    Boolean(bool),
    Text(String),
}

/// As clients send it; -1 is the default.
#[derive(ToSchema)]
#[schema(as = V2Count)]
#[serde(untagged)]
#[expect(dead_code, reason = "it is there for the document: a wrong one is refused by its name")]
enum Count {
    Number(i32),
    Text(String),
}

#[derive(Serialize, ToSchema)]
#[schema(as = V2ConsumerCreated)]
pub(crate) struct Created {
    instance_id: String,
    /// Where it is asked for everything else. Any gateway answers.
    base_uri: String,
}

const REQUEST_TIMEOUT_MS: i32 = 1_000;
/// As for reading without a session.
const REQUEST_TIMEOUT_MS_MAX: i32 = 30_000;
const NAME_CHARS_MAX: usize = 255;

/// Makes a consumer in a group. It is gone when it has not been called for 300 s.
#[utoipa::path(
    post,
    path = "/consumers/{group}",
    operation_id = "v2CreateConsumer",
    tag = V2,
    params(V2GroupPath),
    request_body(content = Option<Create>, content_type = "application/vnd.kafka.v2+json"),
    responses((status = 200, description = "It is there, and reads nothing yet.", body = Created, content_type = "application/vnd.kafka.v2+json"), V2Created),
)]
pub(crate) async fn create(at: At, V2Body(wanted): V2Body<Create>) -> Result<Json<Created>, ApiError> {
    let wanted = wanted.unwrap_or_default();
    let options = options(&wanted)?;
    let name = match wanted.name.or(wanted.id) {
        Some(name) => checked(name)?,
        None => format!("rest-consumer-{}", Uuid::new_v4()),
    };
    let consumer = at.consumer_named(&name);
    // Chosen here, so that asking again after a lost answer finds what was made.
    let member = Uuid::new_v4().to_string();
    at.ask(&consumer, SessionOp::Create { options, member }).await?;
    let base_uri =
        format!("{}/consumers/{}/instances/{}", at.app.base_url, segment(&consumer.group), segment(&name));
    Ok(Json(Created { instance_id: name, base_uri }))
}

/// Ends a consumer; what it has acknowledged is committed.
#[utoipa::path(
    delete,
    path = "/consumers/{group}/instances/{instance}",
    operation_id = "v2DeleteConsumer",
    tag = V2,
    params(V2InstancePath),
    responses((status = 204, description = "It is gone, and others of its group have its partitions."), V2Consumer),
)]
pub(crate) async fn delete(at: At) -> Result<StatusCode, ApiError> {
    at.ask(&at.consumer(), SessionOp::Delete).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn checked(name: String) -> Result<String, ApiError> {
    if name.is_empty() || name.chars().count() > NAME_CHARS_MAX {
        let message =
            format!("name has {} characters, it may have 1 to {NAME_CHARS_MAX}", name.chars().count());
        return Err(bad(message));
    }
    if name == "." || name == ".." || name.chars().any(char::is_control) {
        return Err(bad(format!("name '{}' cannot stand in a path", name.escape_default())));
    }
    Ok(name)
}

fn options(wanted: &Create) -> Result<SessionOptions, ApiError> {
    if let Some(name) = wanted.others.keys().next() {
        let message = format!(
            "'{name}' is no option of a consumer; there are id, name, format, auto.offset.reset, auto.commit.enable, \
             fetch.min.bytes, consumer.request.timeout.ms"
        );
        return Err(bad(message));
    }
    let format = match wanted.format.as_deref().map(str::to_ascii_lowercase).as_deref() {
        None | Some("binary") => RecordFormat::Binary,
        Some("json") => RecordFormat::Json,
        Some(other) => return Err(bad(format!("format '{other}' is not one of binary, json"))),
    };
    let reset = match wanted.reset.as_deref() {
        None | Some("latest") => OffsetReset::Latest,
        Some("earliest") => OffsetReset::Earliest,
        Some("none") => OffsetReset::None,
        Some(other) => {
            return Err(bad(format!("auto.offset.reset '{other}' is not one of earliest, latest, none")));
        }
    };
    Ok(SessionOptions {
        format,
        reset,
        auto_commit: boolean("auto.commit.enable", &wanted.auto_commit)?.unwrap_or(true),
        fetch_bytes_min: number("fetch.min.bytes", &wanted.fetch_bytes_min, 64 << 20)?.unwrap_or(1),
        request_timeout_ms: number(
            "consumer.request.timeout.ms",
            &wanted.request_timeout_ms,
            REQUEST_TIMEOUT_MS_MAX,
        )?
        .unwrap_or(REQUEST_TIMEOUT_MS),
    })
}

fn boolean(name: &str, value: &Option<Value>) -> Result<Option<bool>, ApiError> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(value)) => Ok(Some(*value)),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
        Some(other) => Err(bad(format!("{name} {other} is not true or false"))),
    }
}

/// -1 is the default, as Confluent's clients have it.
fn number(name: &str, value: &Option<Value>, max: i32) -> Result<Option<i32>, ApiError> {
    let number = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => number.as_i64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(_) => None,
    };
    match number {
        Some(-1) => Ok(None),
        Some(number) if (0..=i64::from(max)).contains(&number) => Ok(i32::try_from(number).ok()),
        _ => {
            let given = value.as_ref().map(Value::to_string).unwrap_or_default();
            Err(bad(format!("{name} {given} is not a number from 0 to {max}")))
        }
    }
}

fn bad(message: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, 42204, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &str) -> Result<SessionOptions, String> {
        options(&serde_json::from_str(json).unwrap()).map_err(|error| {
            assert_eq!((error.status.as_u16(), error.code), (422, 42204));
            error.message
        })
    }

    #[test]
    fn options_have_confluents_names_and_defaults() {
        let default = of("{}").unwrap();
        assert_eq!(
            default,
            SessionOptions {
                format: RecordFormat::Binary,
                reset: OffsetReset::Latest,
                auto_commit: true,
                fetch_bytes_min: 1,
                request_timeout_ms: 1_000,
            }
        );
        let text = r#"{"format":"json","auto.offset.reset":"earliest","auto.commit.enable":"false","fetch.min.bytes":"10","consumer.request.timeout.ms":"500"}"#;
        let plain = r#"{"format":"JSON","auto.offset.reset":"earliest","auto.commit.enable":false,"fetch.min.bytes":10,"consumer.request.timeout.ms":500}"#;
        assert_eq!(of(text), of(plain));
        assert_eq!(of(plain).unwrap().fetch_bytes_min, 10);
        assert_eq!(of(r#"{"fetch.min.bytes":-1,"consumer.request.timeout.ms":null}"#), Ok(default));
    }

    #[test]
    fn a_bad_option_is_named() {
        for (json, name) in [
            (r#"{"format":"avro"}"#, "avro"),
            (r#"{"auto.offset.reset":"first"}"#, "auto.offset.reset"),
            (r#"{"auto.commit.enable":1}"#, "auto.commit.enable"),
            (r#"{"fetch.min.bytes":"many"}"#, "fetch.min.bytes"),
            (r#"{"consumer.request.timeout.ms":60000}"#, "consumer.request.timeout.ms"),
            (r#"{"auto.ofset.reset":"earliest"}"#, "auto.ofset.reset"),
        ] {
            let message = of(json).unwrap_err();
            assert!(message.contains(name), "{message}");
        }
    }

    #[test]
    fn a_name_can_stand_in_a_path() {
        assert!(checked("my consumer/1".to_owned()).is_ok());
        for name in ["", "..", "a\n"] {
            assert_eq!(checked(name.to_owned()).unwrap_err().code, 42204, "{name:?}");
        }
    }
}

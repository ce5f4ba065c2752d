//! Server-sent events as a browser's `EventSource` reads them (WHATWG's HTML, 9.2.6).

use std::borrow::Cow;

use domain::{Offset, PartitionIndex};
use records::Record;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::query::Format;
use crate::{ApiError, negotiate::Embedded, tail::Position, v2::embedded::Out};

#[derive(Serialize)]
struct RecordView<'a> {
    partition: PartitionIndex,
    offset: Offset,
    timestamp: i64,
    key: Option<Shown<'a>>,
    value: Option<Shown<'a>>,
    headers: Vec<HeaderView<'a>>,
    /// Which of key and value are not JSON, where that was asked for: these are base64.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_json: Vec<&'static str>,
}

/// As everywhere: a name that is not UTF-8 is shown as well as it can be.
#[derive(Serialize)]
struct HeaderView<'a> {
    name: Cow<'a, str>,
    value: Option<Out<'a>>,
}

#[derive(Serialize)]
struct GapView {
    partition: PartitionIndex,
    from: Offset,
    to: Offset,
}

enum Shown<'a> {
    Out(Out<'a>),
    /// JSON that stood in several lines, which an event's data cannot.
    OneLine(Box<RawValue>),
    Text(Cow<'a, str>),
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Shown::Out(out) => out.serialize(serializer),
            Shown::OneLine(raw) => raw.serialize(serializer),
            Shown::Text(text) => text.serialize(serializer),
        }
    }
}

impl<'a> Shown<'a> {
    /// `None`: it cannot be shown in this format.
    fn new(format: Format, bytes: &'a [u8]) -> Option<Self> {
        match format {
            Format::Text => Some(Self::Text(String::from_utf8_lossy(bytes))),
            Format::Binary => Out::new(Embedded::Binary, bytes).ok().map(Self::Out),
            Format::Json => match Out::new(Embedded::Json, bytes).ok()? {
                Out::Json(raw) if raw.get().contains(['\n', '\r']) => {
                    // Outside of strings they are blanks, and inside there are none.
                    RawValue::from_string(raw.get().replace(['\n', '\r'], " ")).ok().map(Self::OneLine)
                }
                out => Some(Self::Out(out)),
            },
        }
    }
}

/// An event as a browser has read it. The records, gaps and errors in its data are JSON.
#[derive(ToSchema)]
#[schema(as = TailEvent)]
#[expect(dead_code, reason = "it is there for the document: events are written as text")]
pub(super) struct Event {
    /// Where to go on after it. An error has none.
    #[schema(value_type = String, required = false)]
    id: Option<String>,
    #[schema(inline)]
    event: Name,
    data: String,
}

#[derive(Clone, Copy, ToSchema)]
#[schema(rename_all = "lowercase")]
enum Name {
    Record,
    Gap,
    Error,
}

impl Name {
    fn text(self) -> &'static str {
        match self {
            Name::Record => "record",
            Name::Gap => "gap",
            Name::Error => "error",
        }
    }
}

/// The first of a stream: how soon to come back after the connection is lost, and from where.
pub(super) fn begin(position: &Position) -> Vec<u8> {
    format!("retry: {RETRY_MS}\nid: {position}\n\n").into_bytes()
}

const RETRY_MS: u32 = 1_000;

pub(super) fn record<'a>(
    out: &mut Vec<u8>,
    position: &Position,
    partition: PartitionIndex,
    record: &'a Record,
    format: Format,
) {
    let mut not_json = Vec::new();
    let mut shown = |name: &'static str, bytes: &'a Option<bytes::Bytes>| -> Option<Shown<'a>> {
        let bytes = bytes.as_ref()?;
        Shown::new(format, bytes).or_else(|| {
            not_json.push(name);
            Shown::new(Format::Binary, bytes)
        })
    };
    let (key, value) = (shown("key", &record.key), shown("value", &record.value));
    let headers = record.headers.iter().map(|(name, value)| HeaderView {
        name: String::from_utf8_lossy(name),
        value: value.as_deref().map(Out::Base64),
    });
    let view = RecordView {
        partition,
        offset: record.offset,
        timestamp: record.timestamp,
        key,
        value,
        headers: headers.collect(),
        not_json,
    };
    event(out, Some(position), Name::Record, &view);
}

pub(super) fn gap(position: &Position, partition: PartitionIndex, from: Offset, to: Offset) -> Vec<u8> {
    let mut out = Vec::new();
    event(&mut out, Some(position), Name::Gap, &GapView { partition, from, to });
    out
}

pub(super) fn error(error: &ApiError) -> Vec<u8> {
    let mut out = Vec::new();
    event(&mut out, None, Name::Error, &error.body());
    out
}

/// A line that says nothing to the reader, and to everybody in between that the connection is alive.
pub(super) fn comment(text: &str) -> Vec<u8> {
    format!(": {text}\n\n").into_bytes()
}

fn event(out: &mut Vec<u8>, position: Option<&Position>, name: Name, data: &impl Serialize) {
    if let Some(position) = position {
        out.extend_from_slice(format!("id: {position}\n").as_bytes());
    }
    out.extend_from_slice(format!("event: {}\ndata: ", name.text()).as_bytes());
    // Plain structures of texts, numbers and what was read as JSON: writing them to memory cannot fail.
    let _ = serde_json::to_writer(&mut *out, data);
    out.extend_from_slice(b"\n\n");
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use bytes::Bytes;
    use domain::TopicId;
    use uuid::Uuid;

    use super::*;

    fn position() -> Position {
        Position { topic: TopicId(Uuid::from_u128(7)), offsets: [(PartitionIndex(1), Offset(6))].into() }
    }

    fn shown(format: Format, key: Option<&'static [u8]>, value: Option<&'static [u8]>) -> String {
        let of = Record {
            offset: Offset(5),
            timestamp: 7,
            key: key.map(Bytes::from_static),
            value: value.map(Bytes::from_static),
            headers: vec![(Bytes::from_static(b"h"), Some(Bytes::from_static(b"x")))],
        };
        let mut out = Vec::new();
        record(&mut out, &position(), PartitionIndex(1), &of, format);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_record_is_an_event_with_an_id_and_one_line_of_data() {
        assert_eq!(
            shown(Format::Json, Some(b"5"), Some(b"{\n \"a\": \"b\"\r\n}")),
            "id: AAAAAAAAAAAAAAAAAAAABw:1=6\nevent: record\ndata: \
             {\"partition\":1,\"offset\":5,\"timestamp\":7,\"key\":5,\"value\":{  \"a\": \"b\"  },\
             \"headers\":[{\"name\":\"h\",\"value\":\"eA==\"}]}\n\n"
        );
    }

    #[test]
    fn what_is_not_json_comes_as_base64_and_is_named() {
        let event = shown(Format::Json, None, Some(b"hi"));
        assert!(event.contains(r#""key":null,"value":"aGk=""#), "{event}");
        assert!(event.contains(r#""not_json":["value"]"#), "{event}");
        assert!(!shown(Format::Binary, Some(b"5"), Some(b"hi")).contains("not_json"));
    }

    #[test]
    fn text_is_shown_as_well_as_it_can_be() {
        let event = shown(Format::Text, Some(b"gr\xc3\xbc\xc3\x9fe\n"), Some(b"\xff!"));
        assert!(event.contains("\"key\":\"grüße\\n\",\"value\":\"\u{fffd}!\""), "{event}");
    }

    #[test]
    fn everything_else_is_an_event_or_a_comment_too() {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        assert_eq!(text(begin(&position())), "retry: 1000\nid: AAAAAAAAAAAAAAAAAAAABw:1=6\n\n");
        assert_eq!(text(comment("quiet")), ": quiet\n\n");
        assert_eq!(
            text(gap(&position(), PartitionIndex(1), Offset(2), Offset(6))),
            "id: AAAAAAAAAAAAAAAAAAAABw:1=6\nevent: gap\ndata: {\"partition\":1,\"from\":2,\"to\":6}\n\n"
        );
        let gone = ApiError::new(StatusCode::NOT_FOUND, 40403, "gone");
        assert_eq!(text(error(&gone)), "event: error\ndata: {\"error_code\":40403,\"message\":\"gone\"}\n\n");
    }
}

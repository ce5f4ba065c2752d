use std::time::Duration;

use axum::{
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use domain::Offset;
use records::Record;
use serde::{Deserialize, Serialize};

use super::embedded::Out;
use crate::{
    ApiError,
    limits::HeldBody,
    negotiate::{self, Embedded},
    offsets::ends,
    place::{At, Query},
    reader::{self, Read, ReadError},
};

#[derive(Deserialize)]
pub(crate) struct Wanted {
    /// Required: nobody means "from the beginning" by forgetting it.
    offset: i64,
    /// Milliseconds.
    #[serde(default = "timeout_default")]
    timeout: u64,
    #[serde(default = "max_bytes_default")]
    max_bytes: usize,
}

const TIMEOUT_MS_MAX: u64 = 30_000;
const BYTES_MAX: usize = 64 << 20;

fn timeout_default() -> u64 {
    1_000
}

fn max_bytes_default() -> usize {
    1 << 20
}

#[derive(Serialize)]
struct RecordView<'a> {
    topic: &'a str,
    key: Option<Out<'a>>,
    value: Option<Out<'a>>,
    partition: i32,
    offset: i64,
    timestamp: i64,
    headers: Vec<HeaderView<'a>>,
}

/// As v3 writes them. A name that is not UTF-8 is shown as well as it can be.
#[derive(Serialize)]
struct HeaderView<'a> {
    name: std::borrow::Cow<'a, str>,
    value: Option<Out<'a>>,
}

/// Records from an offset on. The memory that the answer takes is counted once it is there: a request that waits holds none.
pub(crate) async fn records(
    at: At,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (form, media_type) = negotiate::read_form(&headers)?;
    let (topic, target) = at.target()?;
    if wanted.offset < 0 {
        return Err(at.out_of_range(wanted.offset).await);
    }
    let read = Read {
        topic: topic.name.clone(),
        target,
        offset: Offset(wanted.offset),
        wait: Duration::from_millis(wanted.timeout.min(TIMEOUT_MS_MAX)),
        bytes_max: wanted.max_bytes.clamp(1, BYTES_MAX),
    };
    let app = &at.app;
    let records = match reader::read(&app.nodes, &app.image, &app.stopping, &read).await {
        Err(ReadError::OutOfRange { offset, .. }) => return Err(at.out_of_range(offset).await),
        records => records?,
    };
    metrics::counter!("anabranch_gateway_records_read_total").increment(records.len() as u64);
    let bytes: usize = records.iter().map(embedded_bytes).sum();
    // The records and the answer are there at the same time for a moment.
    let mut held = app.memory.try_take((2 * bytes).max(2))?;
    let json = match bytes > INLINE_BYTES_MAX {
        false => written(&records, &read, form)?,
        true => tokio::task::spawn_blocking(move || written(&records, &read, form))
            .await
            .map_err(|e| ApiError::from(ReadError::Corrupt(e.to_string())))??,
    };
    let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static(media_type))];
    let of_records = held.split(bytes);
    drop(of_records);
    Ok((content_type, HeldBody::of(json, held)).into_response())
}

/// What takes longer to write than a task may hold up the others.
const INLINE_BYTES_MAX: usize = 1 << 20;

/// About what a record takes in the answer.
fn embedded_bytes(record: &Record) -> usize {
    let length = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, |b| b.len());
    let headers: usize = record.headers.iter().map(|(name, value)| name.len() + length(value) + 32).sum();
    let payload = length(&record.key) + length(&record.value) + headers;
    payload + payload / 3 + 128
}

impl At {
    /// The error, with the range if its leader tells it.
    async fn out_of_range(&self, offset: i64) -> ApiError {
        let range = match self.target() {
            Ok((topic, target)) => ends(&self.app.nodes, &self.app.image, &topic.name, target).await.ok(),
            Err(_) => None,
        };
        ReadError::OutOfRange { offset, range }.into()
    }
}

/// The answer's JSON. A record that is not JSON ends it before its turn; at the first place it is an error, so that it is
/// heard of and nothing before it is withheld.
fn written(records: &[Record], read: &Read, form: Embedded) -> Result<Vec<u8>, ReadError> {
    let mut json = Vec::with_capacity(records.iter().map(embedded_bytes).sum::<usize>() + 2);
    json.push(b'[');
    for (index, record) in records.iter().enumerate() {
        let view = match view(record, read, form) {
            Ok(view) => view,
            Err(error) if index == 0 => return Err(error),
            Err(_) => break,
        };
        if index > 0 {
            json.push(b',');
        }
        serde_json::to_writer(&mut json, &view).map_err(|e| ReadError::Corrupt(e.to_string()))?;
    }
    json.push(b']');
    Ok(json)
}

fn view<'a>(record: &'a Record, read: &'a Read, form: Embedded) -> Result<RecordView<'a>, ReadError> {
    let out = |part: &'static str, bytes: &'a Option<bytes::Bytes>| {
        let out = bytes.as_ref().map(|bytes| Out::new(form, bytes));
        out.transpose().map_err(|reason| ReadError::NotJson {
            part,
            topic: read.topic.clone(),
            partition: read.target.partition,
            offset: record.offset,
            reason,
        })
    };
    let headers = record.headers.iter().map(|(name, value)| HeaderView {
        name: String::from_utf8_lossy(name),
        value: value.as_deref().map(Out::Base64),
    });
    Ok(RecordView {
        topic: read.topic.as_str(),
        key: out("key", &record.key)?,
        value: out("value", &record.value)?,
        partition: read.target.partition.0,
        offset: record.offset.0,
        timestamp: record.timestamp,
        headers: headers.collect(),
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use domain::{PartitionIndex, TopicId, TopicName};

    use super::*;
    use crate::routing::Target;

    fn record(offset: i64, value: Option<&'static [u8]>) -> Record {
        Record {
            offset: Offset(offset),
            timestamp: 7,
            key: None,
            value: value.map(Bytes::from_static),
            headers: vec![(Bytes::from_static(b"h"), Some(Bytes::from_static(b"x")))],
        }
    }

    fn json(records: &[Record], form: Embedded) -> Result<String, ReadError> {
        let read = Read {
            topic: TopicName::new("orders").unwrap(),
            target: Target { topic: TopicId(uuid::Uuid::nil()), partition: PartitionIndex(2) },
            offset: Offset(0),
            wait: Duration::ZERO,
            bytes_max: 1,
        };
        written(records, &read, form).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn a_record_has_its_place_its_time_and_its_headers() {
        assert_eq!(
            json(&[record(5, Some(b"hi")), record(6, None)], Embedded::Binary).unwrap(),
            r#"[{"topic":"orders","key":null,"value":"aGk=","partition":2,"offset":5,"timestamp":7,"headers":[{"name":"h","value":"eA=="}]},{"topic":"orders","key":null,"value":null,"partition":2,"offset":6,"timestamp":7,"headers":[{"name":"h","value":"eA=="}]}]"#
        );
        assert_eq!(json(&[], Embedded::Json).unwrap(), "[]");
    }

    #[test]
    fn what_is_not_json_is_named_when_its_turn_comes() {
        let records = [record(5, Some(b"{\"a\":1}")), record(6, Some(b"hi"))];
        let first = json(&records, Embedded::Json).unwrap();
        assert!(first.contains(r#""value":{"a":1}"#) && !first.contains(r#""offset":6"#));
        let error = json(&records[1..], Embedded::Json).unwrap_err().to_string();
        assert!(error.starts_with("the value at offset 6 of orders-2 is not JSON"), "{error}");
    }
}

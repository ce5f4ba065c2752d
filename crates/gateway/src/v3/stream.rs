//! Producing a stream: records come in as they come, reports go out in their order as they are acknowledged.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension,
    body::{Body, BodyDataStream},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use domain::{ClusterId, PartitionIndex};
use futures_util::{StreamExt, stream};
use metadata::{Image, Topic};
use serde::Serialize;

use super::{
    framing::{Framer, FramingError},
    record::{self, Size},
};
use crate::{
    ApiError, App,
    limits::{Held, InFlight},
    negotiate,
    place::At,
    producer::{Receipt, TopicRules, now_ms},
    routing::Target,
    time::rfc3339,
};

/// So many records of one stream may wait for their acknowledgements; no more are read meanwhile.
const WINDOW: usize = 1_000;
/// So many reports that are ready at once leave in one piece.
const REPORTS_MAX: usize = 100;
/// A buffer up to this is part of a connection's cost.
const UNCOUNTED_BYTES: usize = 64 << 10;

pub(crate) async fn produce(
    at: At,
    headers: HeaderMap,
    Extension(in_flight): Extension<InFlight>,
    body: Body,
) -> Result<Response, ApiError> {
    negotiate::require_json(&headers)?;
    negotiate::require_identity(&headers)?;
    at.topic()?;
    let mut incoming = Incoming::new(&at, body);
    // What is wrong with the first record is known before there is an answer: nothing was taken then.
    let first = match incoming.next_object().await? {
        Some(object) => incoming.take(&object).await?,
        None => {
            let message = "Error: 42206 : the body has no record";
            return Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, 42206, message));
        }
    };
    let cluster = at.cluster;
    let later = stream::unfold(Some(incoming), next_taken);
    let reports = stream::iter([Ok(first)])
        .chain(later)
        .map(move |taken| report(cluster, taken))
        .buffered(WINDOW)
        .ready_chunks(REPORTS_MAX)
        .map(move |reports| {
            // The stream counts as a request for as long as it lasts.
            let _served = &in_flight;
            Ok::<_, std::convert::Infallible>(Bytes::from(reports.concat()))
        });
    let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static(negotiate::JSON))];
    Ok((content_type, Body::from_stream(reports)).into_response())
}

/// The client's side of a stream.
struct Incoming {
    app: Arc<App>,
    topic: Arc<str>,
    body: BodyDataStream,
    framer: Framer,
    /// The memory that a large beginning of a record takes.
    held: Option<Held>,
    /// The topic with its rules, in the image where they were looked up.
    known: Option<(Arc<Image>, Arc<Topic>, TopicRules)>,
}

/// A record that was handed over.
struct Taken {
    topic: Arc<str>,
    partition: PartitionIndex,
    timestamp: i64,
    receipt: Receipt,
    key: Option<Size>,
    value: Option<Size>,
}

/// The next record, or why there is none. What cannot be understood ends the stream; a record that is wrong does not.
async fn next_taken(incoming: Option<Incoming>) -> Option<(Result<Taken, ApiError>, Option<Incoming>)> {
    let mut incoming = incoming?;
    match incoming.next_object().await {
        Ok(Some(object)) => {
            let taken = incoming.take(&object).await;
            Some((taken, Some(incoming)))
        }
        Ok(None) => None,
        Err(error) => Some((Err(error), None)),
    }
}

impl Incoming {
    fn new(at: &At, body: Body) -> Self {
        Self {
            app: at.app.clone(),
            topic: at.param("topic").into(),
            body: body.into_data_stream(),
            framer: Framer::new(at.app.limits.body_bytes_max),
            held: None,
            known: None,
        }
    }

    async fn next_object(&mut self) -> Result<Option<Bytes>, ApiError> {
        loop {
            if let Some(object) = self.framer.next_object().map_err(refused)? {
                return Ok(Some(object));
            }
            let chunk = tokio::select! {
                chunk = self.body.next() => chunk,
                () = self.app.stopping.cancelled() => {
                    let message = "the gateway is shutting down; records without a report were not taken";
                    return Err(ApiError::overloaded(message));
                }
            };
            match chunk {
                Some(Ok(chunk)) => {
                    self.framer.push(&chunk);
                    self.count_buffer()?;
                }
                Some(Err(error)) => {
                    return Err(ApiError::bad_request(format!("the body broke off: {error}")));
                }
                None => {
                    self.framer.finish().map_err(refused)?;
                    return Ok(None);
                }
            }
        }
    }

    /// Takes as much memory as the buffer does. What every connection may have anyway is not counted.
    fn count_buffer(&mut self) -> Result<(), ApiError> {
        let buffered = self.framer.buffered_bytes();
        let wanted = if buffered > UNCOUNTED_BYTES { buffered } else { 0 };
        let has = self.held.as_ref().map_or(0, Held::bytes);
        if wanted > has {
            let more = self.app.memory.try_take(wanted - has)?;
            match &mut self.held {
                Some(held) => held.merge(more),
                None => self.held = Some(more),
            }
        } else if let Some(held) = &mut self.held {
            drop(held.split(has - wanted));
        }
        Ok(())
    }

    /// Hands one record over to the producer. Waits while the gateway holds as much as it may.
    async fn take(&mut self, object: &[u8]) -> Result<Taken, ApiError> {
        let now = now_ms();
        let asked = record::parse(object, now)?;
        let record = asked.record;
        let within = Duration::from_millis(self.app.limits.produce_ms_max);
        let held = self.app.memory.take(record.bytes_bound(), within).await?;
        let (image, topic, rules) = self.known()?;
        let chosen = self
            .app
            .choice
            .partitions(&image, &topic, std::iter::once((asked.partition, &record)))
            .map_err(|e| ApiError::no_such_partition(topic.name.as_str(), e.partition))?;
        let partition = chosen.first().copied().unwrap_or_default();
        rules.check(&record, now)?;
        let target = Target { topic: topic.id, partition };
        let timestamp = record.timestamp;
        let receipts = self.app.producer.push(&topic, target, &rules, &[record], held);
        let receipt = receipts.into_iter().next();
        Ok(Taken {
            topic: self.topic.clone(),
            partition,
            timestamp,
            receipt: receipt.ok_or_else(|| ApiError::overloaded("the record was not taken"))?,
            key: asked.key,
            value: asked.value,
        })
    }

    /// The topic as it is now. It may be deleted, or made again, in the middle of a stream.
    fn known(&mut self) -> Result<(Arc<Image>, Arc<Topic>, TopicRules), ApiError> {
        let image = self.app.image.load();
        if let Some((known, topic, rules)) = &self.known
            && Arc::ptr_eq(known, &image)
        {
            return Ok((image, topic.clone(), *rules));
        }
        let topic = image.topics.get(&*self.topic);
        let topic = topic.ok_or_else(|| ApiError::unknown_topic(&self.topic))?.clone();
        let rules = TopicRules::new(&image.topic_config(&topic));
        self.known = Some((image.clone(), topic.clone(), rules));
        Ok((image, topic, rules))
    }
}

fn refused(error: FramingError) -> ApiError {
    match error {
        FramingError::TooLarge { .. } => ApiError::too_large(error.to_string()),
        FramingError::NotAnObject(_) | FramingError::Malformed { .. } | FramingError::Unfinished => {
            ApiError::bad_request(error.to_string())
        }
    }
}

#[derive(Serialize)]
struct Report<'a> {
    error_code: u16,
    cluster_id: String,
    topic_name: &'a str,
    partition_id: PartitionIndex,
    offset: i64,
    timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Size>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Size>,
}

/// Waits for the record's acknowledgement and writes its line.
async fn report(cluster: ClusterId, taken: Result<Taken, ApiError>) -> Vec<u8> {
    let mut line = match acknowledged(taken).await {
        Ok((taken, offset, timestamp)) => json(&Report {
            error_code: 200,
            cluster_id: cluster.to_string(),
            topic_name: &taken.topic,
            partition_id: taken.partition,
            offset,
            timestamp: rfc3339(timestamp),
            key: taken.key,
            value: taken.value,
        }),
        Err(error) => json(&error.body()),
    };
    line.push(b'\n');
    line
}

async fn acknowledged(taken: Result<Taken, ApiError>) -> Result<(Taken, i64, i64), ApiError> {
    let taken = taken?;
    let (offset, appended_at) = taken.receipt.wait().await?;
    let timestamp = appended_at.unwrap_or(taken.timestamp);
    Ok((taken, offset.0, timestamp))
}

fn json(line: &impl Serialize) -> Vec<u8> {
    // Plain structures of texts and numbers: writing them to memory cannot fail.
    serde_json::to_vec(line).unwrap_or_default()
}

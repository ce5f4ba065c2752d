//! Producing a stream: records come in as they come, reports go out in their order as they are acknowledged.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension,
    body::{Body, BodyDataStream},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    framing::{Framer, FramingError},
    intake::{Intake, Report, Taken},
    record::{self, Entry},
};
use crate::{
    ApiError, App,
    error::ErrorBody,
    idempotency::{IdempotencyKey, Once},
    limits::InFlight,
    memory::Held,
    negotiate,
    openapi::{IdempotencyHeader, Produced, TopicPath, V3},
    place::At,
    producer::{Receipt, now_ms},
};

/// So many records of one stream may wait for their acknowledgements; no more are read meanwhile.
const WINDOW: usize = 1_000;
/// Each takes a place in its partition's memory of keys, which is bounded.
const KEYED_RECORDS_MAX: usize = 1_000;
/// So many reports that are ready at once leave in one piece.
const REPORTS_MAX: usize = 100;
/// A buffer up to this is part of a connection's cost.
const UNCOUNTED_BYTES: usize = 64 << 10;

/// A stream of records: concatenated JSON objects, each of which is reported on in a line of its own, in order, while more come. What is wrong with the first is the status; later ones have their error in their line.
#[utoipa::path(
    post,
    path = "/v3/clusters/{cluster}/topics/{topic}/records",
    operation_id = "produceRecord",
    tag = V3,
    params(TopicPath, IdempotencyHeader),
    request_body = Entry<'static>,
    responses((status = 200, description = "A report for each record.", body = Line), Produced),
)]
pub(crate) async fn produce(
    at: At,
    headers: HeaderMap,
    Extension(in_flight): Extension<InFlight>,
    body: Body,
) -> Result<Response, ApiError> {
    negotiate::require_json(&headers)?;
    negotiate::require_identity(&headers)?;
    at.topic()?;
    let mut incoming = Incoming::new(&at, body, IdempotencyKey::of(&headers)?);
    // What is wrong with the first record is known before there is an answer: nothing was taken then.
    let first = match incoming.next_object().await? {
        Some(object) => incoming.take(&object).await?,
        None => return Err(ApiError::no_record("the body has no record")),
    };
    let later = stream::unfold(Some(incoming), next_taken);
    let reports =
        stream::iter([Ok(first)]).chain(later).map(report).buffered(WINDOW).ready_chunks(REPORTS_MAX).map(
            move |reports| {
                // The stream counts as a request for as long as it lasts.
                let _served = &in_flight;
                Ok::<_, std::convert::Infallible>(Bytes::from(reports.concat()))
            },
        );
    let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static(negotiate::JSON))];
    Ok((content_type, Body::from_stream(reports)).into_response())
}

/// The client's side of a stream.
struct Incoming {
    app: Arc<App>,
    intake: Intake,
    body: BodyDataStream,
    framer: Framer,
    /// The memory that a large beginning of a record takes.
    held: Option<Held>,
    once: Option<OneByOne>,
}

/// A stream that may be repeated as a whole: each record has a name of its own, as nobody knows what will follow it.
struct OneByOne {
    key: IdempotencyKey,
    /// Of records.
    count: usize,
    last: Option<Receipt>,
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
    fn new(at: &At, body: Body, key: Option<IdempotencyKey>) -> Self {
        Self {
            app: at.app.clone(),
            intake: Intake::new(at),
            body: body.into_data_stream(),
            framer: Framer::new(at.app.limits.body_bytes_max),
            held: None,
            once: key.map(|key| OneByOne { key, count: 0, last: None }),
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
        // First, so that a record that is refused has its number, too: the next ones keep theirs when they come again.
        let once = match &mut self.once {
            Some(once) => Some(once.next(object).await?),
            None => None,
        };
        let now = now_ms();
        let asked = record::parse(object, now)?;
        let within = Duration::from_millis(self.app.limits.produce_ms_max);
        let held = self.app.memory.take(asked.record.bytes_bound(), within).await?;
        let taken = self.intake.take(asked, held, now, once)?;
        if let Some(once) = &mut self.once {
            once.last = Some(taken.receipt().clone());
        }
        Ok(taken)
    }
}

impl OneByOne {
    /// The next record's turn: what is under way alone keeps no order, so the one before must have its answer.
    async fn next(&mut self, object: &[u8]) -> Result<Once, ApiError> {
        if let Some(last) = self.last.take() {
            // The client is told in the record's own report.
            let _ = last.wait().await;
        }
        let index = self.count;
        self.count += 1;
        match index < KEYED_RECORDS_MAX {
            true => Ok(self.key.record(index, &[b"v3 stream", object])),
            false => Err(ApiError::unprocessable(format!(
                "a stream with an Idempotency-Key has {KEYED_RECORDS_MAX} records at most"
            ))),
        }
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

/// Waits for the record's acknowledgement and writes its line.
async fn report(taken: Result<Taken, ApiError>) -> Vec<u8> {
    let report = async { taken?.report().await };
    let line = match report.await {
        Ok(report) => Line::Written(report),
        Err(error) => Line::Refused(error.body()),
    };
    // Plain structures of texts and numbers: writing them to memory cannot fail.
    let mut json = serde_json::to_vec(&line).unwrap_or_default();
    json.push(b'\n');
    json
}

/// What is said of one record.
#[derive(Serialize, ToSchema)]
#[schema(as = ProduceLine)]
#[serde(untagged)]
enum Line {
    Written(Report),
    Refused(ErrorBody),
}

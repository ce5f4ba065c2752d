use std::time::Duration;

use axum::{
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use group::RecordFormat;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    ApiError,
    consumers::{self, Poll, Polled},
    negotiate::{self, Embedded, V2, V2_BINARY, V2_JSON},
    openapi::{V2 as TAG, V2InstancePath, V2Polled},
    page::RecordView,
    place::{At, Query, header_text},
};

#[derive(Deserialize, IntoParams)]
pub(crate) struct Wanted {
    /// Milliseconds; it can only make the consumer's own shorter.
    timeout: Option<i64>,
    /// 1 MiB unless said; more than 64 MiB is 64 MiB.
    max_bytes: Option<i64>,
}

const BYTES: usize = 1 << 20;
const BYTES_MAX: usize = 64 << 20;
/// The client's name for a poll. One that comes again under the same name gets the same records.
const REQUEST_ID: &str = "x-request-id";
const REQUEST_ID_BYTES_MAX: usize = 256;

/// The next records, as soon as there are any; they are acknowledged by the next poll.
#[utoipa::path(
    get,
    path = "/consumers/{group}/instances/{instance}/records",
    operation_id = "v2Poll",
    tag = TAG,
    params(V2InstancePath, Wanted,
        ("X-Request-Id" = Option<String>, Header, max_length = 256, description = "The client's name for this poll. One that comes again under the same name gets the same records.")),
    responses((status = 200, description = "None, if none came in time.", content(
            (Vec<RecordView<'static>> = "application/vnd.kafka.binary.v2+json"),
            (Vec<RecordView<'static>> = "application/vnd.kafka.json.v2+json"),
            (Vec<RecordView<'static>> = "application/vnd.kafka.v2+json"),
        )), V2Polled),
)]
pub(crate) async fn poll(
    at: At,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (form, is_media_type) = negotiate::polled_form(&headers)?;
    let wanted = Poll {
        format: form.map(|form| match form {
            Embedded::Binary => RecordFormat::Binary,
            Embedded::Json => RecordFormat::Json,
        }),
        request: request_id(&headers)?,
        // -1 is the default, as Confluent's clients have it.
        timeout: wanted.timeout.and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis),
        bytes_max: wanted
            .max_bytes
            .filter(|bytes| *bytes >= 0)
            .map_or(BYTES, |bytes| usize::try_from(bytes).unwrap_or(BYTES_MAX).clamp(1, BYTES_MAX)),
    };
    let consumer = at.consumer();
    let polled = consumers::poll(&at.app, &consumer, &wanted).await;
    let Polled { format, page, delivery } = polled.map_err(|error| consumer.refused(error))?;
    metrics::counter!("anabranch_gateway_records_read_total").increment(page.records() as u64);
    let media_type = match (is_media_type, format) {
        (false, _) => V2,
        (true, RecordFormat::Binary) => V2_BINARY,
        (true, RecordFormat::Json) => V2_JSON,
    };
    let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static(media_type))];
    let body = page.into_body();
    let body = match delivery {
        Some(delivery) => delivery.of(body),
        None => body,
    };
    Ok((content_type, body).into_response())
}

fn request_id(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let text = header_text(headers, REQUEST_ID, REQUEST_ID_BYTES_MAX)?;
    Ok(text.filter(|text| !text.is_empty()).map(str::to_owned))
}

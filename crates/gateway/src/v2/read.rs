use std::time::Duration;

use axum::{
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use domain::Offset;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    ApiError, negotiate,
    offsets::ends,
    openapi::{V2, V2PartitionPath, V2Read},
    page::{Page, RecordView},
    place::{At, Query},
    reader::{self, Read, ReadError},
};

#[derive(Deserialize, IntoParams)]
pub(crate) struct Wanted {
    /// Required: nobody means "from the beginning" by forgetting it.
    #[param(minimum = 0)]
    offset: i64,
    /// How long to wait for a first record, in milliseconds; longer than 30 s is 30 s.
    #[serde(default = "timeout_default")]
    #[param(default = timeout_default)]
    timeout: u64,
    /// More than 64 MiB is 64 MiB.
    #[serde(default = "max_bytes_default")]
    #[param(default = max_bytes_default)]
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

/// Records from an offset on. The more answers wait to be taken by their clients, the fewer are in the next one; a request that
/// waits for records holds no memory.
#[utoipa::path(
    get,
    path = "/topics/{topic}/partitions/{partition}/records",
    operation_id = "v2ReadRecords",
    tag = V2,
    params(V2PartitionPath, Wanted),
    responses((status = 200, description = "At least one record, if there is any.", content(
            (Vec<RecordView<'static>> = "application/vnd.kafka.binary.v2+json"),
            (Vec<RecordView<'static>> = "application/vnd.kafka.json.v2+json"),
            (Vec<RecordView<'static>> = "application/vnd.kafka.v2+json"),
        )), V2Read),
)]
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
    let (records, share) = match reader::read(app, &read).await {
        Err(ReadError::OutOfRange { offset, .. }) => return Err(at.out_of_range(offset).await),
        read => read?,
    };
    let page = Page::within(share);
    let page = page.add(&app.memory, form, (&read.topic, read.target.partition), records).await?;
    let page = match page {
        // Nothing before it is withheld.
        (_, 0, Some(error)) => return Err(error.into()),
        (page, _, _) => page,
    };
    metrics::counter!("anabranch_gateway_records_read_total").increment(page.records() as u64);
    let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static(media_type))];
    Ok((content_type, page.into_body()).into_response())
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

//! A topic's records as server-sent events, as they come: for people, and for browsers, which come back by themselves with the
//! id of the last event that they have seen.

mod event;
mod query;
mod start;
mod stream;

use std::convert::Infallible;

use axum::{
    Extension,
    body::Body,
    extract::RawQuery,
    http::{HeaderMap, HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
};
use futures_util::stream::unfold;

use self::{
    event::Event,
    query::{Format, Wanted},
    stream::Events,
};
use crate::{
    ApiError,
    limits::InFlight,
    negotiate::{self, EVENTS},
    openapi::{Found, TopicPath, V3},
    place::At,
    tail::Tail,
};

/// By this a reader comes back: WHATWG's HTML, 9.2.4.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// A live tail: the topic's records as server-sent events, as they come. Each `record` has an id; who sends the last one that it has seen as `Last-Event-ID` goes on exactly there, at any gateway. What is gone before it was read is a `gap`; an `error` is the last event.
#[utoipa::path(
    get,
    path = "/v3/clusters/{cluster}/topics/{topic}/records",
    operation_id = "tailRecords",
    tag = V3,
    params(TopicPath,
        ("partition" = Option<Vec<i32>>, Query, description = "May be repeated. All of them, and those to come, if there is none."),
        ("from" = Option<String>, Query, description = "`latest` (unless said), `earliest`, or an offset if there is one `partition`."),
        ("format" = inline(Option<Format>), Query, description = "How keys and values are shown: `json` unless said."),
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was seen; `from` is passed over then.")),
    responses((status = 200, description = "It goes on until the topic ends, the gateway stops, or nobody reads.", body = Event, content_type = "text/event-stream"), Found),
)]
pub(crate) async fn tail(
    at: At,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    Extension(in_flight): Extension<InFlight>,
) -> Result<Response, ApiError> {
    negotiate::events_answer(&headers)?;
    let wanted = Wanted::parse(query.as_deref().unwrap_or_default())?;
    let topic = at.topic()?;
    let position = match headers.get(LAST_EVENT_ID).map(HeaderValue::to_str) {
        Some(Ok(id)) => start::again(topic, &wanted, id)?,
        Some(Err(_)) => return Err(ApiError::bad_request("Last-Event-ID is not text")),
        None => start::at(&at, topic, &wanted).await?,
    };
    let tail = Tail::new(&at.app, topic.name.clone(), position.clone(), wanted.partitions.clone());
    // The stream counts as a request for as long as it lasts.
    let events = Events::new(tail, position, wanted.format, in_flight);
    let pieces = unfold(events, async |mut events: Events| {
        let piece = events.next().await?;
        Some((Ok::<_, Infallible>(piece), events))
    });
    let headers = [
        (header::CONTENT_TYPE, EVENTS),
        (header::CACHE_CONTROL, "no-cache"),
        // Or a proxy in between keeps events to itself until there are many.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Body::from_stream(Box::pin(pieces))).into_response())
}

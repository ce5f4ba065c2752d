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

use self::{query::Wanted, stream::Events};
use crate::{
    ApiError,
    limits::InFlight,
    negotiate::{self, EVENTS},
    place::At,
    tail::Tail,
};

/// By this a reader comes back: WHATWG's HTML, 9.2.4.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

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

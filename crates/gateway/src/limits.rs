//! What bounds a gateway: requests at once, the size of a body and the time that it takes.

use std::{sync::Arc, time::Duration};

use axum::{
    body::BodyDataStream,
    extract::{FromRequest, Request, State},
    http::{StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use crate::{
    ApiError, App,
    memory::{Held, Memory},
    negotiate,
};

/// Counts a request as being served while it lives. A handler whose answer outlives it keeps a clone.
#[derive(Clone, Debug)]
pub(crate) struct InFlight(#[expect(dead_code, reason = "held for its drop")] Arc<OwnedSemaphorePermit>);

/// Refuses a request past the limit, before anything of its body is read.
pub(crate) async fn in_flight(
    State(served): State<Arc<Semaphore>>,
    mut request: Request,
    next: Next,
) -> Response {
    match served.try_acquire_owned() {
        Ok(permit) => {
            let permit = InFlight(Arc::new(permit));
            request.extensions_mut().insert(permit.clone());
            let response = next.run(request).await;
            drop(permit);
            response
        }
        Err(_) => ApiError::overloaded("the gateway serves as many requests as it may").into_response(),
    }
}

/// A request's body as a whole, with the memory that it takes.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) bytes: Bytes,
    /// Held for its drop, and counted on by nobody.
    pub(crate) _held: Option<Held>,
}

/// Nothing of a body for so long means that the client is gone or wants to be a burden.
const BODY_SILENCE_MAX: Duration = Duration::from_secs(30);
/// So does one that comes slower than this, in bytes a second, once that time is over: byte by byte it would be here for months.
const BODY_RATE_MIN: u64 = 1_000;

impl FromRequest<Arc<App>> for Whole {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        negotiate::require_identity(request.headers())?;
        let asks_first = request.headers().contains_key(header::EXPECT);
        let announced = request
            .headers()
            .get(header::CONTENT_LENGTH)
            .and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
        let mut body = request.into_body().into_data_stream();
        let whole = read_whole(&mut body, announced, app.limits.body_bytes_max, &app.memory).await;
        if let Err(error) = &whole
            && error.status == StatusCode::PAYLOAD_TOO_LARGE
            && !asks_first
        {
            let _ = tokio::time::timeout(PASSED_OVER_MAX, pass_over(body)).await;
        }
        whole
    }
}

/// So much of a body that is too large is read and thrown away, for so long: a connection that is closed while its client
/// still writes takes the answer with it.
const PASSED_OVER_BYTES_MAX: usize = 64 << 20;
const PASSED_OVER_MAX: Duration = Duration::from_secs(2);

async fn pass_over(mut body: BodyDataStream) {
    let mut passed = 0;
    while let Some(Ok(chunk)) = body.next().await {
        passed += chunk.len();
        if passed > PASSED_OVER_BYTES_MAX {
            return;
        }
    }
}

async fn read_whole(
    chunks: &mut BodyDataStream,
    announced: Option<usize>,
    bytes_max: usize,
    memory: &Memory,
) -> Result<Whole, ApiError> {
    let too_large = || ApiError::too_large(format!("the body is larger than {bytes_max} bytes"));
    if announced.is_some_and(|bytes| bytes > bytes_max) {
        return Err(too_large());
    }
    // What is announced is only a claim: memory is taken as the bytes come.
    let mut bytes = BytesMut::new();
    let mut held: Option<Held> = None;
    let begun = Instant::now();
    loop {
        let silent = Instant::now() + BODY_SILENCE_MAX;
        let slow = begun + BODY_SILENCE_MAX + Duration::from_secs(bytes.len() as u64 / BODY_RATE_MIN);
        let chunk = match tokio::time::timeout_at(silent.min(slow), chunks.next()).await {
            Ok(None) => break,
            Ok(Some(Ok(chunk))) => chunk,
            Ok(Some(Err(error))) => {
                return Err(ApiError::bad_request(format!("the body broke off: {error}")));
            }
            Err(_) => {
                let message = format!(
                    "nothing of the body came for {} s, or it came slower than {BODY_RATE_MIN} bytes a second",
                    BODY_SILENCE_MAX.as_secs()
                );
                return Err(ApiError::plain(StatusCode::REQUEST_TIMEOUT, message));
            }
        };
        if bytes.len() + chunk.len() > bytes_max {
            return Err(too_large());
        }
        let more = memory.try_take(chunk.len())?;
        match &mut held {
            Some(held) => held.merge(more),
            None => held = Some(more),
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Whole { bytes: bytes.freeze(), _held: held })
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit() {
        let read = |bytes: usize, announced| async move {
            let body = Body::from(vec![b'x'; bytes]);
            read_whole(&mut body.into_data_stream(), announced, 10, &Memory::new(100))
                .await
                .map(|w| w.bytes.len())
        };
        assert_eq!(read(10, Some(10)).await, Ok(10));
        assert_eq!(read(11, None).await.unwrap_err().code, 413);
        assert_eq!(read(1, Some(1 << 40)).await.unwrap_err().code, 413);
    }

    /// Eight megabytes, of which a byte came every half second, were waited for for weeks.
    #[tokio::test(start_paused = true)]
    async fn a_body_that_comes_byte_by_byte_is_given_up() {
        let bytes = futures_util::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b" ")), ()))
        });
        let begun = Instant::now();
        let mut body = Body::from_stream(bytes).into_data_stream();
        let error = read_whole(&mut body, Some(8 << 20), 16 << 20, &Memory::new(100)).await.unwrap_err();
        assert_eq!((error.code, begun.elapsed().as_secs()), (408, 30));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_comes_is_given_up() {
        let body = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        let error = read_whole(&mut body.into_data_stream(), None, 10, &Memory::new(100)).await.unwrap_err();
        assert_eq!(error.code, 408);
    }
}

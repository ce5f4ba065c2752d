//! What bounds a gateway: requests at once, bytes held at once, the size of a body and the time that it takes.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, BodyDataStream},
    extract::{FromRequest, Request, State},
    http::{StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use hyper::body::{Frame, SizeHint};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use crate::{ApiError, App, negotiate, reader::ReadError};

/// A budget of bytes that all requests share.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    free: Arc<Semaphore>,
    total: usize,
    shares: Arc<AtomicUsize>,
}

/// Bytes that are taken from the budget until this is dropped.
#[derive(Debug)]
pub(crate) struct Held(OwnedSemaphorePermit);

impl Memory {
    pub(crate) fn new(bytes: usize) -> Self {
        let total = bytes.min(u32::MAX as usize).min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(total)), total, shares: Arc::default() }
    }

    /// Takes bytes if they are there now.
    pub(crate) fn try_take(&self, bytes: usize) -> Result<Held, ApiError> {
        let permit = self.free.clone().try_acquire_many_owned(self.count(bytes)?);
        permit.map(Held).map_err(|_| self.short_of(bytes))
    }

    /// Takes bytes for what has to be whole: if it is much, not the last that is free.
    pub(crate) fn try_take_whole(&self, bytes: usize) -> Result<Held, ApiError> {
        let left = self.free.available_permits().saturating_sub(bytes);
        match bytes > WHOLE_BYTES_ALWAYS && left < self.total / WHOLE_LEAVES_PART {
            true => Err(self.short_of(bytes)),
            false => self.try_take(bytes),
        }
    }

    /// Takes bytes for what would do without, too: only while most of them are free.
    pub(crate) fn try_take_spare(&self, bytes: usize) -> Option<Held> {
        (self.free.available_permits() > self.total / 2).then(|| self.try_take(bytes).ok()).flatten()
    }

    /// Room for an answer of up to `wanted` bytes of records, each of which takes `cost` bytes on its way. It is taken before leaders
    /// are asked, since what they send comes whether there is room or not.
    ///
    /// The more answers wait for their clients to take them, the smaller is the next one, so that any number of clients that take
    /// nothing leaves something for the others.
    pub(crate) async fn share(&self, wanted: usize, cost: usize) -> Result<Share, ReadError> {
        let until = Instant::now() + SHARE_WITHIN;
        loop {
            let free = self.free.available_permits();
            let shares = self.shares.load(Ordering::Relaxed);
            let bytes = wanted.clamp(1, (part_of(free, self.total, shares) / cost).max(1));
            if let Ok(held) = self.try_take(bytes * cost) {
                return Ok(Share { held, bytes, _counted: Counted::new(&self.shares) });
            }
            // Nobody waits in line for it: who waits there for much would leave nothing to those who want little.
            if Instant::now() >= until {
                return Err(ReadError::Full(self.short_of(bytes * cost).message));
            }
            tokio::time::sleep(SHARE_PAUSE).await;
        }
    }

    /// Takes bytes as soon as they are there, in the order of asking.
    pub(crate) async fn take(&self, bytes: usize, within: Duration) -> Result<Held, ApiError> {
        let permit = self.free.clone().acquire_many_owned(self.count(bytes)?);
        match tokio::time::timeout(within, permit).await {
            Ok(Ok(permit)) => Ok(Held(permit)),
            _ => Err(self.short_of(bytes)),
        }
    }

    /// What can never be had is too large, not too early.
    fn count(&self, bytes: usize) -> Result<u32, ApiError> {
        match u32::try_from(bytes) {
            Ok(count) if bytes <= self.total => Ok(count),
            _ => Err(ApiError::too_large(format!(
                "{bytes} bytes are more than the {} that this gateway holds at once",
                self.total
            ))),
        }
    }

    pub(crate) fn short_of(&self, bytes: usize) -> ApiError {
        ApiError::overloaded(format!(
            "the gateway holds too much at once: {bytes} bytes more are over its limit of {}",
            self.total
        ))
    }
}

/// Room for an answer that is not there yet, or that its client has not taken.
#[derive(Debug)]
pub(crate) struct Share {
    held: Held,
    bytes: usize,
    _counted: Counted,
}

/// One of those among whom memory is shared, until it is dropped.
#[derive(Debug)]
struct Counted(Arc<AtomicUsize>);

/// So much may be taken at once however little is free.
const WHOLE_BYTES_ALWAYS: usize = 256 << 10;
/// What is larger leaves this part of all.
const WHOLE_LEAVES_PART: usize = 8;
const SHARE_WITHIN: Duration = Duration::from_secs(1);
const SHARE_PAUSE: Duration = Duration::from_millis(20);
/// While more than half is free, an answer gets this part of what is above the half.
const PLENTY_PART: usize = 2;
/// Of the other half each gets a part that is the smaller, the more there are. The sum of 1/(n + 16) over 4,096 of them, which are
/// as many as are served at once, is below 6: an eighth of the half stays free for those that write.
const SCARCE_PART: usize = 7;
const SCARCE_FROM: usize = 16;

/// What the next answer may take, if so many have a share.
fn part_of(free: usize, total: usize, shares: usize) -> usize {
    let half = total / 2;
    (free.saturating_sub(half) / PLENTY_PART).max(half / (SCARCE_PART * (shares + SCARCE_FROM)))
}

impl Counted {
    fn new(all: &Arc<AtomicUsize>) -> Self {
        all.fetch_add(1, Ordering::Relaxed);
        Self(all.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Share {
    /// So many bytes of records may be asked for.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What is in it; it counts as a share as long as it lives.
    pub(crate) fn held(&mut self) -> &mut Held {
        &mut self.held
    }

    /// No more than so many bytes are needed.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        let more = self.held.bytes().saturating_sub(bytes);
        drop(self.held.split(more));
    }
}

impl Held {
    /// Takes `bytes` of these out, or all.
    pub(crate) fn split(&mut self, bytes: usize) -> Option<Held> {
        let bytes = bytes.min(self.0.num_permits());
        self.0.split(bytes).map(Held)
    }

    pub(crate) fn merge(&mut self, more: Held) {
        self.0.merge(more.0);
    }

    pub(crate) fn bytes(&self) -> usize {
        self.0.num_permits()
    }
}

/// An answer that holds its memory until the client has taken it: one that reads slowly must not count as served.
pub(crate) struct HeldBody<H> {
    bytes: Bytes,
    _held: H,
}

/// Small enough that the connection asks for the next piece only once most of the last one left.
const PIECE_BYTES: usize = 256 << 10;

impl<H: Send + Unpin + 'static> HeldBody<H> {
    pub(crate) fn of(bytes: impl Into<Bytes>, held: H) -> Body {
        Body::new(Self { bytes: bytes.into(), _held: held })
    }
}

impl<H: Unpin> hyper::body::Body for HeldBody<H> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.bytes.len().min(PIECE_BYTES);
        Poll::Ready((piece > 0).then(|| Ok(Frame::data(self.bytes.split_to(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}

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
    use super::*;

    #[test]
    fn what_is_held_is_given_back() {
        let memory = Memory::new(100);
        let mut held = memory.try_take(70).unwrap();
        assert_eq!(memory.try_take(40).unwrap_err().status.as_u16(), 503);
        let part = held.split(50).unwrap();
        drop(held);
        let other = memory.try_take(50).unwrap();
        assert!(memory.try_take(1).is_err());
        drop(part);
        assert!(memory.try_take_spare(1).is_none(), "half of it is taken");
        drop(other);
        assert!(memory.try_take_spare(100).is_some());
    }

    #[tokio::test]
    async fn an_answer_holds_its_memory_until_it_is_taken() {
        let memory = Memory::new(1 << 20);
        let body = HeldBody::of(vec![7; 600_000], memory.try_take(1 << 20).unwrap());
        assert_eq!(axum::body::HttpBody::size_hint(&body).exact(), Some(600_000));
        let mut pieces = body.into_data_stream();
        let first = pieces.next().await.unwrap().unwrap();
        assert!(memory.try_take(1).is_err());
        let mut taken = first.len();
        while let Some(piece) = pieces.next().await {
            taken += piece.unwrap().len();
        }
        drop(pieces);
        assert_eq!(taken, 600_000);
        assert!(memory.try_take(1 << 20).is_ok());
    }

    #[test]
    fn what_can_never_be_held_is_too_large() {
        assert_eq!(Memory::new(100).try_take(101).unwrap_err().status.as_u16(), 413);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_for_memory_ends_in_an_error() {
        let memory = Memory::new(10);
        let _held = memory.try_take(10).unwrap();
        let error = memory.take(1, Duration::from_secs(1)).await.unwrap_err();
        assert_eq!(error.status.as_u16(), 503);
    }

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
    async fn however_many_take_nothing_the_next_one_gets_something() {
        let memory = Memory::new(256 << 20);
        let mut all = Vec::new();
        for n in 0..4_096 {
            let share = memory.share(64 << 20, 4).await.unwrap();
            assert!(share.bytes() >= if n < 600 { 4 << 10 } else { 1 << 10 }, "{n}: {}", share.bytes());
            all.push(share);
        }
        assert!(all[0].bytes() >= 16 << 20, "the first one has {}", all[0].bytes());
        assert!(memory.try_take(16 << 20).is_ok(), "and who writes, too");
        all.clear();
        assert_eq!(memory.share(64 << 20, 4).await.unwrap().bytes(), 16 << 20);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_comes_is_given_up() {
        let body = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        let error = read_whole(&mut body.into_data_stream(), None, 10, &Memory::new(100)).await.unwrap_err();
        assert_eq!(error.code, 408);
    }
}

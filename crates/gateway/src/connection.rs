//! One HTTP connection: HTTP/1.1, or HTTP/2 if that is what the client begins with.

use std::{convert::Infallible, io, pin::pin, time::Duration};

use axum::{Router, body::Body, response::Response};
use hyper::{body::Incoming, server::conn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use socket2::SockRef;
use tokio::{net::TcpStream, time::Instant};
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt, service_fn};

use crate::{
    granted::{Streams, watched},
    place::Peer,
    taken::{TAKES_NOTHING_MAX, Taken},
};

/// What an HTTP/2 connection begins with and no request in HTTP/1.1 does.
const HTTP2_BEGIN: &[u8] = b"PRI";
/// What a connection has of a request before it is read, or of answers before they are sent, beside what is counted as held. A
/// request's header is no longer, nor is the header of its answer.
const BUFFER_BYTES: usize = 64 << 10;
/// What the system takes of an answer that it cannot send yet; otherwise, it would take megabytes for a client that reads nothing.
/// What it has sent and the client has not confirmed is not in this, so a long way costs no speed. It says that there is room when
/// half of this is left, and until then nothing seems to be taken: see [`TAKES_NOTHING_MAX`].
const UNSENT_BYTES: u32 = 64 << 10;
/// While less than that came, the socket is looked at again so often.
const PEEK_PAUSE: Duration = Duration::from_millis(5);

/// Serves the connection until the client ends it, is silent for too long, or the token is cancelled; requests that are
/// being served then are finished.
pub(crate) async fn serve(stream: TcpStream, router: Router, header_max: Duration, stop: CancellationToken) {
    if let Err(error) = SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES) {
        tracing::debug!(%error, "how much the system takes for a connection could not be limited");
    }
    let begun = tokio::select! {
        begun = begins_http2(&stream, header_max) => begun,
        () = stop.cancelled() => return,
    };
    let ended = match begun {
        Ok(Some(true)) => serve_http2(stream, router, header_max, TAKES_NOTHING_MAX, stop).await,
        Ok(Some(false)) => serve_http1(stream, router, header_max, stop).await,
        Ok(None) => return,
        Err(error) => {
            tracing::debug!(%error, "a connection failed before its first request");
            return;
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended with an error");
    }
}

/// Looks at the first bytes without taking them. `None`: there were none in time, or never will be.
async fn begins_http2(stream: &TcpStream, within: Duration) -> io::Result<Option<bool>> {
    let deadline = Instant::now() + within;
    let mut first = [0; HTTP2_BEGIN.len()];
    loop {
        let Ok(peeked) = tokio::time::timeout_at(deadline, stream.peek(&mut first)).await else {
            return Ok(None);
        };
        match &first[..peeked?] {
            [] => return Ok(None),
            HTTP2_BEGIN => return Ok(Some(true)),
            some if !HTTP2_BEGIN.starts_with(some) => return Ok(Some(false)),
            // A peek tells of bytes that it told of before, so there is nothing to wait for but time.
            _ if Instant::now() >= deadline => return Ok(None),
            _ => tokio::time::sleep(PEEK_PAUSE).await,
        }
    }
}

/// The router, which hears from whom each request comes.
fn requests(
    stream: &TcpStream,
    router: Router,
) -> impl Service<hyper::Request<Incoming>, Response = Response, Error = Infallible, Future: Send> + Clone + use<>
{
    let peer = stream.peer_addr().ok().map(|peer| Peer(peer.ip().to_canonical()));
    service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer);
        }
        router.clone().oneshot(request)
    })
}

async fn serve_http1(
    stream: TcpStream,
    router: Router,
    header_max: Duration,
    stop: CancellationToken,
) -> hyper::Result<()> {
    let service = TowerToHyperService::new(requests(&stream, router));
    let connection = conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_max)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(Taken::new(stream, TAKES_NOTHING_MAX)), service);
    let mut connection = pin!(connection);
    tokio::select! {
        ended = &mut connection => return ended,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}

pub(crate) async fn serve_http2(
    stream: TcpStream,
    router: Router,
    header_max: Duration,
    takes_nothing_max: Duration,
    stop: CancellationToken,
) -> hyper::Result<()> {
    let service = requests(&stream, router).map_response(|response: Response| response.map(watched));
    let cut = CancellationToken::new();
    let connection = conn::http2::Builder::new(Streams::new(takes_nothing_max, cut.clone()))
        .timer(TokioTimer::new())
        .keep_alive_interval(header_max)
        .keep_alive_timeout(header_max)
        .max_send_buf_size(BUFFER_BYTES)
        .serve_connection(
            TokioIo::new(Taken::new(stream, takes_nothing_max)),
            TowerToHyperService::new(service),
        );
    let mut connection = pin!(connection);
    tokio::select! {
        ended = &mut connection => return ended,
        () = cut.cancelled() => return Ok(()),
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        ended = connection => ended,
        () = cut.cancelled() => Ok(()),
    }
}

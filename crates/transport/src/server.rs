use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wire::{FrameError, RequestFrame};

use crate::{Response, connection::Connection};

/// What becomes of a request.
pub enum Reply {
    /// It wants no answer (acks=0).
    None,
    /// It wants no answer but was not carried out; the connection's end is the only way to say so (acks=0).
    Close,
    Now(Response),
    /// The answer comes later; those to later requests wait behind it.
    Later(BoxFuture<'static, Result<Response, FrameError>>),
}

/// Serves requests. It must not block: what waits is a [`Reply::Later`].
pub trait Handler: Send + Sync + 'static {
    /// # Errors
    /// The request cannot be read or answered; the connection ends.
    fn handle(&self, request: RequestFrame, peer: SocketAddr) -> Result<Reply, FrameError>;

    /// Answers a frame whose header could not be read, where the protocol has an answer for that.
    fn handle_unreadable(&self, error: FrameError) -> Result<Reply, FrameError> {
        Err(error)
    }
}

impl<H: Handler> Handler for Arc<H> {
    fn handle(&self, request: RequestFrame, peer: SocketAddr) -> Result<Reply, FrameError> {
        H::handle(self, request, peer)
    }

    fn handle_unreadable(&self, error: FrameError) -> Result<Reply, FrameError> {
        H::handle_unreadable(self, error)
    }
}

/// Has a handler for each connection, whose state begins and ends with it. One that all share is a service, too.
pub trait Service: Send + Sync + 'static {
    type Handler: Handler;

    fn connect(&self, peer: SocketAddr) -> Self::Handler;
}

impl<H: Handler> Service for Arc<H> {
    type Handler = Self;

    fn connect(&self, _: SocketAddr) -> Self {
        self.clone()
    }
}

#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// A longer frame ends the connection.
    pub request_bytes_max: usize,
    /// A connection that is silent for so long, and waits for nothing, is closed.
    pub idle_max: Duration,
    /// Further connections are closed at once.
    pub connections_max: usize,
    /// Requests of one connection that wait for their answers; no more are taken meanwhile.
    pub in_flight_max: usize,
    /// Bytes of requests of one connection that wait for their answers; no more are taken meanwhile.
    pub in_flight_bytes_max: usize,
    /// Bytes of answers of one connection that wait for the client to read; no more requests are taken meanwhile.
    pub answer_bytes_max: usize,
    /// A client that reads nothing of its answers for so long is cut off.
    pub stall_max: Duration,
}

/// After an error of `accept` (no descriptor left, say), before the next try.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections until the token is cancelled, then waits for those that are open to end.
pub async fn serve(
    listener: TcpListener,
    config: ServerConfig,
    service: impl Service,
    stop: CancellationToken,
) {
    let connections = TaskTracker::new();
    let places = Arc::new(Semaphore::new(config.connections_max));
    let config = Arc::new(config);
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            tracing::warn!(%peer, max = config.connections_max, "too many connections, closing this one");
            continue;
        };
        let connection = Connection::new(stream, peer, config.clone(), service.connect(peer));
        let stop = stop.clone();
        connections.spawn(async move {
            connection.run(stop).await;
            drop(place);
        });
    }
    connections.close();
    connections.wait().await;
}

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wire::{FrameError, RequestFrame};

use crate::{
    Response,
    connection::Connection,
    intake::Rooms,
    places::{Places, Reserved},
    seldom::Seldom,
};

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
    /// Further connections are closed at once, unless they are for a place that is set aside.
    pub connections_max: usize,
    pub reserved: Option<Reserved>,
    /// Requests of one connection that wait for their answers; no more are taken meanwhile.
    pub in_flight_max: usize,
    /// Bytes of requests of one connection that wait for their answers; no more are taken meanwhile.
    pub in_flight_bytes_max: usize,
    /// Bytes of requests of all connections together, of those being read and of those with records that wait for their
    /// answers; about, and one request may go past it. Nothing large and nothing with records is read meanwhile.
    pub requests_bytes_max: usize,
    /// A large request that was begun, and brings less than 64 KiB in so long, ends its connection.
    pub trickle_max: Duration,
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
    let places = Arc::new(Places::new(config.connections_max, config.reserved));
    let rooms = Rooms::new(config.requests_bytes_max);
    let config = Arc::new(config);
    let mut not_accepted = Seldom::default();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let accepted = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                if let Some(times) = not_accepted.count(Instant::now()) {
                    tracing::warn!(%error, times, "connections could not be accepted");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let peer = accepted.1;
        let Some(place) = places.take() else {
            places.refused(peer);
            continue;
        };
        let handler = service.connect(peer);
        let connection = Connection::new(accepted, config.clone(), rooms.clone(), place.proof(), handler);
        let (stop, places) = (stop.clone(), places.clone());
        connections.spawn(async move {
            if connection.run(stop).await.is_err() {
                places.refused(peer);
            }
            drop(place);
        });
    }
    connections.close();
    connections.wait().await;
}

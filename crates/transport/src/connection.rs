use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::{BufMut, BytesMut};
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesOrdered};
use tokio::{net::TcpStream, time::Instant};
use tokio_util::sync::CancellationToken;
use wire::{FrameError, RequestFrame};

use crate::{
    Handler, Reply, Response, ServerConfig,
    incoming::{Incoming, LengthError},
    intake::{Intake, Rooms},
    low_water::LowWater,
    outgoing::Outgoing,
};

/// One client's connection to a server.
pub(crate) struct Connection<H> {
    stream: TcpStream,
    peer: SocketAddr,
    config: Arc<ServerConfig>,
    handler: H,
    incoming: Incoming,
    intake: Intake,
    /// Where the place is one that was set aside: what the first request has to show, and until when.
    proof: Option<Proof>,
    low_water: LowWater,
    waiting: FuturesOrdered<BoxFuture<'static, Result<(Response, Holds), FrameError>>>,
    outgoing: Outgoing,
    /// Bytes of answers that are ready and wait behind one that is not.
    held_bytes: usize,
    /// Bytes of requests that wait for their answers.
    asked_bytes: usize,
}

/// What an answer to come takes of its connection's room.
struct Holds {
    /// One that is ready and held.
    ready: bool,
    asked_bytes: usize,
}

/// That a connection is from a node of the cluster: its client id, in time.
#[derive(Clone, Copy)]
pub(crate) struct Proof {
    pub(crate) client_id: &'static str,
    pub(crate) until: Instant,
}

/// A connection that took a place which is set aside for the cluster's own nodes, and did not show to be from one.
#[derive(Debug)]
pub(crate) struct Stranger;

/// How long a connection keeps its empty buffer for the next request.
const BUFFER_KEPT: Duration = Duration::from_millis(100);

/// Why a connection ended, other than by the client's wish.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Frame(#[from] FrameError),
    #[error("an unacknowledged request failed")]
    Unacknowledged,
    #[error("{0}")]
    Length(#[from] LengthError),
    #[error("a request that was begun brought next to nothing for {0:?}")]
    Trickle(Duration),
    #[error("the place is set aside for the cluster's nodes")]
    Stranger,
}

impl<H: Handler> Connection<H> {
    pub(crate) fn new(
        (stream, peer): (TcpStream, SocketAddr),
        config: Arc<ServerConfig>,
        rooms: Arc<Rooms>,
        proof: Option<Proof>,
        handler: H,
    ) -> Self {
        Self {
            stream,
            peer,
            incoming: Incoming::of_requests(config.request_bytes_max),
            intake: Intake::new(rooms, config.trickle_max),
            proof,
            config,
            handler,
            low_water: LowWater::default(),
            waiting: FuturesOrdered::new(),
            outgoing: Outgoing::default(),
            held_bytes: 0,
            asked_bytes: 0,
        }
    }

    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(), Stranger> {
        if let Err(error) = self.stream.set_nodelay(true) {
            tracing::debug!(peer = %self.peer, %error, "TCP_NODELAY was not set");
        }
        match self.serve(stop).await {
            Ok(()) => {}
            // Whoever counts them tells of them.
            Err(Ended::Stranger) => return Err(Stranger),
            Err(error @ (Ended::Io(_) | Ended::Unacknowledged)) => {
                tracing::debug!(peer = %self.peer, %error, "connection ended");
            }
            Err(error) => {
                metrics::counter!("anabranch_kafka_bad_requests_total").increment(1);
                tracing::warn!(peer = %self.peer, %error, "closing the connection");
            }
        }
        Ok(())
    }

    async fn serve(&mut self, stop: CancellationToken) -> Result<(), Ended> {
        loop {
            tokio::select! {
                biased;
                flushed = self.outgoing.flush(&self.stream, self.config.stall_max) => flushed?,
                () = stop.cancelled() => return self.finish().await,
            }
            let has_room = self.has_room();
            if has_room && self.incoming.has_frame()? && !self.intake.waits() {
                // More than one turn's worth was pipelined; others get their turn, too.
                tokio::task::yield_now().await;
                self.take_frames()?;
                continue;
            }
            let allowed = match has_room {
                true => self.intake.allowance(&self.incoming),
                false => {
                    self.intake.pause();
                    0
                }
            };
            tokio::select! {
                biased;
                Some(response) = self.waiting.next(), if !self.waiting.is_empty() => {
                    self.put_out(response?)?;
                    self.take_finished()?;
                }
                readable = self.stream.readable(), if allowed > 0 => {
                    readable?;
                    if !self.read()? {
                        return self.finish().await;
                    }
                    self.take_frames()?;
                    self.low_water.wait_for(&self.stream, self.incoming.rest());
                }
                // Not whether it waits still: its turn may have come since it was asked.
                () = self.intake.turn(), if has_room && allowed == 0 => {}
                () = self.intake.trickled(), if allowed > 0 => {
                    return Err(Ended::Trickle(self.config.trickle_max));
                }
                () = late(self.proof), if self.proof.is_some() => return Err(Ended::Stranger),
                // What was asked is answered; nothing new is taken.
                () = stop.cancelled() => return self.finish().await,
                // An idle connection holds no buffer; a busy one uses its own again, whose pages are there already.
                () = tokio::time::sleep(BUFFER_KEPT), if self.incoming.holds_idle_buffer() => {
                    self.incoming.release();
                }
                () = tokio::time::sleep(self.config.idle_max), if self.waiting.is_empty() => {
                    tracing::debug!(peer = %self.peer, "closing an idle connection");
                    return Ok(());
                }
            }
        }
    }

    /// Answers what still waits, briefly.
    async fn finish(&mut self) -> Result<(), Ended> {
        self.intake.end();
        let answered = async {
            while let Some(response) = self.waiting.next().await {
                self.put_out(response?)?;
            }
            self.outgoing.flush(&self.stream, self.config.stall_max).await.map_err(Ended::from)
        };
        tokio::time::timeout(Duration::from_secs(5), answered).await.unwrap_or(Ok(()))
    }

    /// Reads what is there, as far as it may. False when the client has ended the connection.
    fn read(&mut self) -> io::Result<bool> {
        loop {
            let allowed = self.intake.allowance(&self.incoming);
            if allowed == 0 {
                return Ok(true);
            }
            let read = |room: &mut BytesMut| self.stream.try_read_buf(&mut room.limit(allowed));
            let read = match self.incoming.read(read) {
                Ok(0) => return Ok(false),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if !self.incoming.wants_more(read) {
                return Ok(true);
            }
        }
    }

    fn has_room(&self) -> bool {
        self.waiting.len() < self.config.in_flight_max
            && self.asked_bytes < self.config.in_flight_bytes_max
            && self.outgoing.bytes() + self.held_bytes < self.config.answer_bytes_max
    }

    /// Takes the requests that are there, as far as their answers find room: a client that only sends and never reads
    /// takes no more of this process than that.
    fn take_frames(&mut self) -> Result<(), Ended> {
        while self.has_room() && self.incoming.has_frame()? {
            let Some(held) = self.incoming.front().and_then(|front| self.intake.admit(&front)) else {
                return Ok(());
            };
            let Some(frame) = self.incoming.take_frame()? else { return Ok(()) };
            let length = frame.len();
            let request = RequestFrame::parse(frame);
            if let Some(proof) = self.proof.take()
                && !request
                    .as_ref()
                    .is_ok_and(|request| request.client_id.as_deref() == Some(proof.client_id))
            {
                return Err(Ended::Stranger);
            }
            let reply = match request {
                Ok(request) => self.handler.handle(request, self.peer),
                Err(error) => self.handler.handle_unreadable(error),
            };
            match reply? {
                Reply::None => {}
                Reply::Close => return Err(Ended::Unacknowledged),
                Reply::Now(response) if self.waiting.is_empty() => self.outgoing.push(response),
                Reply::Now(response) => {
                    self.held_bytes += response.len();
                    let holds = Holds { ready: true, asked_bytes: 0 };
                    self.waiting.push_back(async move { Ok((response, holds)) }.boxed());
                }
                Reply::Later(response) => {
                    self.asked_bytes += length;
                    let holds = Holds { ready: false, asked_bytes: length };
                    let answer = async move {
                        let response = response.await?;
                        drop(held);
                        Ok((response, holds))
                    };
                    self.waiting.push_back(answer.boxed());
                }
            }
        }
        Ok(())
    }

    /// Takes answers that are ready without waiting for more, so that they share a write.
    fn take_finished(&mut self) -> Result<(), Ended> {
        while let Some(Some(response)) = self.waiting.next().now_or_never() {
            self.put_out(response?)?;
        }
        Ok(())
    }

    fn put_out(&mut self, (response, held): (Response, Holds)) -> Result<(), Ended> {
        if held.ready {
            self.held_bytes -= response.len();
        }
        self.asked_bytes -= held.asked_bytes;
        if response.closes() {
            return Err(Ended::Unacknowledged);
        }
        self.outgoing.push(response);
        Ok(())
    }
}

async fn late(proof: Option<Proof>) {
    match proof {
        Some(proof) => tokio::time::sleep_until(proof.until).await,
        None => std::future::pending().await,
    }
}

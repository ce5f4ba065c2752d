use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::{Buf, BytesMut};
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesOrdered};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use wire::{FRAME_BYTES_MIN, FrameError, RequestFrame};

use crate::{Handler, Reply, Response, ServerConfig, low_water::LowWater, outgoing::Outgoing};

/// One client's connection to a server.
pub(crate) struct Connection<H> {
    stream: TcpStream,
    peer: SocketAddr,
    config: Arc<ServerConfig>,
    handler: H,
    incoming: BytesMut,
    /// The size of the last frame: the next read makes room for one like it.
    frame_bytes_last: usize,
    /// How much is read at once, at least.
    read_room: usize,
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

/// Room for a read when nothing is known yet.
const READ_BYTES: usize = 64 << 10;
/// What it grows to while the reads fill it.
const READ_BYTES_MAX: usize = 256 << 10;
/// Room is made for a large frame at once up to this; beyond, it grows as the bytes come.
const READ_AHEAD_BYTES_MAX: usize = 4 << 20;

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
    #[error("a request claims {claimed} bytes, allowed are {FRAME_BYTES_MIN} to {max}")]
    Length { claimed: i32, max: usize },
}

impl<H: Handler> Connection<H> {
    pub(crate) fn new(stream: TcpStream, peer: SocketAddr, config: Arc<ServerConfig>, handler: H) -> Self {
        Self {
            stream,
            peer,
            config,
            handler,
            incoming: BytesMut::new(),
            frame_bytes_last: 0,
            read_room: READ_BYTES,
            low_water: LowWater::default(),
            waiting: FuturesOrdered::new(),
            outgoing: Outgoing::default(),
            held_bytes: 0,
            asked_bytes: 0,
        }
    }

    pub(crate) async fn run(mut self, stop: CancellationToken) {
        if let Err(error) = self.stream.set_nodelay(true) {
            tracing::debug!(peer = %self.peer, %error, "TCP_NODELAY was not set");
        }
        match self.serve(stop).await {
            Ok(()) => {}
            Err(error @ (Ended::Io(_) | Ended::Unacknowledged)) => {
                tracing::debug!(peer = %self.peer, %error, "connection ended");
            }
            Err(error) => {
                metrics::counter!("anabranch_kafka_bad_requests_total").increment(1);
                tracing::warn!(peer = %self.peer, %error, "closing the connection");
            }
        }
    }

    async fn serve(&mut self, stop: CancellationToken) -> Result<(), Ended> {
        loop {
            tokio::select! {
                biased;
                flushed = self.outgoing.flush(&self.stream, self.config.stall_max) => flushed?,
                () = stop.cancelled() => return self.finish().await,
            }
            let has_room = self.has_room();
            if has_room && self.has_frame()? {
                // More than one turn's worth was pipelined; others get their turn, too.
                tokio::task::yield_now().await;
                self.take_frames()?;
                continue;
            }
            tokio::select! {
                biased;
                Some(response) = self.waiting.next(), if !self.waiting.is_empty() => {
                    self.put_out(response?)?;
                    self.take_finished()?;
                }
                readable = self.stream.readable(), if has_room => {
                    readable?;
                    if !self.read()? {
                        return self.finish().await;
                    }
                    self.take_frames()?;
                    self.low_water.wait_for(&self.stream, self.frame_rest());
                }
                // What was asked is answered; nothing new is taken.
                () = stop.cancelled() => return self.finish().await,
                // An idle connection holds no buffer; a busy one uses its own again, whose pages are there already.
                () = tokio::time::sleep(BUFFER_KEPT), if self.holds_idle_buffer() => {
                    self.incoming = BytesMut::new();
                    self.frame_bytes_last = 0;
                    self.read_room = READ_BYTES;
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
        let answered = async {
            while let Some(response) = self.waiting.next().await {
                self.put_out(response?)?;
            }
            self.outgoing.flush(&self.stream, self.config.stall_max).await.map_err(Ended::from)
        };
        tokio::time::timeout(Duration::from_secs(5), answered).await.unwrap_or(Ok(()))
    }

    /// Reads what is there. False when the client has ended the connection.
    fn read(&mut self) -> io::Result<bool> {
        loop {
            let missing = self.frame_bytes_missing();
            // What a client only claims takes no memory: the room doubles with what has come, unless this client has
            // sent as large a frame before.
            let earned = self.read_room.max(self.incoming.len()).max(self.frame_bytes_last);
            let room = missing.clamp(self.read_room, earned.min(READ_AHEAD_BYTES_MAX));
            self.incoming.reserve(room);
            let read = match self.stream.try_read_buf(&mut self.incoming) {
                Ok(0) => return Ok(false),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if self.incoming.len() == self.incoming.capacity() {
                // There was more than fitted: a client that pipelines is read in larger pieces.
                self.read_room = (self.read_room * 2).min(READ_BYTES_MAX);
            }
            // A whole large frame is worth another read before anything is done with it.
            if self.frame_bytes_missing() == 0 || self.incoming.len() < READ_BYTES || read < READ_BYTES {
                return Ok(true);
            }
        }
    }

    /// How many bytes of the frame that has begun are not here yet; a guess while not even its length is.
    fn frame_bytes_missing(&self) -> usize {
        match self.claimed_length() {
            None => self.frame_bytes_last,
            Some(claimed) => {
                let claimed = usize::try_from(claimed).unwrap_or(0).min(self.config.request_bytes_max);
                (claimed + 4).saturating_sub(self.incoming.len())
            }
        }
    }

    /// How many bytes are missing of a frame whose length is known.
    fn frame_rest(&self) -> usize {
        if self.claimed_length().is_some() { self.frame_bytes_missing() } else { 0 }
    }

    fn claimed_length(&self) -> Option<i32> {
        self.incoming.first_chunk::<4>().map(|b| i32::from_be_bytes(*b))
    }

    /// The length of the frame that stands whole at the front of what was read.
    fn frame(&self) -> Result<Option<usize>, Ended> {
        let Some(claimed) = self.claimed_length() else { return Ok(None) };
        let max = self.config.request_bytes_max;
        let length = usize::try_from(claimed)
            .ok()
            .filter(|l| (FRAME_BYTES_MIN..=max).contains(l))
            .ok_or(Ended::Length { claimed, max })?;
        Ok((self.incoming.len() >= length + 4).then_some(length))
    }

    fn holds_idle_buffer(&self) -> bool {
        self.incoming.is_empty() && self.incoming.capacity() > 0
    }

    fn has_room(&self) -> bool {
        self.waiting.len() < self.config.in_flight_max
            && self.asked_bytes < self.config.in_flight_bytes_max
            && self.outgoing.bytes() + self.held_bytes < self.config.answer_bytes_max
    }

    fn has_frame(&self) -> Result<bool, Ended> {
        Ok(self.frame()?.is_some())
    }

    /// Takes the requests that are there, as far as their answers find room: a client that only sends and never reads
    /// takes no more of this process than that.
    fn take_frames(&mut self) -> Result<(), Ended> {
        while let Some(length) = self.frame()? {
            if !self.has_room() {
                return Ok(());
            }
            self.incoming.advance(4);
            self.frame_bytes_last = length + 4;
            let frame = self.incoming.split_to(length).freeze();
            let reply = match RequestFrame::parse(frame) {
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
                    self.waiting.push_back(async move { Ok((response.await?, holds)) }.boxed());
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

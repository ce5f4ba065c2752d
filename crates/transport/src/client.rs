use std::{
    collections::{HashMap, VecDeque},
    io::{self, IoSlice},
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, oneshot},
    time::Instant,
};
use tokio_util::sync::{CancellationToken, DropGuard};
use wire::{ApiKey, FrameError, Request, RequestFrame, StrBytes, messages::ApiVersionsRequest};

use crate::{incoming::READ_BYTES, low_water::LowWater};

/// Why a call has no answer. The difference decides what may be tried again.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CallError {
    /// It never left; it was not carried out.
    #[error("{address} was not reached: {reason}")]
    NotSent { address: String, reason: String },
    /// It may or may not have been carried out.
    #[error("the answer of {address} was lost: {reason}")]
    Lost { address: String, reason: String },
    /// The other side does not speak a version of this API that we do.
    #[error("{address} speaks no common version of {api:?}")]
    Unsupported { address: String, api: ApiKey },
    /// The request cannot be encoded, or the answer not be read.
    #[error("{0}")]
    Broken(#[from] FrameError),
}

/// One pipelined connection, shared by its clones; it ends with the last of them and of the [`Pending`] answers.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    address: String,
    client_id: StrBytes,
    versions: HashMap<i16, (i16, i16)>,
    next_id: AtomicI32,
    requests: mpsc::Sender<Outbound>,
    answers: Arc<Mutex<Answers>>,
    _ends_reading: DropGuard,
}

/// An answer to come. Dropped before its request's first byte has left, the request never leaves.
pub struct Pending<R> {
    answer: PendingFrame,
    version: i16,
    of: PhantomData<fn() -> R>,
}

/// An answer to come, as the frame that it is.
pub struct PendingFrame {
    client: Client,
    id: i32,
    answered: oneshot::Receiver<Result<Bytes, String>>,
    was_begun: oneshot::Receiver<()>,
}

#[derive(Default)]
struct Answers {
    waiting: HashMap<i32, oneshot::Sender<Result<Bytes, String>>>,
    /// Why the connection ended.
    ended: Option<String>,
}

struct Outbound {
    pieces: VecDeque<Bytes>,
    begun: oneshot::Sender<()>,
}

const CONNECT_MAX: Duration = Duration::from_secs(3);
/// A connection whose other side acknowledges nothing for so long has ended (RFC 5482).
const UNACKNOWLEDGED_MS_MAX: u32 = 5_000;
/// The longest answer that is taken.
const ANSWER_BYTES_MAX: usize = 512 << 20;
/// More slices than this are not written by one call.
const SLICES_MAX: usize = 64;

impl Client {
    /// Connects, and asks what the server speaks. `client_id` is how this process shows itself to it.
    pub async fn connect(address: &str, client_id: &StrBytes) -> Result<Self, CallError> {
        let not_sent = |reason: String| CallError::NotSent { address: address.to_owned(), reason };
        let stream = tokio::time::timeout(CONNECT_MAX, TcpStream::connect(address))
            .await
            .map_err(|_| not_sent("no connection in time".to_owned()))?
            .map_err(|e| not_sent(e.to_string()))?;
        stream.set_nodelay(true).map_err(|e| not_sent(e.to_string()))?;
        // After a network partition a connection would wait for the kernel's next retransmission, perhaps for a minute.
        rustix::net::sockopt::set_tcp_user_timeout(&stream, UNACKNOWLEDGED_MS_MAX)
            .map_err(|e| not_sent(e.to_string()))?;
        let (read, write) = stream.into_split();
        let answers = Arc::new(Mutex::new(Answers::default()));
        let (requests, outbound) = mpsc::channel(1_024);
        let dropped = CancellationToken::new();
        tokio::spawn(write_requests(write, outbound, answers.clone()));
        tokio::spawn(read_answers(read, answers.clone(), dropped.clone()));
        let shared = Shared {
            address: address.to_owned(),
            // It may be a part of a request's buffer, which would stay for as long as the connection.
            client_id: StrBytes::from_string(client_id.to_string()),
            versions: HashMap::new(),
            next_id: AtomicI32::new(0),
            requests,
            answers,
            _ends_reading: dropped.drop_guard(),
        };
        let greeting = Self { shared: Arc::new(shared) };
        let versions = greeting.ask_versions().await.map_err(|e| not_sent(e.to_string()))?;
        let mut shared = Arc::into_inner(greeting.shared)
            .ok_or_else(|| not_sent("its first answer is still waited for".to_owned()))?;
        shared.versions = versions;
        Ok(Self { shared: Arc::new(shared) })
    }

    async fn ask_versions(&self) -> Result<HashMap<i16, (i16, i16)>, CallError> {
        let id = self.next_id();
        let frame = wire::encode_request(&ApiVersionsRequest::default(), 0, id, &self.shared.client_id)?;
        let pending = self.send(id, VecDeque::from([frame])).await?;
        let answer = pending.answer(Instant::now() + CONNECT_MAX).await?;
        let answer = wire::decode_response::<ApiVersionsRequest>(answer, 0)?;
        Ok(answer.api_keys.iter().map(|k| (k.api_key, (k.min_version, k.max_version))).collect())
    }

    /// Whether it is of no use any more.
    pub fn has_ended(&self) -> bool {
        self.shared.answers.lock().ended.is_some()
    }

    pub(crate) fn is(&self, other: &Client) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Puts the request behind those that were begun on this connection before, in the newest version up to
    /// `version_max` that both sides speak. Its placeholders stand for `slices`, in their order. Waits only while very many
    /// requests have not left yet.
    pub async fn begin<R: Request>(
        &self,
        request: &R,
        version_max: i16,
        slices: Vec<Bytes>,
    ) -> Result<Pending<R>, CallError> {
        let version = self.version::<R>(version_max)?;
        let id = self.next_id();
        let client_id = &self.shared.client_id;
        let pieces = match slices.is_empty() {
            true => VecDeque::from([wire::encode_request(request, version, id, client_id)?]),
            false => {
                let encoded = wire::encode_request_around(request, version, id, client_id)?;
                let mut pieces = VecDeque::with_capacity(slices.len() * 2 + 1);
                let (mut rest, mut at) = (encoded.bytes, 0);
                for (cut, slice) in encoded.cuts.iter().zip(slices) {
                    pieces.extend([rest.split_to(cut.at - at), slice]);
                    at = cut.at;
                }
                pieces.push_back(rest);
                pieces
            }
        };
        let answer = self.send(id, pieces).await?;
        Ok(Pending { answer, version, of: PhantomData })
    }

    /// Hands a request on in its own version and under its client's id. The answer is one to the same version.
    pub async fn forward(&self, frame: &RequestFrame) -> Result<PendingFrame, CallError> {
        let theirs = self.shared.versions.get(&(frame.api as i16));
        if !theirs.is_some_and(|(min, max)| (*min..=*max).contains(&frame.version)) {
            return Err(self.unsupported(frame.api));
        }
        let id = self.next_id();
        let head = wire::encode_forwarded(frame, id)?;
        self.send(id, VecDeque::from([head, frame.body.clone()])).await
    }

    fn next_id(&self) -> i32 {
        self.shared.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// The newest version that both sides speak, up to `most`.
    fn version<R: Request>(&self, most: i16) -> Result<i16, CallError> {
        let ours = wire::spoken(R::KEY);
        let theirs = self.shared.versions.get(&R::KEY);
        let common =
            ours.zip(theirs).map(|(ours, (min, max))| (ours.min.max(*min), ours.max.min(*max).min(most)));
        common
            .filter(|(min, max)| min <= max)
            .map(|(_, max)| max)
            .ok_or_else(|| self.unsupported(ApiKey::try_from(R::KEY).unwrap_or(ApiKey::ApiVersions)))
    }

    fn unsupported(&self, api: ApiKey) -> CallError {
        CallError::Unsupported { address: self.shared.address.clone(), api }
    }

    fn not_sent(&self, reason: &str) -> CallError {
        CallError::NotSent { address: self.shared.address.clone(), reason: reason.to_owned() }
    }

    async fn send(&self, id: i32, pieces: VecDeque<Bytes>) -> Result<PendingFrame, CallError> {
        let (answer, answered) = oneshot::channel();
        let (begun, was_begun) = oneshot::channel();
        {
            let mut answers = self.shared.answers.lock();
            if let Some(reason) = &answers.ended {
                return Err(self.not_sent(reason));
            }
            answers.waiting.insert(id, answer);
        }
        let pending = PendingFrame { client: self.clone(), id, answered, was_begun };
        match self.shared.requests.send(Outbound { pieces, begun }).await {
            Ok(()) => Ok(pending),
            Err(_) => Err(self.not_sent("the connection ended")),
        }
    }
}

impl<R: Request> Pending<R> {
    /// Waits for the answer, until then.
    pub async fn answer(self, deadline: Instant) -> Result<R::Response, CallError> {
        let frame = self.answer.answer(deadline).await?;
        Ok(wire::decode_response::<R>(frame, self.version)?)
    }
}

impl PendingFrame {
    /// Waits for the answer, until then.
    pub async fn answer(mut self, deadline: Instant) -> Result<Bytes, CallError> {
        let outcome = tokio::time::timeout_at(deadline, &mut self.answered).await;
        let reason = match outcome {
            Ok(Ok(Ok(bytes))) => return Ok(bytes),
            Ok(Ok(Err(reason))) => reason,
            Ok(Err(_)) => "the connection ended".to_owned(),
            Err(_) => "no answer in time".to_owned(),
        };
        match self.has_begun() {
            true => Err(CallError::Lost { address: self.client.shared.address.clone(), reason }),
            false => Err(self.client.not_sent(&reason)),
        }
    }

    /// Whether its first byte may have left, which decides what the caller may do. If not, it never will.
    fn has_begun(&mut self) -> bool {
        if self.was_begun.try_recv().is_ok() {
            return true;
        }
        self.was_begun.close();
        self.was_begun.try_recv().is_ok()
    }
}

impl Drop for PendingFrame {
    /// Takes the entry out when the caller goes away, answered or not.
    fn drop(&mut self) {
        self.client.shared.answers.lock().waiting.remove(&self.id);
    }
}

fn end(answers: &Mutex<Answers>, reason: &str) {
    let mut answers = answers.lock();
    answers.ended.get_or_insert_with(|| reason.to_owned());
    for (_, waiting) in answers.waiting.drain() {
        let _ = waiting.send(Err(reason.to_owned()));
    }
}

async fn write_requests(
    mut write: OwnedWriteHalf,
    mut outbound: mpsc::Receiver<Outbound>,
    answers: Arc<Mutex<Answers>>,
) {
    while let Some(Outbound { pieces, begun }) = outbound.recv().await {
        // Whoever gave up before the first byte left is told the truth: it was not sent.
        if begun.send(()).is_err() {
            continue;
        }
        if let Err(error) = write_all(&mut write, pieces).await {
            end(&answers, &error.to_string());
            return;
        }
    }
    // Everybody let go of this connection: the server is told by the end of the stream.
    let _ = write.shutdown().await;
}

async fn write_all(write: &mut OwnedWriteHalf, mut pieces: VecDeque<Bytes>) -> io::Result<()> {
    while !pieces.is_empty() {
        let slices: Vec<IoSlice<'_>> = pieces.iter().take(SLICES_MAX).map(|p| IoSlice::new(p)).collect();
        let mut written = match write.write_vectored(&slices).await? {
            0 if slices.iter().any(|s| !s.is_empty()) => return Err(io::ErrorKind::WriteZero.into()),
            written => written,
        };
        while let Some(first) = pieces.front_mut() {
            if written < first.len() {
                first.advance(written);
                break;
            }
            written -= first.len();
            pieces.pop_front();
        }
    }
    Ok(())
}

async fn read_answers(mut read: OwnedReadHalf, answers: Arc<Mutex<Answers>>, dropped: CancellationToken) {
    let (mut incoming, mut low_water) = (BytesMut::new(), LowWater::default());
    let reason = loop {
        let frame = tokio::select! {
            frame = next_frame(&mut read, &mut incoming, &mut low_water) => frame,
            // Nobody waits for anything any more; the server may be one that never ends.
            () = dropped.cancelled() => return,
        };
        let frame = match frame {
            Ok(Some(frame)) => frame,
            Ok(None) => break "the server ended the connection".to_owned(),
            Err(error) => break error.to_string(),
        };
        let Some(id) = frame.first_chunk::<4>().map(|b| i32::from_be_bytes(*b)) else {
            break "an answer is too short for a header".to_owned();
        };
        // Nobody waits any more for an answer that came too late.
        if let Some(waiting) = answers.lock().waiting.remove(&id) {
            let _ = waiting.send(Ok(frame));
        }
    };
    end(&answers, &reason);
}

async fn next_frame(
    read: &mut OwnedReadHalf,
    incoming: &mut BytesMut,
    low_water: &mut LowWater,
) -> io::Result<Option<Bytes>> {
    loop {
        let length = incoming.first_chunk::<4>().map(|b| i32::from_be_bytes(*b));
        let missing = match length {
            None => READ_BYTES,
            Some(claimed) => {
                let length =
                    usize::try_from(claimed).ok().filter(|l| *l <= ANSWER_BYTES_MAX).ok_or_else(|| {
                        io::Error::new(
                            io::ErrorKind::InvalidData,
                            format!("an answer claims {claimed} bytes"),
                        )
                    })?;
                if incoming.len() >= length + 4 {
                    incoming.advance(4);
                    let frame = incoming.split_to(length).freeze();
                    if incoming.is_empty() && length > READ_BYTES {
                        // What is left of the buffer would keep the answer in memory until the next one comes.
                        *incoming = BytesMut::new();
                    }
                    return Ok(Some(frame));
                }
                length + 4 - incoming.len()
            }
        };
        low_water.wait_for(read.as_ref(), if length.is_some() { missing } else { 0 });
        incoming.reserve(missing.clamp(READ_BYTES, 4 << 20));
        if read.read_buf(incoming).await? == 0 {
            return Ok(None);
        }
    }
}

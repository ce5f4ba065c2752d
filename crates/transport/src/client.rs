use std::{
    collections::HashMap,
    io,
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
};
use wire::{ApiKey, FrameError, Request, StrBytes, messages::ApiVersionsRequest};

use crate::low_water::LowWater;

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

/// Connections to servers, made on demand and made anew after a failure.
#[derive(Clone)]
pub struct ClientPool {
    shared: Arc<Shared>,
}

struct Shared {
    client_id: StrBytes,
    connections: Mutex<HashMap<String, Arc<Slot>>>,
}

/// The connection to one address; whoever holds the lock may be making it.
type Slot = tokio::sync::Mutex<Option<Arc<Client>>>;

/// One pipelined connection.
struct Client {
    address: String,
    versions: HashMap<i16, (i16, i16)>,
    next_id: AtomicI32,
    requests: mpsc::Sender<Outbound>,
    answers: Arc<Mutex<Answers>>,
}

#[derive(Default)]
struct Answers {
    waiting: HashMap<i32, oneshot::Sender<Result<Bytes, String>>>,
    /// Why the connection ended.
    ended: Option<String>,
}

struct Outbound {
    frame: Bytes,
    begun: oneshot::Sender<()>,
}

const CONNECT_MAX: Duration = Duration::from_secs(3);
/// A connection whose other side acknowledges nothing for so long has ended (RFC 5482).
const UNACKNOWLEDGED_MS_MAX: u32 = 5_000;
/// The longest answer that is taken.
const ANSWER_BYTES_MAX: usize = 512 << 20;

impl ClientPool {
    /// `client_id` is how this process shows itself to the servers.
    pub fn new(client_id: &str) -> Self {
        let client_id = StrBytes::from_string(client_id.to_owned());
        Self { shared: Arc::new(Shared { client_id, connections: Mutex::default() }) }
    }

    /// Sends the request to `host:port` and waits for its answer, for as long as is given. Calls to one address share
    /// a connection and do not wait for each other.
    pub async fn call<R: Request>(
        &self,
        address: &str,
        request: R,
        within: Duration,
    ) -> Result<R::Response, CallError> {
        self.call_up_to(address, request, i16::MAX, within).await
    }

    /// As [`ClientPool::call`], in no version above `version_max`: where a newer one would say things in another way
    /// (topic ids instead of names).
    pub async fn call_up_to<R: Request>(
        &self,
        address: &str,
        request: R,
        version_max: i16,
        within: Duration,
    ) -> Result<R::Response, CallError> {
        let deadline = tokio::time::Instant::now() + within;
        let not_sent = |reason: String| CallError::NotSent { address: address.to_owned(), reason };
        let client = tokio::time::timeout_at(deadline, self.client(address))
            .await
            .map_err(|_| not_sent("no connection in time".to_owned()))??;
        let version = client.version::<R>(version_max)?;
        let id = client.next_id.fetch_add(1, Ordering::Relaxed);
        let frame = wire::encode_request(&request, version, id, &self.shared.client_id)?;
        let answer = client.exchange(id, frame, deadline).await;
        if answer.is_err() {
            self.forget_ended(address, &client);
        }
        Ok(wire::decode_response::<R>(answer?, version)?)
    }

    async fn client(&self, address: &str) -> Result<Arc<Client>, CallError> {
        let slot = self.shared.connections.lock().entry(address.to_owned()).or_default().clone();
        let mut slot = slot.lock().await;
        if let Some(client) = slot.as_ref().filter(|c| c.answers.lock().ended.is_none()) {
            return Ok(client.clone());
        }
        *slot = None;
        let client = Arc::new(Client::connect(address, &self.shared.client_id).await?);
        *slot = Some(client.clone());
        Ok(client)
    }

    /// Leaves no entry behind for an address that is gone.
    fn forget_ended(&self, address: &str, client: &Arc<Client>) {
        if client.answers.lock().ended.is_none() {
            return;
        }
        let mut connections = self.shared.connections.lock();
        let same = connections.get(address).is_some_and(|slot| {
            slot.try_lock().is_ok_and(|held| held.as_ref().is_some_and(|c| Arc::ptr_eq(c, client)))
        });
        if same {
            connections.remove(address);
        }
    }
}

impl Client {
    async fn connect(address: &str, client_id: &StrBytes) -> Result<Self, CallError> {
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
        tokio::spawn(write_requests(write, outbound, answers.clone()));
        tokio::spawn(read_answers(read, answers.clone()));
        let mut client = Self {
            address: address.to_owned(),
            versions: HashMap::new(),
            next_id: AtomicI32::new(1),
            requests,
            answers,
        };
        client.versions = client.ask_versions(client_id).await.map_err(|e| not_sent(e.to_string()))?;
        Ok(client)
    }

    async fn ask_versions(&self, client_id: &StrBytes) -> Result<HashMap<i16, (i16, i16)>, CallError> {
        let frame = wire::encode_request(&ApiVersionsRequest::default(), 0, 0, client_id)?;
        let answer = self.exchange(0, frame, tokio::time::Instant::now() + CONNECT_MAX).await?;
        let answer = wire::decode_response::<ApiVersionsRequest>(answer, 0)?;
        Ok(answer.api_keys.iter().map(|k| (k.api_key, (k.min_version, k.max_version))).collect())
    }

    /// The newest version that both sides speak, up to `most`.
    fn version<R: Request>(&self, most: i16) -> Result<i16, CallError> {
        let ours = wire::spoken(R::KEY);
        let theirs = self.versions.get(&R::KEY);
        let common =
            ours.zip(theirs).map(|(ours, (min, max))| (ours.min.max(*min), ours.max.min(*max).min(most)));
        common.filter(|(min, max)| min <= max).map(|(_, max)| max).ok_or_else(|| CallError::Unsupported {
            address: self.address.clone(),
            api: ApiKey::try_from(R::KEY).unwrap_or(ApiKey::ApiVersions),
        })
    }

    async fn exchange(
        &self,
        id: i32,
        frame: Bytes,
        deadline: tokio::time::Instant,
    ) -> Result<Bytes, CallError> {
        let not_sent =
            |reason: &str| CallError::NotSent { address: self.address.clone(), reason: reason.to_owned() };
        let lost =
            |reason: &str| CallError::Lost { address: self.address.clone(), reason: reason.to_owned() };
        let (answer, mut answered) = oneshot::channel();
        let (begun, mut was_begun) = oneshot::channel();
        {
            let mut answers = self.answers.lock();
            if let Some(reason) = &answers.ended {
                return Err(not_sent(reason));
            }
            answers.waiting.insert(id, answer);
        }
        let _forget = Forget { answers: &self.answers, id };
        match tokio::time::timeout_at(deadline, self.requests.send(Outbound { frame, begun })).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(not_sent("the connection ended")),
            Err(_) => return Err(not_sent("the connection is congested")),
        }
        let outcome = tokio::time::timeout_at(deadline, &mut answered).await;
        let reason = match outcome {
            Ok(Ok(Ok(bytes))) => return Ok(bytes),
            Ok(Ok(Err(reason))) => reason,
            Ok(Err(_)) => "the connection ended".to_owned(),
            Err(_) => "no answer in time".to_owned(),
        };
        // Whether its first byte may have left decides what the caller may do.
        match was_begun.try_recv() {
            Ok(()) => Err(lost(&reason)),
            Err(_) => {
                was_begun.close();
                match was_begun.try_recv() {
                    Ok(()) => Err(lost(&reason)),
                    Err(_) => Err(not_sent(&reason)),
                }
            }
        }
    }
}

/// Takes a call's entry out when the caller goes away, answered or not.
struct Forget<'a> {
    answers: &'a Mutex<Answers>,
    id: i32,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.answers.lock().waiting.remove(&self.id);
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
    while let Some(Outbound { frame, begun }) = outbound.recv().await {
        // Whoever gave up before the first byte left is told the truth: it was not sent.
        if begun.send(()).is_err() {
            continue;
        }
        if let Err(error) = write.write_all(&frame).await {
            end(&answers, &error.to_string());
            return;
        }
    }
    // The pool let go of this connection: the server is told by the end of the stream.
    let _ = write.shutdown().await;
}

async fn read_answers(mut read: OwnedReadHalf, answers: Arc<Mutex<Answers>>) {
    let (mut incoming, mut low_water) = (BytesMut::new(), LowWater::default());
    let reason = loop {
        let frame = match next_frame(&mut read, &mut incoming, &mut low_water).await {
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
            None => 64 << 10,
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
                    return Ok(Some(incoming.split_to(length).freeze()));
                }
                length + 4 - incoming.len()
            }
        };
        low_water.wait_for(read.as_ref(), if length.is_some() { missing } else { 0 });
        incoming.reserve(missing.clamp(64 << 10, 4 << 20));
        if read.read_buf(incoming).await? == 0 {
            return Ok(None);
        }
    }
}

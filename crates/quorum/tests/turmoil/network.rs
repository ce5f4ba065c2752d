use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use quorum::{Member, PeerError, Peers, Quorum, RaftId, RaftRpc};
use tokio::sync::oneshot;
use turmoil::net::UdpSocket;

/// Each message is one datagram, so that each can be lost, late or overtaken by itself.
pub(crate) struct Wire {
    socket: UdpSocket,
    waiting: Mutex<Waiting>,
}

struct Waiting {
    next_call: u64,
    answers: BTreeMap<u64, oneshot::Sender<Result<Vec<u8>, String>>>,
}

const PORT: u16 = 9_093;
const DATAGRAM_BYTES_MAX: usize = 4 << 20;
/// A lost snapshot is as if its connection had broken: nobody waits the minute that a large one may take.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(2);
const HEADER_BYTES: usize = 17;

#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    AppendEntries,
    Vote,
    InstallSnapshot,
    Join,
    Answer,
    Refusal,
}

const KINDS: [Kind; 6] =
    [Kind::AppendEntries, Kind::Vote, Kind::InstallSnapshot, Kind::Join, Kind::Answer, Kind::Refusal];

pub(crate) fn host(ordinal: u32) -> String {
    format!("controller-{ordinal}")
}

pub(crate) fn address(ordinal: u32) -> String {
    format!("{}:{PORT}", host(ordinal))
}

impl Wire {
    /// `incarnation` keeps answers to an earlier one apart.
    pub(crate) async fn bind(incarnation: u32) -> std::io::Result<Arc<Self>> {
        let socket = UdpSocket::bind(("0.0.0.0", PORT)).await?;
        let waiting = Waiting { next_call: u64::from(incarnation) << 32, answers: BTreeMap::new() };
        Ok(Arc::new(Self { socket, waiting: Mutex::new(waiting) }))
    }

    fn send(
        &self,
        to: impl turmoil::ToSocketAddrs,
        kind: Kind,
        call: u64,
        target: RaftId,
        payload: &[u8],
    ) -> Result<(), PeerError> {
        let mut datagram = Vec::with_capacity(HEADER_BYTES + payload.len());
        datagram.push(kind as u8);
        datagram.extend(call.to_be_bytes());
        datagram.extend(target.to_be_bytes());
        datagram.extend(payload);
        self.socket.try_send_to(&datagram, to).map(drop).map_err(|e| PeerError(e.to_string()))
    }

    async fn ask(
        &self,
        to: &str,
        kind: Kind,
        target: RaftId,
        payload: &[u8],
        within: Duration,
    ) -> Result<Vec<u8>, PeerError> {
        let (call, answered) = {
            let mut waiting = self.waiting.lock().unwrap();
            waiting.next_call += 1;
            let (answer, answered) = oneshot::channel();
            let call = waiting.next_call;
            waiting.answers.insert(call, answer);
            (call, answered)
        };
        self.send(to, kind, call, target, payload)?;
        let answer = tokio::time::timeout(within.min(ANSWER_WAIT_MAX), answered).await;
        self.waiting.lock().unwrap().answers.remove(&call);
        match answer {
            Ok(Ok(answer)) => answer.map_err(PeerError),
            Ok(Err(_)) | Err(_) => Err(PeerError("no answer in time".to_owned())),
        }
    }

    /// Asks the member at `to` to take this one in.
    pub(crate) async fn join(&self, to: &str, id: RaftId, member: &Member) -> Result<(), PeerError> {
        let payload = serde_json::to_vec(&(id, member)).unwrap();
        self.ask(to, Kind::Join, 0, &payload, ANSWER_WAIT_MAX).await.map(drop)
    }

    /// Answers the others for as long as the member lives.
    pub(crate) async fn serve(self: Arc<Self>, quorum: Arc<Quorum>) {
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        while let Ok((length, from)) = self.socket.recv_from(&mut buffer).await {
            let (header, payload) = buffer[..length].split_at(HEADER_BYTES);
            let number = |at: usize| u64::from_be_bytes(header[at..at + 8].try_into().unwrap());
            let (kind, call, target) = (KINDS[usize::from(header[0])], number(1), number(9));
            let payload = payload.to_vec();
            if matches!(kind, Kind::Answer | Kind::Refusal) {
                if let Some(waiting) = self.waiting.lock().unwrap().answers.remove(&call) {
                    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
                    // Whoever asked may have given up.
                    let _ = waiting.send(if kind == Kind::Answer { Ok(payload) } else { Err(text(payload)) });
                }
                continue;
            }
            let (wire, quorum) = (self.clone(), quorum.clone());
            tokio::spawn(async move {
                let (kind, payload) = match answer(&quorum, kind, target, &payload).await {
                    Ok(answer) => (Kind::Answer, answer),
                    Err(refusal) => (Kind::Refusal, refusal.into_bytes()),
                };
                // A datagram that cannot be sent is a lost one.
                let _ = wire.send(from, kind, call, 0, &payload);
            });
        }
    }
}

/// What the controller's gRPC service does with a raft message or a wish to join.
async fn answer(quorum: &Quorum, kind: Kind, target: RaftId, payload: &[u8]) -> Result<Vec<u8>, String> {
    let rpc = match kind {
        Kind::AppendEntries => RaftRpc::AppendEntries,
        Kind::Vote => RaftRpc::Vote,
        Kind::InstallSnapshot => RaftRpc::InstallSnapshot,
        Kind::Join | Kind::Answer | Kind::Refusal => {
            let (id, member) = serde_json::from_slice(payload).map_err(|e| e.to_string())?;
            return quorum.take_in(id, member).await.map(|()| Vec::new()).map_err(|e| e.to_string());
        }
    };
    if target != quorum.id() {
        return Err(format!("raft message is for controller {target}, this is {}", quorum.id()));
    }
    quorum.answer(rpc, payload).await.map_err(|e| e.to_string())
}

impl Peers for Wire {
    fn call(
        &self,
        target: RaftId,
        address: &str,
        rpc: RaftRpc,
        payload: Vec<u8>,
        within: Duration,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, PeerError>> + Send + '_>> {
        let address = address.to_owned();
        let kind = match rpc {
            RaftRpc::AppendEntries => Kind::AppendEntries,
            RaftRpc::Vote => Kind::Vote,
            RaftRpc::InstallSnapshot => Kind::InstallSnapshot,
        };
        Box::pin(async move { self.ask(&address, kind, target, &payload, within).await })
    }
}

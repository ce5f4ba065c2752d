use std::{future::Future, pin::Pin, sync::Arc};

use openraft::{
    RaftNetwork, RaftNetworkFactory, Snapshot,
    error::{
        Fatal, NetworkError, RPCError, RaftError, RemoteError, ReplicationClosed, StreamingError, Unreachable,
    },
    network::{Backoff, RPCOption},
    raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::types::{Member, RaftId, SnapshotMeta, Types, Vote};

/// Which raft call a payload belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RaftRpc {
    AppendEntries,
    Vote,
    InstallSnapshot,
}

/// A call that did not reach the other member, or whose answer did not come back.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct PeerError(pub String);

/// Carries raft's messages to the other members; whoever owns the network implements it.
pub trait Peers: Send + Sync + 'static {
    /// Sends one payload to the member at `address` and waits for its answer. Whoever is there under another id than
    /// `target` must not answer: a wiped member is not the one that it replaces.
    fn call(
        &self,
        target: RaftId,
        address: &str,
        rpc: RaftRpc,
        payload: Vec<u8>,
        within: std::time::Duration,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, PeerError>> + Send + '_>>;
}

/// A whole snapshot on its way.
#[derive(Serialize, Deserialize)]
pub(crate) struct SnapshotMessage {
    pub(crate) vote: Vote,
    pub(crate) meta: SnapshotMeta,
    /// The image as it is stored: JSON already, sent as the text that it is.
    pub(crate) data: String,
}

pub(crate) struct Network(pub(crate) Arc<dyn Peers>);

/// One other member.
pub(crate) struct Peer {
    peers: Arc<dyn Peers>,
    id: RaftId,
    member: Member,
}

type RpcError<E = openraft::error::Infallible> = RPCError<RaftId, Member, RaftError<RaftId, E>>;

impl RaftNetworkFactory<Types> for Network {
    type Network = Peer;

    async fn new_client(&mut self, id: RaftId, member: &Member) -> Peer {
        Peer { peers: self.0.clone(), id, member: member.clone() }
    }
}

impl Peer {
    async fn call<Q: Serialize, A: DeserializeOwned>(
        &self,
        rpc: RaftRpc,
        request: &Q,
        within: std::time::Duration,
    ) -> Result<Result<A, RaftError<RaftId>>, CallError> {
        let payload = serde_json::to_vec(request).map_err(CallError::Broken)?;
        let answer = self
            .peers
            .call(self.id, &self.member.address, rpc, payload, within)
            .await
            .map_err(CallError::Lost)?;
        serde_json::from_slice(&answer).map_err(CallError::Broken)
    }

    async fn ask<Q: Serialize, A: DeserializeOwned>(
        &self,
        rpc: RaftRpc,
        request: &Q,
        option: RPCOption,
    ) -> Result<A, RpcError> {
        match self.call(rpc, request, option.hard_ttl()).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(RPCError::RemoteError(RemoteError::new(self.id, error))),
            Err(CallError::Lost(error)) => Err(RPCError::Unreachable(Unreachable::new(&error))),
            Err(CallError::Broken(error)) => Err(RPCError::Network(NetworkError::new(&error))),
        }
    }
}

enum CallError {
    Lost(PeerError),
    Broken(serde_json::Error),
}

impl RaftNetwork<Types> for Peer {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<RaftId>, RpcError> {
        self.ask(RaftRpc::AppendEntries, &request, option).await
    }

    async fn vote(
        &mut self,
        request: VoteRequest<RaftId>,
        option: RPCOption,
    ) -> Result<VoteResponse<RaftId>, RpcError> {
        self.ask(RaftRpc::Vote, &request, option).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot<Types>,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<RaftId>, StreamingError<Types, Fatal<RaftId>>> {
        let data = String::from_utf8(*snapshot.snapshot)
            .map_err(|e| StreamingError::Network(NetworkError::new(&e.utf8_error())))?;
        let message = SnapshotMessage { vote, meta: snapshot.meta, data };
        let within = std::time::Duration::from_secs(60);
        let answer = tokio::select! {
            closed = cancel => return Err(StreamingError::Closed(closed)),
            answer = self.call(RaftRpc::InstallSnapshot, &message, within) => answer,
        };
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(RaftError::Fatal(fatal))) => {
                Err(StreamingError::RemoteError(RemoteError::new(self.id, fatal)))
            }
            Ok(Err(RaftError::APIError(never))) => match never {},
            Err(CallError::Lost(error)) => Err(StreamingError::Unreachable(Unreachable::new(&error))),
            Err(CallError::Broken(error)) => Err(StreamingError::Network(NetworkError::new(&error))),
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(std::time::Duration::from_millis(100)))
    }
}

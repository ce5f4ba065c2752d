use std::{collections::HashMap, future::Future, pin::Pin, time::Duration};

use parking_lot::Mutex;
use quorum::{PeerError, Peers, RaftId, RaftRpc};
use rpc::pb::{self, raft_service_client::RaftServiceClient};
use tonic::transport::{Channel, Endpoint};

use crate::bootstrap::Identity;

/// The other controllers, over gRPC.
#[derive(Default)]
pub(crate) struct GrpcPeers {
    channels: Mutex<HashMap<String, Channel>>,
}

/// Snapshots travel in pieces of this size.
const CHUNK_BYTES: usize = 1 << 20;
const CONNECT_MAX: Duration = Duration::from_millis(500);
const ASK_MAX: Duration = Duration::from_secs(1);

impl GrpcPeers {
    fn client(&self, address: &str) -> Result<RaftServiceClient<Channel>, PeerError> {
        let mut channels = self.channels.lock();
        let channel = match channels.get(address) {
            Some(channel) => channel.clone(),
            None => {
                let endpoint = Endpoint::from_shared(format!("http://{address}"))
                    .map_err(|e| PeerError(format!("controller address '{address}': {e}")))?;
                let channel = endpoint.connect_timeout(CONNECT_MAX).tcp_nodelay(true).connect_lazy();
                channels.insert(address.to_owned(), channel.clone());
                channel
            }
        };
        let client = RaftServiceClient::new(channel);
        Ok(client
            .max_decoding_message_size(rpc::MESSAGE_BYTES_MAX)
            .max_encoding_message_size(rpc::MESSAGE_BYTES_MAX))
    }

    /// Asks a seed who it is; `None` when it does not answer.
    pub(crate) async fn identify(&self, address: &str) -> Option<Identity> {
        let mut client = self.client(address).ok()?;
        let asked = tokio::time::timeout(ASK_MAX, client.identify(pb::IdentifyRequest {})).await.ok()?;
        let answer = asked.ok()?.into_inner();
        Some(Identity {
            raft_id: answer.raft_id,
            ordinal: answer.ordinal,
            initialized: answer.initialized,
            seeds: answer.seeds,
            leader: answer.leader,
        })
    }

    /// Asks the leader to be taken in.
    pub(crate) async fn join(
        &self,
        leader: &str,
        id: RaftId,
        ordinal: u32,
        address: &str,
    ) -> Result<(), PeerError> {
        let request = pb::JoinRequest { raft_id: id, ordinal, address: address.to_owned() };
        let mut client = self.client(leader)?;
        client.join(request).await.map(drop).map_err(|e| PeerError(e.to_string()))
    }
}

impl Peers for GrpcPeers {
    fn call(
        &self,
        target: RaftId,
        address: &str,
        rpc: RaftRpc,
        payload: Vec<u8>,
        within: Duration,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, PeerError>> + Send + '_>> {
        let client = self.client(address);
        Box::pin(async move {
            let mut client = client?;
            let message = |payload: &[u8]| pb::RaftMessage {
                format: ::rpc::FORMAT,
                payload: payload.to_vec().into(),
                target,
            };
            let asked = async {
                match rpc {
                    RaftRpc::AppendEntries => client.append_entries(message(&payload)).await,
                    RaftRpc::Vote => client.vote(message(&payload)).await,
                    RaftRpc::InstallSnapshot => {
                        let chunks: Vec<_> = payload.chunks(CHUNK_BYTES).map(message).collect();
                        client.install_snapshot(tokio_stream::iter(chunks)).await
                    }
                }
            };
            let answer = tokio::time::timeout(within, asked)
                .await
                .map_err(|_| PeerError("no answer in time".to_owned()))?
                .map_err(|status| PeerError(status.to_string()))?;
            Ok(answer.into_inner().payload.to_vec())
        })
    }
}

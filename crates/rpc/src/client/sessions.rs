use std::{collections::HashMap, time::Duration};

use group::{SessionCall, SessionError, SessionReply};
use parking_lot::Mutex;
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

use super::never_sent;
use crate::{
    sessions::{session_call_to_pb, session_outcome_from_pb},
    storage_pb::session_service_client::SessionServiceClient,
};

/// Why a coordinator's answer is not here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionCallError {
    #[error("no connection to the coordinator at {address}: {reason}")]
    NotSent { address: String, reason: String },
    /// It may have been carried out.
    #[error("the answer of the coordinator at {address} was lost: {reason}")]
    Lost { address: String, reason: String },
}

/// Speaks to the coordinators of groups, on storage nodes, about REST consumers. Connections are shared by all calls.
#[derive(Debug, Default)]
pub struct SessionClient {
    channels: Mutex<HashMap<String, Channel>>,
}

const CONNECT_MAX: Duration = Duration::from_secs(1);

impl SessionClient {
    pub fn new() -> Self {
        Self::default()
    }

    /// `address`: `host:port` of the node's gRPC.
    pub async fn call(
        &self,
        address: &str,
        call: &SessionCall,
        client_host: &str,
        within: Duration,
    ) -> Result<Result<SessionReply, SessionError>, SessionCallError> {
        let not_sent = |reason: String| SessionCallError::NotSent { address: address.to_owned(), reason };
        let lost = |reason: String| SessionCallError::Lost { address: address.to_owned(), reason };
        let channel = self.channel(address).map_err(|e| not_sent(e.to_string()))?;
        let request = session_call_to_pb(call, client_host);
        let mut client = SessionServiceClient::new(channel);
        let answered = match tokio::time::timeout(within, client.call(request)).await {
            Ok(answered) => answered,
            Err(_) => Err(Status::deadline_exceeded("it did not come in time")),
        };
        match answered {
            Ok(response) => session_outcome_from_pb(response.into_inner()).map_err(|e| lost(e.to_string())),
            Err(status) if never_sent(&status) => Err(not_sent(status.message().to_owned())),
            Err(status) => {
                // A connection whose other end is gone without a word is not waited on by the next call.
                self.channels.lock().remove(address);
                Err(lost(status.message().to_owned()))
            }
        }
    }

    fn channel(&self, address: &str) -> Result<Channel, tonic::transport::Error> {
        let mut channels = self.channels.lock();
        if let Some(channel) = channels.get(address) {
            return Ok(channel.clone());
        }
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
        let channel = endpoint.connect_timeout(CONNECT_MAX).tcp_nodelay(true).connect_lazy();
        channels.insert(address.to_owned(), channel.clone());
        Ok(channel)
    }
}

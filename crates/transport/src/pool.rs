use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::Instant;
use wire::{Request, RequestFrame, StrBytes};

use crate::{CallError, Client};

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
type Slot = tokio::sync::Mutex<Option<Client>>;

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
        let deadline = Instant::now() + within;
        let client = self.client_by(address, deadline).await?;
        let answer = async {
            let begun = tokio::time::timeout_at(deadline, client.begin(&request, version_max, Vec::new()));
            begun.await.map_err(|_| congested(address))??.answer(deadline).await
        };
        let answer = answer.await;
        self.forget_if_ended(address, &client);
        answer
    }

    /// Hands a request on as it came: in its own version, and under its client's id. The answer is one to that version.
    pub async fn forward(
        &self,
        address: &str,
        frame: &RequestFrame,
        within: Duration,
    ) -> Result<Bytes, CallError> {
        let deadline = Instant::now() + within;
        let client = self.client_by(address, deadline).await?;
        let answer = async {
            let begun = tokio::time::timeout_at(deadline, client.forward(frame));
            begun.await.map_err(|_| congested(address))??.answer(deadline).await
        };
        let answer = answer.await;
        self.forget_if_ended(address, &client);
        answer
    }

    async fn client_by(&self, address: &str, deadline: Instant) -> Result<Client, CallError> {
        tokio::time::timeout_at(deadline, self.client(address)).await.map_err(|_| CallError::NotSent {
            address: address.to_owned(),
            reason: "no connection in time".to_owned(),
        })?
    }

    async fn client(&self, address: &str) -> Result<Client, CallError> {
        let slot = self.shared.connections.lock().entry(address.to_owned()).or_default().clone();
        let mut slot = slot.lock().await;
        if let Some(client) = slot.as_ref().filter(|c| !c.has_ended()) {
            return Ok(client.clone());
        }
        *slot = None;
        let client = Client::connect(address, &self.shared.client_id).await?;
        *slot = Some(client.clone());
        Ok(client)
    }

    /// Leaves no entry behind for an address that is gone.
    fn forget_if_ended(&self, address: &str, client: &Client) {
        if !client.has_ended() {
            return;
        }
        let mut connections = self.shared.connections.lock();
        let same = connections.get(address).is_some_and(|slot| {
            slot.try_lock().is_ok_and(|held| held.as_ref().is_some_and(|c| c.is(client)))
        });
        if same {
            connections.remove(address);
        }
    }
}

fn congested(address: &str) -> CallError {
    CallError::NotSent { address: address.to_owned(), reason: "the connection is congested".to_owned() }
}

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
        self.forget_if_broken(address, &client, answer.as_ref().err());
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
        self.forget_if_broken(address, &client, answer.as_ref().err());
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

    /// Leaves no entry behind for an address that is gone, nor for a connection on which an answer did not come in time: those
    /// behind it would wait for it as well. Who waits there already goes on waiting.
    fn forget_if_broken(&self, address: &str, client: &Client, error: Option<&CallError>) {
        if !client.has_ended() && !matches!(error, Some(CallError::Lost { .. } | CallError::NotSent { .. })) {
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

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use futures_util::FutureExt;
    use tokio::net::TcpListener;
    use tokio_util::sync::CancellationToken;
    use wire::{
        ApiKey, FrameError,
        messages::{ApiVersionsResponse, FindCoordinatorRequest, FindCoordinatorResponse, ListGroupsRequest},
    };

    use super::*;
    use crate::{Handler, Reply, ServerConfig, serve};

    /// Answers everything but a list of groups, for which it waits for ever.
    struct Stuck;

    impl Handler for Stuck {
        fn handle(&self, frame: RequestFrame, _: SocketAddr) -> Result<Reply, FrameError> {
            let (version, id) = (frame.version, frame.correlation_id);
            let encoded = match frame.api {
                ApiKey::ListGroups => return Ok(Reply::Later(std::future::pending().boxed())),
                ApiKey::ApiVersions => {
                    let api = |v: &wire::ApiVersions| {
                        wire::messages::api_versions_response::ApiVersion::default()
                            .with_api_key(v.api as i16)
                            .with_min_version(v.min)
                            .with_max_version(v.max)
                    };
                    let response =
                        ApiVersionsResponse::default().with_api_keys(wire::SPOKEN.iter().map(api).collect());
                    wire::encode_response(&response, version, id)?
                }
                _ => wire::encode_response(&FindCoordinatorResponse::default(), version, id)?,
            };
            Ok(Reply::Now(encoded.into()))
        }
    }

    /// The connection stayed in the pool, and whatever came behind the answer that did not come was lost as well.
    #[tokio::test]
    async fn a_connection_without_an_answer_in_time_is_used_no_more() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let stop = CancellationToken::new();
        let config = ServerConfig {
            request_bytes_max: 1 << 20,
            idle_max: Duration::from_secs(60),
            connections_max: 16,
            reserved: None,
            in_flight_max: 16,
            in_flight_bytes_max: 1 << 20,
            requests_bytes_max: 4 << 20,
            trickle_max: Duration::from_secs(10),
            answer_bytes_max: 1 << 20,
            stall_max: Duration::from_secs(60),
        };
        let server = tokio::spawn(serve(listener, config, Arc::new(Stuck), stop.clone()));
        let pool = ClientPool::new("test");
        let lost = pool.call(&address, ListGroupsRequest::default(), Duration::from_millis(50)).await;
        assert!(matches!(lost, Err(CallError::Lost { .. })), "{lost:?}");
        let later = pool.call(&address, FindCoordinatorRequest::default(), Duration::from_secs(30)).await;
        assert!(later.is_ok(), "{later:?}");
        drop(pool);
        stop.cancel();
        server.abort();
    }
}

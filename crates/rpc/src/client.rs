mod nodes;
mod partitions;
mod sessions;

pub use sessions::{SessionCallError, SessionClient};

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use domain::{NodeId, ProducerId, TopicName};
use metadata::{ConfigChange, NodeRegistration, Refusal, RefusalKind, TopicSpec};
use parking_lot::Mutex;
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};

use crate::{
    MESSAGE_BYTES_MAX, convert, leader_hint,
    pb::{self, admin_service_client::AdminServiceClient, node_service_client::NodeServiceClient},
    refusal_of,
};

/// Why the controller did not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ControllerError {
    /// It understood and said no; nothing changed.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// No leader was reached in time; nothing was carried out.
    #[error("no controller could be reached at {seeds}: {last}")]
    Unavailable { seeds: String, last: String },
    /// An answer was lost; it may or may not have been carried out.
    #[error("the controller's answer was lost, the outcome is unknown: {0}")]
    Unknown(String),
}

/// Speaks to the controller group: finds the leader from the seeds, follows redirects, tries again within a
/// deadline.
#[derive(Clone)]
pub struct ControllerClient {
    seeds: Arc<[String]>,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    leader: Option<String>,
    next_seed: usize,
    channels: HashMap<String, Channel>,
}

/// How long one attempt may take: a leader without a quorum would hold it forever.
const ATTEMPT_MAX: Duration = Duration::from_secs(5);
const CONNECT_MAX: Duration = Duration::from_secs(1);
/// An attempt with less time than this is not begun: cut off, it would turn "nothing was carried out" into "unknown".
const ATTEMPT_MIN: Duration = Duration::from_millis(250);
const PAUSE: Duration = Duration::from_millis(50);

impl ControllerClient {
    /// `seeds`: `host:port` of each controller.
    pub fn new(seeds: impl IntoIterator<Item = String>) -> Self {
        Self { seeds: seeds.into_iter().collect(), shared: Arc::default() }
    }

    pub fn seeds(&self) -> &[String] {
        &self.seeds
    }

    /// `machine`: the Kubernetes node that it runs on, whose zone is its rack where no other is given.
    pub async fn register(
        &self,
        registration: &NodeRegistration,
        machine: Option<&str>,
        within: Duration,
    ) -> Result<pb::RegisterResponse, ControllerError> {
        let request = pb::RegisterRequest {
            kubernetes_node: machine.map(str::to_owned),
            ..convert::registration_to_pb(registration)
        };
        self.call(within, |channel| {
            let request = request.clone();
            async move { Ok(node_service(channel).register(request).await?.into_inner()) }
        })
        .await
        .map_err(Failed::into_error)
    }

    /// A block of `count` producer ids that nobody else has; the first of them.
    pub async fn allocate_producer_ids(
        &self,
        count: i32,
        within: Duration,
    ) -> Result<ProducerId, ControllerError> {
        let request = pb::AllocateProducerIdsRequest { count };
        self.call(within, |channel| async move {
            Ok(node_service(channel).allocate_producer_ids(request).await?.into_inner())
        })
        .await
        .map(|block| ProducerId(block.first))
        .map_err(Failed::into_error)
    }

    pub async fn create_topic(
        &self,
        spec: &TopicSpec,
        validate_only: bool,
        within: Duration,
    ) -> Result<pb::CreateTopicResponse, ControllerError> {
        let request = convert::topic_spec_to_pb(spec, validate_only);
        self.call(within, |channel| {
            let request = request.clone();
            async move { Ok(admin_service(channel).create_topic(request).await?.into_inner()) }
        })
        .await
        .map_err(Failed::into_error)
    }

    /// The metadata version in which the topic is gone.
    pub async fn delete_topic(&self, name: &TopicName, within: Duration) -> Result<u64, ControllerError> {
        let request = pb::DeleteTopicRequest { name: name.to_string() };
        let called = self
            .call(within, |channel| {
                let request = request.clone();
                async move { Ok(admin_service(channel).delete_topic(request).await?.into_inner().version) }
            })
            .await;
        match called {
            // The lost answer was that it is deleted.
            Err(Failed { answer_lost: true, error: ControllerError::Refused(r) })
                if r.kind == RefusalKind::UnknownTopic =>
            {
                Ok(0)
            }
            called => called.map_err(Failed::into_error),
        }
    }

    /// The metadata version that has the new partitions.
    pub async fn add_partitions(
        &self,
        topic: &TopicName,
        count: i32,
        assignments: &[Vec<NodeId>],
        validate_only: bool,
        within: Duration,
    ) -> Result<u64, ControllerError> {
        let assignments = convert::assignments_to(assignments);
        let request =
            pb::AddPartitionsRequest { topic: topic.to_string(), count, assignments, validate_only };
        let called = self
            .call(within, |channel| {
                let request = request.clone();
                async move { Ok(admin_service(channel).add_partitions(request).await?.into_inner().version) }
            })
            .await;
        called.map_err(Failed::into_definite_error)
    }

    /// The metadata version that has the new settings. `topic: None` changes the defaults of all topics.
    pub async fn alter_configs(
        &self,
        topic: Option<&TopicName>,
        changes: &[ConfigChange],
        validate_only: bool,
        within: Duration,
    ) -> Result<u64, ControllerError> {
        let request = pb::AlterConfigsRequest {
            topic: topic.map(ToString::to_string),
            changes: changes.iter().map(convert::config_change_to_pb).collect(),
            validate_only,
        };
        self.call(within, |channel| {
            let request = request.clone();
            async move { Ok(admin_service(channel).alter_configs(request).await?.into_inner().version) }
        })
        .await
        .map_err(Failed::into_error)
    }

    /// The topic as the leader has it now.
    pub async fn describe_topic(
        &self,
        name: &TopicName,
        within: Duration,
    ) -> Result<metadata::TopicDelta, ControllerError> {
        let request = pb::DescribeTopicRequest { name: name.to_string() };
        let answer = self
            .call(within, |channel| {
                let request = request.clone();
                async move { Ok(admin_service(channel).describe_topic(request).await?.into_inner()) }
            })
            .await
            .map_err(Failed::into_error)?;
        let topic = answer.topic.ok_or_else(|| unreadable(&"no topic in it"))?;
        convert::topic_from_pb(topic).map_err(|e| unreadable(&e))
    }

    pub async fn describe_controllers(
        &self,
        within: Duration,
    ) -> Result<Vec<pb::Controller>, ControllerError> {
        self.call(within, |channel| async move {
            let request = pb::DescribeControllersRequest {};
            Ok(admin_service(channel).describe_controllers(request).await?.into_inner().controllers)
        })
        .await
        .map_err(Failed::into_error)
    }

    /// A channel to where the leader was last, or to the next seed.
    pub(crate) fn leader_channel(&self) -> Result<(String, Channel), Status> {
        let address = self.address();
        Ok((address.clone(), self.channel(&address)?))
    }

    /// A channel to the next seed, whoever leads.
    pub(crate) fn any_channel(&self) -> Result<(String, Channel), Status> {
        let address = self.next_seed();
        Ok((address.clone(), self.channel(&address)?))
    }

    /// What an attempt at this address taught about where the leader is.
    pub(crate) fn learn(&self, address: &str, status: Option<&Status>) {
        let mut shared = self.shared.lock();
        shared.leader = match status {
            None => Some(address.to_owned()),
            Some(status) => leader_hint(status).flatten(),
        };
    }

    /// Opens the heartbeat stream to the leader.
    pub async fn heartbeat(
        &self,
        beats: impl futures_util::Stream<Item = pb::HeartbeatRequest> + Send + 'static,
    ) -> Result<tonic::Streaming<pb::HeartbeatResponse>, Status> {
        let (address, channel) = self.leader_channel()?;
        let opened = tokio::time::timeout(ATTEMPT_MAX, node_service(channel).heartbeat(beats))
            .await
            .unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer to a heartbeat stream")));
        self.learn(&address, opened.as_ref().err());
        Ok(opened?.into_inner())
    }

    /// A heartbeat stream was refused or ended; look for the leader again.
    pub fn heartbeat_failed(&self, status: &Status) {
        self.learn("", Some(status));
    }

    fn address(&self) -> String {
        let leader = self.shared.lock().leader.clone();
        leader.unwrap_or_else(|| self.next_seed())
    }

    fn next_seed(&self) -> String {
        let mut shared = self.shared.lock();
        let seed = self.seeds.get(shared.next_seed % self.seeds.len().max(1)).cloned().unwrap_or_default();
        shared.next_seed = shared.next_seed.wrapping_add(1);
        seed
    }

    fn channel(&self, address: &str) -> Result<Channel, Status> {
        if let Some(channel) = self.shared.lock().channels.get(address) {
            return Ok(channel.clone());
        }
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|e| Status::invalid_argument(format!("controller address '{address}': {e}")))?
            .connect_timeout(CONNECT_MAX)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(2))
            .keep_alive_timeout(Duration::from_secs(2))
            .keep_alive_while_idle(true);
        let channel = endpoint.connect_lazy();
        self.shared.lock().channels.insert(address.to_owned(), channel.clone());
        Ok(channel)
    }

    async fn call<T, F: Future<Output = Result<T, Status>>>(
        &self,
        within: Duration,
        attempt: impl Fn(Channel) -> F,
    ) -> Result<T, Failed> {
        self.call_counted(within, attempt).await.map(|(answer, _)| answer)
    }

    /// Tries until it is answered, refused, or the time is up. With the answer comes whether one to an
    /// earlier attempt was lost.
    async fn call_counted<T, F: Future<Output = Result<T, Status>>>(
        &self,
        within: Duration,
        attempt: impl Fn(Channel) -> F,
    ) -> Result<(T, bool), Failed> {
        let deadline = Instant::now() + within;
        let mut attempts = Attempts::default();
        loop {
            let address = self.address();
            let left = deadline.saturating_duration_since(Instant::now()).min(ATTEMPT_MAX);
            let tried = match self.channel(&address) {
                Ok(channel) => tokio::time::timeout(left, attempt(channel))
                    .await
                    .unwrap_or_else(|_| Err(Status::deadline_exceeded(format!("no answer from {address}")))),
                Err(status) => Err(status),
            };
            let status = match tried {
                Ok(answer) => {
                    self.learn(&address, None);
                    return Ok((answer, attempts.answer_lost));
                }
                Err(status) => status,
            };
            if let Some(refusal) = attempts.failed(&status) {
                return Err(attempts.refused(refusal));
            }
            self.learn(&address, Some(&status));
            if Instant::now() + PAUSE + ATTEMPT_MIN.min(within / 4) >= deadline {
                return Err(attempts.given_up(&status, &self.seeds));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// What the attempts of one call came to so far.
#[derive(Default)]
struct Attempts {
    /// One of them may have been carried out, although no answer says so.
    answer_lost: bool,
}

impl Attempts {
    /// Takes note of an attempt that failed; the refusal, if it is one.
    fn failed(&mut self, status: &Status) -> Option<Refusal> {
        if let Some(refusal) = refusal_of(status) {
            return Some(refusal);
        }
        if matches!(status.code(), Code::InvalidArgument | Code::Unimplemented) {
            return Some(Refusal::new(RefusalKind::InvalidRequest, status.message()));
        }
        self.answer_lost |= leader_hint(status).is_none() && !never_sent(status);
        None
    }

    fn refused(self, refusal: Refusal) -> Failed {
        Failed { answer_lost: self.answer_lost, error: ControllerError::Refused(refusal) }
    }

    fn given_up(self, last: &Status, seeds: &[String]) -> Failed {
        let last = last.message().to_owned();
        let error = match self.answer_lost {
            true => ControllerError::Unknown(last),
            false => ControllerError::Unavailable { seeds: seeds.join(", "), last },
        };
        Failed { answer_lost: self.answer_lost, error }
    }
}

/// A call that failed, and whether an earlier attempt of it may have been carried out.
struct Failed {
    answer_lost: bool,
    error: ControllerError,
}

impl Failed {
    fn into_error(self) -> ControllerError {
        self.error
    }

    /// A refusal after a lost answer says nothing about the attempt whose answer was lost.
    fn into_definite_error(self) -> ControllerError {
        match self {
            Failed { answer_lost: true, error: ControllerError::Refused(r) } => {
                ControllerError::Unknown(r.message)
            }
            Failed { error, .. } => error,
        }
    }
}

fn unreadable(reason: &dyn std::fmt::Display) -> ControllerError {
    ControllerError::Unknown(format!("unreadable answer: {reason}"))
}

/// The connection was never made, so nothing was carried out.
fn never_sent(status: &Status) -> bool {
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        if error
            .downcast_ref::<std::io::Error>()
            .is_some_and(|e| e.kind() == std::io::ErrorKind::ConnectionRefused)
        {
            return true;
        }
        source = error.source();
    }
    false
}

pub(crate) fn node_service(channel: Channel) -> NodeServiceClient<Channel> {
    NodeServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

fn admin_service(channel: Channel) -> AdminServiceClient<Channel> {
    AdminServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(statuses: &[Status]) -> ControllerError {
        let mut attempts = Attempts::default();
        for status in statuses {
            assert!(attempts.failed(status).is_none(), "{status:?} is no refusal");
        }
        attempts.given_up(statuses.last().unwrap(), &["a:1".to_owned()]).error
    }

    #[test]
    fn controllers_that_do_not_lead_were_never_told() {
        let result = outcome(&[crate::not_leader(None), crate::not_leader(Some("b:2"))]);
        assert!(matches!(result, ControllerError::Unavailable { .. }), "{result:?}");
    }

    #[test]
    fn one_lost_answer_makes_the_outcome_unknown() {
        let result = outcome(&[Status::deadline_exceeded("no answer"), crate::not_leader(None)]);
        assert!(matches!(result, ControllerError::Unknown(_)), "{result:?}");
    }
}

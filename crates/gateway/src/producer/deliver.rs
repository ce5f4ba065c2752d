use std::time::Duration;

use bytes::Bytes;
use domain::TopicName;
use tokio::time::Instant;
use wire::{
    StrBytes, WireTopicName,
    messages::{
        ProduceRequest,
        produce_request::{PartitionProduceData, TopicProduceData},
    },
};

use super::{
    ProduceError, Shared,
    batch::{Batch, Identity, Written, with_identity},
    verdict::{Verdict, judge},
};
use crate::routing::{Backoff, Route, RouteError, Target, moved, route};

/// An attempt is given up after this, so that a leader that went silent is asked again elsewhere.
const ATTEMPT_MAX: Duration = Duration::from_secs(10);

/// A leader whose disk does nothing but fail is given up after so many attempts, and not before so long.
const DISK_FAILURES_MAX: u32 = 3;
const DISK_FAILING_MAX: Duration = Duration::from_secs(2);

/// The partition that a batch goes to.
#[derive(Clone, Debug)]
pub(super) struct Destination {
    pub(super) target: Target,
    pub(super) topic: TopicName,
}

/// A batch on its way: what was tried and what is known of it.
struct Delivery<'a> {
    shared: &'a Shared,
    destination: &'a Destination,
    identity: Option<Identity>,
    /// The bytes, as the current identity sends them.
    encoded: Option<Bytes>,
    /// An earlier attempt may have been carried out.
    perhaps_written: bool,
    disk: Option<FailingDisk>,
    last: String,
}

/// A leader that answered every attempt in a row with a failure of its disk.
struct FailingDisk {
    address: String,
    since: Instant,
    failures: u32,
}

/// Sends a batch until it is written, refused, or out of time. Returns who the partition's next batch is from.
pub(super) async fn deliver(
    shared: &Shared,
    destination: &Destination,
    mut batch: Batch,
    identity: Option<Identity>,
) -> Option<Identity> {
    let deadline = batch.opened + shared.within;
    let mut delivery = Delivery {
        shared,
        destination,
        identity,
        encoded: None,
        perhaps_written: false,
        disk: None,
        last: "no attempt was made".to_owned(),
    };
    let mut backoff = Backoff::new();
    let outcome = loop {
        if Instant::now() >= deadline {
            break Err(delivery.out_of_time());
        }
        let way = route(&shared.image.load(), destination.target);
        match &way {
            Ok(route) => {
                if let Some(outcome) = delivery.attempt(&mut batch, route, deadline).await {
                    break outcome;
                }
            }
            Err(error @ RouteError::NoLeader) => delivery.last = error.to_string(),
            Err(_) => break Err(delivery.failed(ProduceError::TopicGone)),
        }
        tracing::debug!(topic = %destination.topic, partition = %destination.target.partition, reason = delivery.last,
            "a batch is sent again");
        backoff.wait(&shared.image, destination.target, &way, deadline).await;
    };
    let identity = delivery.identity_after(&outcome, batch.records);
    if let Some(error) = outcome.as_ref().err().filter(|error| **error != ProduceError::KeyReused) {
        tracing::warn!(topic = %destination.topic, partition = %destination.target.partition, records = batch.records, %error,
            "a batch was not written");
    }
    batch.end(outcome);
    identity
}

impl Delivery<'_> {
    /// One attempt; `None`: try again.
    async fn attempt(
        &mut self,
        batch: &mut Batch,
        route: &Route,
        deadline: Instant,
    ) -> Option<Result<Written, ProduceError>> {
        let left = deadline.saturating_duration_since(Instant::now());
        let bytes = match self.bytes(batch, left).await {
            Ok(bytes) => bytes,
            Err(reason) => {
                self.last = reason;
                return None;
            }
        };
        // Taking an id may have used time up.
        let within = deadline.saturating_duration_since(Instant::now()).min(ATTEMPT_MAX);
        let request = self.request(bytes, within);
        let verdict = tokio::select! {
            biased;
            answer = self.shared.upstream.produce(&route.address, request, within) => {
                judge(answer, self.destination.target.partition)
            }
            // A leader that went silent is not waited for once there is another: the sequence makes that safe.
            () = moved(&self.shared.image, self.destination.target, route) => Verdict::Again {
                perhaps_written: true,
                reason: format!("the leader at {} was replaced before it answered", route.address),
            },
        };
        if !matches!(verdict, Verdict::DiskFailed { .. }) {
            self.disk = None;
        }
        match verdict {
            Verdict::Written(written) => Some(Ok(written)),
            Verdict::Again { perhaps_written, reason } => {
                self.perhaps_written |= perhaps_written;
                self.last = reason;
                None
            }
            Verdict::DiskFailed { reason } => {
                self.perhaps_written = true;
                self.last = reason;
                self.disk_failed(&route.address).map(Err)
            }
            // Its first batch may start at any sequence, so there is another batch of that key.
            Verdict::Stranger { .. } if self.identity.is_some_and(|i| i.producer.is_of_key()) => {
                Some(Err(ProduceError::KeyReused))
            }
            // Asked again as somebody else, records that were written after all would be there twice.
            Verdict::Stranger { reason } if self.perhaps_written => Some(Err(ProduceError::Unknown(reason))),
            Verdict::Stranger { reason } => {
                self.identity = None;
                self.last = reason;
                None
            }
            Verdict::Refused { code, message } => {
                Some(Err(self.failed(ProduceError::Refused { code, message })))
            }
        }
    }

    /// The end of asking a leader whose disk fails; `None`: it may pass, try again. An fsync that failed may have left the
    /// records in the log, so the outcome stays unknown.
    fn disk_failed(&mut self, address: &str) -> Option<ProduceError> {
        let now = Instant::now();
        let known = self.disk.take().filter(|disk| disk.address == address);
        let mut disk =
            known.unwrap_or_else(|| FailingDisk { address: address.to_owned(), since: now, failures: 0 });
        disk.failures += 1;
        let FailingDisk { since, failures, .. } = *self.disk.insert(disk);
        let given_up = failures >= DISK_FAILURES_MAX && now.duration_since(since) >= DISK_FAILING_MAX;
        given_up.then(|| {
            let message = format!("the disk of the leader at {address} keeps failing: {}", self.last);
            ProduceError::Unknown(message)
        })
    }

    /// The batch as the current identity sends it; takes an identity if there is none.
    async fn bytes(&mut self, batch: &mut Batch, within: Duration) -> Result<Bytes, String> {
        if let (Some(_), Some(encoded)) = (self.identity, &self.encoded) {
            return Ok(encoded.clone());
        }
        let identity = match self.identity {
            Some(identity) => identity,
            None => {
                let taken =
                    tokio::time::timeout(within, self.shared.ids.next(self.shared.upstream.as_ref(), within));
                match taken.await {
                    Ok(Ok(id)) => Identity::new(id),
                    Ok(Err(error)) => return Err(format!("no producer id: {error}")),
                    Err(_) => return Err("no producer id in time".to_owned()),
                }
            }
        };
        let bytes = match &self.encoded {
            None => batch.encode(identity),
            Some(encoded) => with_identity(encoded, identity).map_err(|e| e.to_string())?,
        };
        (self.identity, self.encoded) = (Some(identity), Some(bytes.clone()));
        Ok(bytes)
    }

    fn request(&self, bytes: Bytes, within: Duration) -> ProduceRequest {
        // The leader gives up a little earlier, so that its reason is heard.
        let timeout_ms = i32::try_from((within * 9 / 10).as_millis()).unwrap_or(i32::MAX);
        let data = PartitionProduceData::default()
            .with_index(self.destination.target.partition.0)
            .with_records(Some(bytes));
        // Old versions name the topic, new ones its id.
        let topic = TopicProduceData::default()
            .with_name(WireTopicName(StrBytes::from_string(self.destination.topic.to_string())))
            .with_topic_id(self.destination.target.topic.0)
            .with_partition_data(vec![data]);
        ProduceRequest::default().with_acks(-1).with_timeout_ms(timeout_ms).with_topic_data(vec![topic])
    }

    fn out_of_time(&self) -> ProduceError {
        let message = format!("gave up after {} ms: {}", self.shared.within.as_millis(), self.last);
        self.failed(ProduceError::NotWritten(message))
    }

    /// A definite failure, unless an earlier attempt may have succeeded.
    fn failed(&self, error: ProduceError) -> ProduceError {
        match (self.perhaps_written, error) {
            (false, error) => error,
            (true, ProduceError::NotWritten(message)) => ProduceError::Unknown(message),
            (true, error) => ProduceError::Unknown(error.to_string()),
        }
    }

    /// After an unknown outcome the leader's next sequence is unknown too, so the next batch is from somebody else.
    fn identity_after(&self, outcome: &Result<Written, ProduceError>, records: i32) -> Option<Identity> {
        match outcome {
            Ok(_) => self.identity.map(|i| i.after(records)),
            Err(ProduceError::Unknown(_)) => None,
            Err(_) => self.identity,
        }
    }
}

//! Producing for REST clients: acks=all, idempotent, in order for each partition.

mod batch;
mod choice;
mod deliver;
mod handover;
mod ids;
mod queue;
mod record;
#[cfg(test)]
mod tests;
mod upstream;
mod verdict;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use metadata::Topic;
use parking_lot::Mutex;
use rpc::WatchedImage;
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wire::ResponseError;

pub(crate) use self::{
    batch::Receipt,
    choice::Choice,
    handover::hand_over,
    record::{OutRecord, TopicRules},
    upstream::{Cluster, Upstream},
};
use self::{
    batch::{Batch, Identity},
    deliver::Destination,
    ids::ProducerIds,
    queue::Queue,
};
use crate::{idempotency::Once, memory::Held, routing::Target};

/// Why a record was not acknowledged. Only [`ProduceError::Unknown`] leaves open whether it is in the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProduceError {
    #[error("the record takes {bytes} bytes, the topic's max.message.bytes is {max}")]
    TooLarge { bytes: usize, max: usize },
    /// The topic's settings forbid it.
    #[error("{0}")]
    Forbidden(String),
    #[error("the topic was deleted, nothing was written")]
    TopicGone,
    /// Another request came under the same idempotency key.
    #[error("nothing was written: the Idempotency-Key came with another request before")]
    KeyReused,
    #[error("refused, nothing was written: {message}")]
    Refused { code: ResponseError, message: String },
    #[error("nothing was written: {0}")]
    NotWritten(String),
    #[error("the outcome is unknown, it may or may not have been written: {0}")]
    Unknown(String),
}

/// Batches records by partition and sends them.
#[derive(Clone)]
pub(crate) struct Producer {
    shared: Arc<Shared>,
}

struct Shared {
    upstream: Box<dyn Upstream>,
    image: WatchedImage,
    ids: ProducerIds,
    queues: Mutex<Queues>,
    within: Duration,
    tasks: TaskTracker,
    cut_off: CancellationToken,
}

struct Queues {
    by_target: HashMap<Target, Arc<Queue>>,
    swept: Instant,
}

/// A queue that nothing used for so long is forgotten, and its producer id with it.
const IDLE_MAX: Duration = Duration::from_secs(600);
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

impl Producer {
    /// `within`: how long a record waits for its acknowledgement.
    pub(crate) fn new(upstream: impl Upstream, image: WatchedImage, within: Duration) -> Self {
        let queues = Queues { by_target: HashMap::new(), swept: Instant::now() };
        let shared = Shared {
            upstream: Box::new(upstream),
            image,
            ids: ProducerIds::default(),
            queues: Mutex::new(queues),
            within,
            tasks: TaskTracker::new(),
            cut_off: CancellationToken::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Takes records of one request for one partition, which [`TopicRules::check`] let pass; they stay in this order. A
    /// partition that nothing is under way to is sent to at once, else the records join the next batch.
    pub(crate) fn push(
        &self,
        topic: &Topic,
        target: Target,
        rules: &TopicRules,
        records: &[OutRecord<'_>],
        held: Held,
    ) -> Vec<Receipt> {
        let queue = self.queue(topic, target);
        let age_max = self.shared.within / 2;
        let (receipts, idle) = queue.push(records, rules.batch_bytes_max, age_max, held);
        if idle {
            self.shared.tasks.spawn(drain(self.shared.clone(), queue));
        }
        receipts
    }

    /// Takes the records of one request under an idempotency key for one partition: a batch of their own, which neither waits
    /// for others nor shares their producer.
    pub(crate) fn push_once(
        &self,
        topic: &Topic,
        target: Target,
        records: &[OutRecord<'_>],
        held: Held,
        once: Once,
    ) -> Vec<Receipt> {
        let mut batch = Batch::new(Instant::now());
        let mut held = Some(held);
        let receipts = records.iter().map(|record| batch.push(record, held.take())).collect();
        let (shared, destination) = (self.shared.clone(), Destination { target, topic: topic.name.clone() });
        let identity = Identity { producer: once.producer, next_sequence: once.sequence };
        self.shared.tasks.spawn(async move {
            tokio::select! {
                _ = shared.send(&destination, batch, Some(identity)) => {}
                () = shared.cut_off.cancelled() => {}
            }
        });
        receipts
    }

    fn queue(&self, topic: &Topic, target: Target) -> Arc<Queue> {
        let now = Instant::now();
        let mut queues = self.shared.queues.lock();
        if now.saturating_duration_since(queues.swept) >= SWEEP_INTERVAL {
            queues.swept = now;
            // Whoever is about to use a queue holds it: clones are made under this lock only.
            queues
                .by_target
                .retain(|_, queue| Arc::strong_count(queue) > 1 || !queue.idle_for(IDLE_MAX, now));
        }
        let queue = queues
            .by_target
            .entry(target)
            .or_insert_with(|| Arc::new(Queue::new(target, topic.name.clone())));
        queue.clone()
    }

    /// Waits until nothing is under way; what is left after `within` is let go with an unknown outcome.
    pub(crate) async fn close(&self, within: Duration) {
        let tasks = &self.shared.tasks;
        tasks.close();
        if tokio::time::timeout(within, tasks.wait()).await.is_err() {
            self.shared.cut_off.cancel();
            tasks.wait().await;
        }
    }
}

impl Shared {
    async fn send(
        &self,
        destination: &Destination,
        batch: Batch,
        identity: Option<Identity>,
    ) -> Option<Identity> {
        let records = batch.records;
        let identity = deliver::deliver(self, destination, batch, identity).await;
        metrics::counter!("anabranch_gateway_batches_total").increment(1);
        metrics::histogram!("anabranch_gateway_batch_records").record(f64::from(records));
        identity
    }
}

/// Sends what waits for one partition until nothing does.
async fn drain(shared: Arc<Shared>, queue: Arc<Queue>) {
    let guard = Abandon(&queue);
    let sent = async {
        while let Some((batch, identity)) = queue.take() {
            queue.keep(shared.send(&queue.destination, batch, identity).await);
        }
    };
    tokio::select! {
        () = sent => std::mem::forget(guard),
        () = shared.cut_off.cancelled() => {}
    }
}

/// Frees a queue whose sender was cut off or panicked, so that it does not wait for it forever.
struct Abandon<'a>(&'a Queue);

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

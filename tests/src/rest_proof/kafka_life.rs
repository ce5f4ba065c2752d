use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientContext, Message, Offset, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance},
    error::KafkaError,
};
use tokio_util::sync::CancellationToken;

use super::{ledger::Ledger, tally::Tally};
use crate::consumer::{Protocol, member_config};

/// What a member through librdkafka needs to know.
#[derive(Clone)]
pub(super) struct KafkaLife {
    pub(super) bootstrap: String,
    pub(super) group: String,
    pub(super) topic: String,
    pub(super) ledger: Arc<Ledger>,
    pub(super) tally: Arc<Tally>,
    pub(super) work: Duration,
    pub(super) stop: CancellationToken,
}

/// What is counted of all members.
pub(super) const RECORDS: &str = "records to Kafka consumers";
/// It commits after so many records, or so long.
const COMMIT_RECORDS: u32 = 50;
const COMMIT_EVERY: Duration = Duration::from_millis(250);

struct Context {
    life: KafkaLife,
    /// What was worked on and is not committed: where each partition goes on.
    done: Mutex<BTreeMap<i32, i64>>,
}

impl ClientContext for Context {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}

    fn error(&self, error: KafkaError, _: &str) {
        self.life.tally.count(format!("librdkafka: {:?}", error.rdkafka_error_code()));
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(partitions) = rebalance {
            self.life.tally.count("revocations of Kafka consumers");
            self.commit(consumer);
            let mut done = self.done.lock().unwrap();
            for partition in partitions.elements() {
                done.remove(&partition.partition());
            }
        }
    }
}

impl Context {
    /// Waits for the answer: of several commits on their way nobody would know which one came last.
    fn commit(&self, consumer: &BaseConsumer<Self>) {
        let mut offsets = TopicPartitionList::new();
        let done = std::mem::take(&mut *self.done.lock().unwrap());
        for (partition, offset) in &done {
            let added = offsets.add_partition_offset(&self.life.topic, *partition, Offset::Offset(*offset));
            added.expect("it is an offset");
        }
        if done.is_empty() {
            return;
        }
        match consumer.commit(&offsets, CommitMode::Sync) {
            Ok(()) => self.life.tally.count("commits of Kafka consumers"),
            Err(error) => {
                self.life.tally.count(format!("librdkafka: commit: {:?}", error.rdkafka_error_code()));
                let mut left = self.done.lock().unwrap();
                for (partition, offset) in done {
                    left.entry(partition).or_insert(offset);
                }
            }
        }
    }
}

impl KafkaLife {
    /// Joins the group in a thread of its own, and leaves it when the token is cancelled.
    pub(super) fn start(self) -> JoinHandle<()> {
        std::thread::spawn(move || {
            if let Err(error) = self.clone().live() {
                self.ledger.fault(format!("a Kafka consumer ended: {error}"));
            }
        })
    }

    fn live(self) -> Result<(), KafkaError> {
        let mut config = member_config(&self.bootstrap, &self.group, Protocol::Consumer);
        config.set("check.crcs", "true");
        let (stop, work) = (self.stop.clone(), self.work);
        let (ledger, tally, topic) = (self.ledger.clone(), self.tally.clone(), self.topic.clone());
        let context = Context { life: self, done: Mutex::default() };
        let consumer: BaseConsumer<Context> = config.create_with_context(context)?;
        consumer.subscribe(&[&topic])?;
        let (mut count, mut committed) = (0, Instant::now());
        while !stop.is_cancelled() {
            match consumer.poll(Duration::from_millis(50)) {
                None => {}
                Some(Ok(message)) => {
                    let value = String::from_utf8_lossy(message.payload().unwrap_or_default());
                    tally.count(RECORDS);
                    ledger.arrived(message.partition(), message.offset(), &value);
                    let next = message.offset() + 1;
                    consumer.context().done.lock().unwrap().insert(message.partition(), next);
                    count += 1;
                }
                Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
                    return Err(KafkaError::MessageConsumptionFatal(code));
                }
                Some(Err(error)) => {
                    tally.count(format!("librdkafka: {:?}", error.rdkafka_error_code()));
                }
            }
            if count >= COMMIT_RECORDS || committed.elapsed() >= COMMIT_EVERY {
                std::thread::sleep(work * count);
                consumer.context().commit(&consumer);
                (count, committed) = (0, Instant::now());
            }
        }
        consumer.context().commit(&consumer);
        Ok(())
    }
}

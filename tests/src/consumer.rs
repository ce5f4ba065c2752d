//! Members of consumer groups through librdkafka, each in a thread of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, ClientContext, Message,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext},
    error::KafkaError,
};

/// How a member of a group speaks with its coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Join and Sync, everything given up at each rebalance.
    Eager,
    /// Join and Sync, only what moves is given up (KIP-429).
    Cooperative,
    /// ConsumerGroupHeartbeat, the coordinator assigns (KIP-848).
    Consumer,
}

/// A record as a member was given it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub at: Instant,
    pub partition: i32,
    pub offset: i64,
    pub value: String,
}

/// A member that reads and commits until it leaves.
pub struct Member {
    stop: Arc<AtomicBool>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Vec<Seen>>,
    owned: Mutex<BTreeSet<i32>>,
    errors: Mutex<Vec<String>>,
}

struct Context(Arc<Shared>);

impl ClientContext for Context {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.errors.lock().unwrap().push(format!("{error}: {reason}"));
    }
}

impl ConsumerContext for Context {}

/// What a member is made with.
pub fn member_config(bootstrap: &str, group: &str, protocol: Protocol) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("group.id", group);
    config.set("auto.offset.reset", "earliest").set("enable.auto.commit", "false");
    config.set("reconnect.backoff.ms", "50").set("reconnect.backoff.max.ms", "500");
    config.set("topic.metadata.refresh.fast.interval.ms", "50");
    config.set("fetch.wait.max.ms", "100");
    match protocol {
        Protocol::Eager => config.set("partition.assignment.strategy", "range"),
        Protocol::Cooperative => config.set("partition.assignment.strategy", "cooperative-sticky"),
        Protocol::Consumer => config.set("group.protocol", "consumer"),
    };
    if protocol != Protocol::Consumer {
        config.set("session.timeout.ms", "6000").set("heartbeat.interval.ms", "300");
    }
    config.set_log_level(RDKafkaLogLevel::Emerg);
    config
}

impl Member {
    /// Joins the group, and reads `topic`, committing what it was given before each further poll.
    pub fn join(bootstrap: &str, group: &str, topic: &str, protocol: Protocol) -> Self {
        Self::join_with(&member_config(bootstrap, group, protocol), topic)
    }

    pub fn join_with(config: &ClientConfig, topic: &str) -> Self {
        let (stop, shared) = (Arc::new(AtomicBool::new(false)), Arc::new(Shared::default()));
        let consumer: BaseConsumer<Context> =
            config.create_with_context(Context(shared.clone())).expect("librdkafka makes a consumer");
        consumer.subscribe(&[topic]).expect("a subscription is only noted");
        let thread = std::thread::spawn({
            let (stop, shared) = (stop.clone(), shared.clone());
            move || read(&consumer, &stop, &shared)
        });
        Self { stop, shared, thread: Some(thread) }
    }

    pub fn owned(&self) -> BTreeSet<i32> {
        self.shared.owned.lock().unwrap().clone()
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    pub fn errors(&self) -> Vec<String> {
        self.shared.errors.lock().unwrap().clone()
    }

    /// Leaves the group; what it has seen.
    pub fn leave(mut self) -> Vec<Seen> {
        self.end();
        self.seen()
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "a member's thread panicked");
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.end();
    }
}

fn read(consumer: &BaseConsumer<Context>, stop: &AtomicBool, shared: &Shared) {
    let mut looked = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        match consumer.poll(Duration::from_millis(20)) {
            Some(Ok(message)) => {
                let value = String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned();
                let seen = Seen {
                    at: Instant::now(),
                    partition: message.partition(),
                    offset: message.offset(),
                    value,
                };
                shared.seen.lock().unwrap().push(seen);
                if let Err(error) = consumer.commit_message(&message, CommitMode::Async) {
                    shared.errors.lock().unwrap().push(format!("commit: {error}"));
                }
            }
            Some(Err(error)) => shared.errors.lock().unwrap().push(error.to_string()),
            None => {}
        }
        if looked.elapsed() > Duration::from_millis(10) {
            looked = Instant::now();
            note_owned(consumer, shared);
        }
    }
    shared.owned.lock().unwrap().clear();
    // Dropping it waits for the commits and leaves the group.
}

fn note_owned(consumer: &BaseConsumer<Context>, shared: &Shared) {
    let Ok(assignment) = consumer.assignment() else { return };
    *shared.owned.lock().unwrap() = assignment.elements().iter().map(|e| e.partition()).collect();
}

/// Whether these members have all `partitions`, each by one of them.
pub fn share_all(members: &[&Member], partitions: i32) -> bool {
    let mut counts: BTreeMap<i32, usize> = BTreeMap::new();
    for member in members {
        for partition in member.owned() {
            *counts.entry(partition).or_default() += 1;
        }
    }
    counts.len() == partitions as usize && counts.values().all(|count| *count == 1)
}

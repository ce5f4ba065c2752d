//! Consumer groups on a run's topic: members that come and go through both paths, and what became of their positions.

use std::{
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use fastrand::Rng;
use rdkafka::{
    ClientContext, Message, Offset, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext},
    error::{KafkaError, RDKafkaErrorCode},
};

use super::{
    admin::Admin,
    checker::{self, Anomaly, Evidence, Reader},
    librdkafka::{client_config, with_debug},
    positions::Positions,
    workload::{SharedReader, Workload, reader},
};
use crate::consumer::Protocol;

/// The groups of every run. Each reads everything.
const GROUPS: [(&str, Protocol); 2] =
    [("faults-classic", Protocol::Cooperative), ("faults-consumer", Protocol::Consumer)];
/// The group whose coordinator is struck.
pub const STRUCK: &str = GROUPS[1].0;

/// How often a member commits.
const COMMIT_EVERY: Duration = Duration::from_millis(200);
/// librdkafka sends nothing a second time before this (`retry.backoff.ms`, less its jitter).
const RETRY_MIN: Duration = Duration::from_millis(80);
/// Between two looks at the committed positions.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// All members, and who watches their positions.
pub struct Groups {
    workload: Arc<Workload>,
    threads: Vec<JoinHandle<()>>,
    watching: tokio::task::JoinHandle<()>,
    readers: Vec<SharedReader>,
    positions: Arc<Mutex<Positions>>,
}

/// A member of a group, over and over.
struct Life {
    workload: Arc<Workload>,
    group: &'static str,
    protocol: Protocol,
    bootstrap: String,
    reader: SharedReader,
    positions: Arc<Mutex<Positions>>,
    /// It stays to the end, or leaves after a while and joins again.
    stays: bool,
}

struct Context {
    workload: Arc<Workload>,
    group: &'static str,
}

impl ClientContext for Context {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        if let Some(debug) = &self.workload.client_debug {
            debug.write(facility, message);
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AutoOffsetReset) => {
                self.workload.problem(format!("group {}: reset: {reason}", self.group));
            }
            code => self.workload.note(format!("group {}: {code:?}", self.group)),
        }
    }
}

impl ConsumerContext for Context {}

impl Groups {
    /// A member that stays and one that comes and goes, in each group through each of `paths` (lists of `host:port`).
    pub fn start(workload: &Arc<Workload>, admin: &Admin, paths: &[String], random: &mut Rng) -> Self {
        let positions = Arc::<Mutex<Positions>>::default();
        let readers: Vec<SharedReader> = GROUPS.iter().map(|(name, _)| reader(name)).collect();
        let mut threads = Vec::new();
        for ((group, protocol), reader) in GROUPS.into_iter().zip(&readers) {
            for (n, bootstrap) in paths.iter().enumerate() {
                let life = Life {
                    workload: workload.clone(),
                    group,
                    protocol,
                    bootstrap: bootstrap.clone(),
                    reader: reader.clone(),
                    positions: positions.clone(),
                    stays: n == 0,
                };
                let random = random.fork();
                threads.push(std::thread::spawn(move || life.live(random)));
            }
        }
        let watching = tokio::spawn(watch(workload.clone(), admin.clone(), positions.clone()));
        Self { workload: workload.clone(), threads, watching, readers, positions }
    }

    /// Gives the groups the time that is left to read what was acknowledged.
    pub async fn wait_until_seen(&self, deadline: Instant) {
        loop {
            let evidence = self.workload.evidence(&[]);
            let groups: Vec<Reader> = self.readers.iter().map(|r| r.lock().unwrap().clone()).collect();
            let missing: usize = groups.iter().map(|g| checker::skipped(g, &evidence).len()).sum();
            if missing == 0 || Instant::now() >= deadline {
                return;
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    /// After the workload was told to stop reading: waits for all members, and puts into the evidence what they have seen.
    pub async fn stop(self, evidence: &mut Evidence) -> Vec<Anomaly> {
        let threads = self.threads;
        let joined = tokio::task::spawn_blocking(move || threads.into_iter().all(|t| t.join().is_ok())).await;
        if !joined.unwrap_or(false) {
            self.workload.problem("a group member's thread panicked");
        }
        if let Err(error) = self.watching.await {
            self.workload.problem(format!("the watcher of positions: {error}"));
        }
        evidence.groups = self.readers.iter().map(|r| r.lock().unwrap().clone()).collect();
        let positions = self.positions.lock().unwrap();
        let counts = format!(
            "groups: {} commits, {} of them uncertain, {} looks at positions, {} stepped back by a late commit",
            positions.commits, positions.uncertain_commits, positions.looks, positions.excused
        );
        self.workload.note(counts);
        if positions.looks == 0 || positions.commits == 0 {
            self.workload.problem("no position was ever committed and looked at");
        }
        positions.regressions.clone()
    }
}

impl Life {
    fn live(self, mut random: Rng) {
        while self.workload.reads() {
            let stays = Duration::from_secs_f64(4.0 + 16.0 * random.f64());
            let until = if self.stays { None } else { Some(Instant::now() + stays) };
            if let Err(error) = self.read(until) {
                self.workload.note(format!("group {}: a member ended: {error}", self.group));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// One membership. Dropping the consumer leaves the group.
    fn read(&self, until: Option<Instant>) -> Result<(), KafkaError> {
        let consumer = self.consumer()?;
        consumer.subscribe(&[&self.workload.topic])?;
        let mut committed = Instant::now();
        while self.workload.reads() && until.is_none_or(|until| Instant::now() < until) {
            self.poll(&consumer)?;
            if committed.elapsed() >= COMMIT_EVERY {
                committed = Instant::now();
                self.commit(&consumer);
            }
        }
        self.commit(&consumer);
        Ok(())
    }

    fn poll(&self, consumer: &BaseConsumer<Context>) -> Result<(), KafkaError> {
        match consumer.poll(Duration::from_millis(50)) {
            None => {}
            Some(Ok(message)) => {
                let id = self.workload.values.recognise(message.payload().unwrap_or_default());
                let at = (message.offset(), id);
                self.reader.lock().unwrap().delivered.entry(message.partition()).or_default().push(at);
            }
            Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
                return Err(KafkaError::MessageConsumptionFatal(code));
            }
            Some(Err(error)) => {
                self.workload.note(format!("group {}: {:?}", self.group, error.rdkafka_error_code()));
            }
        }
        Ok(())
    }

    /// Waits for the answer: of several commits on their way nobody would know which one came last.
    fn commit(&self, consumer: &BaseConsumer<Context>) {
        let Ok(position) = consumer.position() else { return };
        let read: Vec<(i32, i64)> =
            position.elements().iter().filter_map(|e| Some((e.partition(), e.offset().to_raw()?))).collect();
        let mut offsets = TopicPartitionList::new();
        for (partition, offset) in read.iter().filter(|(_, offset)| *offset >= 0) {
            let added =
                offsets.add_partition_offset(&self.workload.topic, *partition, Offset::Offset(*offset));
            added.expect("a position is an offset");
        }
        if offsets.count() == 0 {
            return;
        }
        let begun = Instant::now();
        let result = consumer.commit(&offsets, CommitMode::Sync);
        let was_retried = begun.elapsed() >= RETRY_MIN;
        let mut positions = self.positions.lock().unwrap();
        for (partition, offset) in read.into_iter().filter(|(_, offset)| *offset >= 0) {
            positions.committed(self.group, partition, offset, result.is_ok());
            if was_retried {
                positions.copied(self.group, partition, offset);
            }
        }
        if let Err(error) = result {
            self.workload.note(format!("group {}: commit: {:?}", self.group, error.rdkafka_error_code()));
        }
    }

    fn consumer(&self) -> Result<BaseConsumer<Context>, KafkaError> {
        let mut config = with_debug(client_config(&self.bootstrap), self.workload.client_debug.as_ref());
        config.set("group.id", self.group).set("enable.auto.commit", "false");
        config.set("auto.offset.reset", "earliest").set("check.crcs", "true");
        config.set("fetch.wait.max.ms", "500").set("fetch.error.backoff.ms", "100");
        match self.protocol {
            Protocol::Consumer => config.set("group.protocol", "consumer"),
            Protocol::Cooperative => config
                .set("partition.assignment.strategy", "cooperative-sticky")
                .set("session.timeout.ms", "10000")
                .set("heartbeat.interval.ms", "1000"),
            Protocol::Eager => config.set("partition.assignment.strategy", "range"),
        };
        let context = Context { workload: self.workload.clone(), group: self.group };
        config.create_with_context(context)
    }
}

/// Asks for the committed positions until told to stop, one question at a time.
async fn watch(workload: Arc<Workload>, admin: Admin, positions: Arc<Mutex<Positions>>) {
    while workload.reads() {
        for (group, _) in GROUPS {
            let floor = positions.lock().unwrap().floor(group);
            match admin.committed(group, &workload.topic, workload.partitions).await {
                Ok(told) => positions.lock().unwrap().observe(group, &floor, &told),
                Err(_) => workload.note(format!("group {group}: positions not told")),
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

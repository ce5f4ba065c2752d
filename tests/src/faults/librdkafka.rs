//! Producers and a consumer through librdkafka, each in a thread of its own.

use std::{
    collections::BTreeMap,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use fastrand::Rng;
use rdkafka::{
    ClientConfig, ClientContext, Message, Offset, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer},
};

use super::{
    history::Outcome,
    value::RecordId,
    workload::{ClientDebug, SharedReader, Workload},
};

struct Context(Arc<Workload>);

impl ClientContext for Context {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        if let Some(debug) = &self.0.client_debug {
            debug.write(facility, message);
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::Fatal) => self.0.problem(format!("librdkafka: fatal: {reason}")),
            Some(RDKafkaErrorCode::AutoOffsetReset) => self.0.problem(format!("librdkafka: reset: {reason}")),
            code => self.0.note(format!("librdkafka: {}", code.map_or("?".to_owned(), |c| format!("{c:?}")))),
        }
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: usize) {
        let outcome = match result {
            Ok(message) => Outcome::Ok(Some(message.offset()).filter(|o| *o >= 0)),
            // The library does not tell whether it had sent the record before it gave up.
            Err((error, _)) => Outcome::Unknown(error.to_string()),
        };
        self.0.history.ends(id_of(opaque), outcome);
    }
}

impl ConsumerContext for Context {}

fn opaque_of(id: RecordId) -> usize {
    (id.producer as usize) << 32 | id.sequence as usize
}

fn id_of(opaque: usize) -> RecordId {
    RecordId { producer: (opaque >> 32) as u32, sequence: opaque as u32 }
}

/// What all of our clients have set: a dead or silent node is given up in seconds, not in minutes.
pub fn client_config(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    config.set("socket.timeout.ms", "6000");
    config.set("socket.connection.setup.timeout.ms", "2000");
    config.set("reconnect.backoff.ms", "50");
    config.set("reconnect.backoff.max.ms", "500");
    config.set("topic.metadata.refresh.interval.ms", "5000");
    config.set("topic.metadata.refresh.fast.interval.ms", "50");
    config.set_log_level(RDKafkaLogLevel::Emerg);
    config
}

/// What it logs is about connections that break, which is what the faults are for: nothing, unless asked for.
pub fn with_debug(mut config: ClientConfig, debug: Option<&ClientDebug>) -> ClientConfig {
    if let Some(debug) = debug {
        config.set("debug", &debug.contexts).set_log_level(RDKafkaLogLevel::Debug);
    }
    config
}

/// An idempotent producer with acks=all that gives a record up after so long.
pub fn producer_config(bootstrap: &str, give_up: Duration) -> ClientConfig {
    let mut config = client_config(bootstrap);
    config.set("enable.idempotence", "true");
    config.set("message.timeout.ms", give_up.as_millis().to_string());
    config.set("request.timeout.ms", "5000");
    config.set("retry.backoff.ms", "50");
    config.set("retry.backoff.max.ms", "500");
    config.set("linger.ms", "5");
    config
}

/// Sends this part of the workload's rate until told to stop, then waits for what is under way.
pub fn produce(
    workload: Arc<Workload>,
    bootstrap: String,
    share: f64,
    give_up: Duration,
    mut random: Rng,
) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let config = with_debug(producer_config(&bootstrap, give_up), workload.client_debug.as_ref());
        let pause = Duration::from_secs_f64(1.0 / (workload.rate * share));
        while workload.produces() {
            // Each gets a number of its own: one that replaces another after a fatal error has no order with it.
            let number = workload.next_producer();
            let context = Context(workload.clone());
            let made: Result<ThreadedProducer<Context>, _> = config.create_with_context(context);
            match made {
                Ok(producer) => send_until_stopped(&workload, &producer, number, pause, &mut random),
                Err(error) => return workload.problem(format!("librdkafka producer: {error}")),
            }
        }
    })
}

fn send_until_stopped(
    workload: &Workload,
    producer: &ThreadedProducer<Context>,
    number: u32,
    pause: Duration,
    random: &mut Rng,
) {
    let mut next = Instant::now();
    let mut sequence = 0;
    while workload.produces() && producer.client().fatal_error().is_none() {
        let id = RecordId { producer: number, sequence };
        sequence += 1;
        let partition = random.i32(0..workload.partitions);
        let value = workload.values.value(id);
        workload.history.sends(id, partition);
        let record = BaseRecord::<(), Vec<u8>, usize>::with_opaque_to(&workload.topic, opaque_of(id));
        if let Err((error, _)) = producer.send(record.partition(partition).payload(&value)) {
            workload.history.ends(id, Outcome::Failed(error.to_string()));
        }
        next += pause;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    if let Err(error) = producer.flush(Duration::from_secs(45)) {
        workload.note(format!("librdkafka: flush: {error}"));
    }
}

/// Reads all partitions from their beginning until told to stop, by assignment.
pub fn read(workload: Arc<Workload>, bootstrap: String, reader: SharedReader) -> JoinHandle<()> {
    std::thread::spawn(move || {
        if let Err(error) = read_until_stopped(&workload, &bootstrap, &reader) {
            workload.problem(format!("librdkafka consumer: {error}"));
        }
    })
}

fn read_until_stopped(
    workload: &Arc<Workload>,
    bootstrap: &str,
    reader: &SharedReader,
) -> Result<(), KafkaError> {
    let mut config = with_debug(client_config(bootstrap), workload.client_debug.as_ref());
    // Without one, librdkafka does not take an assignment; nothing is committed.
    config.set("group.id", "faults").set("enable.auto.commit", "false");
    config.set("auto.offset.reset", "error").set("check.crcs", "true");
    config.set("fetch.wait.max.ms", "500").set("fetch.error.backoff.ms", "100");
    let consumer: BaseConsumer<Context> = config.create_with_context(Context(workload.clone()))?;
    let mut next: BTreeMap<i32, i64> = (0..workload.partitions).map(|p| (p, 0)).collect();
    assign(&consumer, &workload.topic, &next)?;
    while workload.reads() {
        match consumer.poll(Duration::from_millis(100)) {
            None => {}
            Some(Ok(message)) => {
                let id = workload.values.recognise(message.payload().unwrap_or_default());
                let at = (message.offset(), id);
                next.insert(message.partition(), message.offset() + 1);
                reader.lock().unwrap().delivered.entry(message.partition()).or_default().push(at);
            }
            Some(Err(error)) => match error.rdkafka_error_code() {
                // It was sent away from where it had read to; nothing but a loss explains that.
                Some(
                    code @ (RDKafkaErrorCode::AutoOffsetReset
                    | RDKafkaErrorCode::OffsetOutOfRange
                    | RDKafkaErrorCode::LogTruncation
                    | RDKafkaErrorCode::BadMessage
                    | RDKafkaErrorCode::InvalidMessage),
                ) => {
                    workload.problem(format!("librdkafka consumer: {code:?} at {next:?}"));
                    assign(&consumer, &workload.topic, &next)?;
                }
                code => workload.note(format!("librdkafka consumer: {code:?}")),
            },
        }
    }
    Ok(())
}

fn assign(
    consumer: &BaseConsumer<Context>,
    topic: &str,
    next: &BTreeMap<i32, i64>,
) -> Result<(), KafkaError> {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in next {
        list.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
    }
    consumer.assign(&list)
}

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rdkafka::{
    ClientConfig, ClientContext,
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer},
};

use super::{
    Options,
    ledger::{Ledger, Waits},
};

/// Writes numbered records at a rate, each to the next partition, until it is told to stop.
pub(super) struct Writer {
    ledger: Arc<Mutex<Ledger>>,
    stop: Arc<AtomicBool>,
    writing: JoinHandle<()>,
}

struct Notes(Arc<Mutex<Ledger>>);

/// A record on its way.
struct Sent {
    partition: i32,
    number: u64,
    at: Instant,
}

/// How often what is due is written.
const TICK: Duration = Duration::from_millis(5);
const FLUSH_MAX: Duration = Duration::from_secs(120);

impl ClientContext for Notes {}

impl ProducerContext for Notes {
    type DeliveryOpaque = Box<Sent>;

    fn delivery(&self, result: &DeliveryResult<'_>, sent: Box<Sent>) {
        let mut ledger = self.0.lock();
        match result {
            Ok(message) => ledger.acknowledge(sent.partition, sent.number, sent.at, message.payload_len()),
            Err((error, _)) => {
                eprintln!("a record was refused for good: {error}");
                ledger.refuse();
            }
        }
    }
}

impl Writer {
    pub(super) fn start(bootstrap: &str, topic: &str, options: &Options) -> anyhow::Result<Self> {
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        let producer: ThreadedProducer<Notes> = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("linger.ms", "5")
            .set("queue.buffering.max.messages", "2000000")
            .set("queue.buffering.max.kbytes", "1048576")
            .set("message.timeout.ms", "120000")
            .set("metadata.max.age.ms", "5000")
            .create_with_context(Notes(ledger.clone()))?;
        let stop = Arc::new(AtomicBool::new(false));
        let (topic, stopped) = (topic.to_owned(), stop.clone());
        let (partitions, bytes) = (options.partitions, options.value_bytes);
        let per_second = options.megabytes_per_second * 1_000_000 / u64::try_from(bytes.max(1))?;
        let writing = std::thread::spawn(move || {
            write(&producer, &topic, (partitions, bytes, per_second), &stopped);
            if let Err(error) = producer.flush(FLUSH_MAX) {
                eprintln!("the last records were not all acknowledged: {error}");
            }
        });
        Ok(Self { ledger, stop, writing })
    }

    /// The waits since the last call.
    pub(super) fn take_waits(&self) -> Waits {
        self.ledger.lock().take_waits()
    }

    /// Ends once everything is acknowledged or refused.
    pub(super) fn stop(self) -> Ledger {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.writing.join();
        std::mem::take(&mut *self.ledger.lock())
    }
}

fn write(
    producer: &ThreadedProducer<Notes>,
    topic: &str,
    (partitions, bytes, per_second): (i32, usize, u64),
    stop: &AtomicBool,
) {
    let begun = Instant::now();
    let mut value = vec![b'x'; bytes.max(8)];
    let mut number = 0u64;
    while !stop.load(Ordering::Relaxed) {
        let due =
            u64::try_from(begun.elapsed().as_micros()).unwrap_or(0).saturating_mul(per_second) / 1_000_000;
        while number < due {
            value[..8].copy_from_slice(&number.to_be_bytes());
            let partition = i32::try_from(number % u64::try_from(partitions).unwrap_or(1)).unwrap_or(0);
            let sent = Box::new(Sent { partition, number, at: Instant::now() });
            let record = BaseRecord::<(), [u8], Box<Sent>>::with_opaque_to(topic, sent)
                .partition(partition)
                .payload(&value);
            match producer.send(record) {
                Ok(()) => number += 1,
                // The queue is full: what is due waits.
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => break,
                Err((error, _)) => {
                    eprintln!("a record could not be queued: {error}");
                    return;
                }
            }
        }
        std::thread::sleep(TICK);
    }
}

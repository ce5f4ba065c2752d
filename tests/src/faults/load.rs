//! Writes to every partition at a steady pace, and when each acknowledgement came.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rdkafka::{
    ClientContext,
    config::RDKafkaLogLevel,
    producer::{BaseRecord, DeliveryResult, ProducerContext, ThreadedProducer},
};
use serde_json::json;

use super::{
    librdkafka::{producer_config, with_debug},
    workload::ClientDebug,
};

/// When each partition's writes were acknowledged.
pub struct Acks {
    times: Vec<Mutex<Vec<Instant>>>,
    stop: AtomicBool,
}

impl Acks {
    pub fn new(partitions: i32) -> Arc<Self> {
        let times = (0..partitions).map(|_| Mutex::default()).collect();
        Arc::new(Self { times, stop: AtomicBool::default() })
    }

    fn came(&self, partition: i32) {
        self.times[partition as usize].lock().unwrap().push(Instant::now());
    }

    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    /// Acknowledgements so far.
    pub fn count(&self) -> usize {
        self.times.iter().map(|t| t.lock().unwrap().len()).sum()
    }

    /// Whether each of these partitions has been written to since.
    pub fn all_since(&self, partitions: &[i32], since: Instant) -> bool {
        let written = |p: &i32| self.times[*p as usize].lock().unwrap().last().is_some_and(|t| *t > since);
        partitions.iter().all(written)
    }

    /// The longest time without an acknowledgement of a partition that touches the interval.
    pub fn gap(&self, partition: i32, from: Instant, to: Instant) -> Duration {
        longest_gap(&self.times[partition as usize].lock().unwrap(), from, to)
    }
}

fn longest_gap(times: &[Instant], from: Instant, to: Instant) -> Duration {
    let first = times.partition_point(|t| *t <= from).saturating_sub(1);
    let last = (times.partition_point(|t| *t < to) + 1).min(times.len());
    let within = times.get(first..last).unwrap_or_default();
    let longest = within.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
    // Nothing came any more: it lasts still.
    let open = times.last().map_or(to - from, |last| to.saturating_duration_since(*last));
    longest.max(open)
}

struct Context {
    acks: Arc<Acks>,
    debug: Option<Arc<ClientDebug>>,
}

impl ClientContext for Context {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        if let Some(debug) = &self.debug {
            debug.write(facility, message);
        }
    }

    fn error(&self, _: rdkafka::error::KafkaError, _: &str) {}
}

impl ProducerContext for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Ok(message) = result {
            self.acks.came(rdkafka::Message::partition(message));
        }
    }
}

/// A record of 100 bytes to each partition at every beat, idempotent with acks=all, through librdkafka.
///
/// # Errors
/// The producer cannot be made.
pub fn through_librdkafka(
    bootstrap: &str,
    topic: &str,
    partitions: i32,
    beat: Duration,
    acks: Arc<Acks>,
    debug: Option<Arc<ClientDebug>>,
) -> anyhow::Result<std::thread::JoinHandle<()>> {
    let config = with_debug(producer_config(bootstrap, Duration::from_secs(60)), debug.as_deref());
    let context = Context { acks: acks.clone(), debug };
    let producer: ThreadedProducer<Context> = config.create_with_context(context)?;
    let topic = topic.to_owned();
    Ok(std::thread::spawn(move || {
        let mut next = Instant::now();
        while acks.goes_on() {
            for partition in 0..partitions {
                let record =
                    BaseRecord::<(), [u8]>::to(&topic).partition(partition).payload(&[b'x'; 100][..]);
                // A full queue means that it waits anyway.
                let _ = producer.send(record);
            }
            next += beat;
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    }))
}

/// A request for each partition at every beat, each waiting for the one before, through REST.
pub fn through_rest(
    urls: &[String],
    topic: &str,
    partitions: i32,
    beat: Duration,
    acks: &Arc<Acks>,
) -> Vec<tokio::task::JoinHandle<()>> {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client can be made");
    let body = json!({"records": [{"value": "x".repeat(100)}]}).to_string();
    let write = |partition: i32| {
        let url = format!("{}/topics/{topic}/partitions/{partition}", urls[partition as usize % urls.len()]);
        let (client, body, acks) = (client.clone(), body.clone(), acks.clone());
        tokio::spawn(async move {
            let mut every = tokio::time::interval(beat);
            every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            while acks.goes_on() {
                every.tick().await;
                let request = client.post(&url).header("content-type", "application/vnd.kafka.json.v2+json");
                let Ok(answer) = request.body(body.clone()).send().await else { continue };
                let written = answer.status().is_success()
                    && answer
                        .json::<serde_json::Value>()
                        .await
                        .is_ok_and(|a| a["offsets"][0]["offset"].is_i64());
                if written {
                    acks.came(partition);
                }
            }
        })
    };
    (0..partitions).map(write).collect()
}

/// `p50 … p99 … max …` in milliseconds.
pub fn percentiles(mut gaps: Vec<Duration>) -> String {
    gaps.sort();
    let at = |part: f64| {
        let last = gaps.len().saturating_sub(1);
        gaps.get((last as f64 * part).round() as usize).map_or(f64::NAN, |d| d.as_secs_f64() * 1e3)
    };
    format!("p50 {:.0} ms, p99 {:.0} ms, max {:.0} ms of {}", at(0.5), at(0.99), at(1.0), gaps.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_the_longest_silence_that_touches_the_interval() {
        let begin = Instant::now();
        let at = |ms: u64| begin + Duration::from_millis(ms);
        let times: Vec<Instant> = [0, 10, 20, 520, 530, 2000].map(at).into();
        let gap = |from, to| longest_gap(&times, at(from), at(to)).as_millis();
        assert_eq!(gap(25, 600), 1470, "it began within");
        assert_eq!(gap(25, 525), 500);
        assert_eq!(gap(0, 15), 10);
        assert_eq!(gap(1990, 5000), 3000, "it has not ended");
    }

    #[test]
    fn percentiles_name_the_ends() {
        let gaps = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(percentiles(gaps), "p50 51 ms, p99 99 ms, max 100 ms of 100");
    }
}

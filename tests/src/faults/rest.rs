//! Producers and readers through the gateways' REST.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use fastrand::Rng;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{
    history::Outcome,
    value::RecordId,
    workload::{SharedReader, Workload},
};

const BINARY: &str = "application/vnd.kafka.binary.v2+json";
/// For so long a request is repeated under its key, which is remembered for longer.
const KEYED_WITHIN: Duration = Duration::from_secs(180);

/// Some gateways, of which the next one is taken when one fails.
struct Gateways {
    client: reqwest::Client,
    urls: Arc<[String]>,
    now: usize,
}

/// Why there is no answer to use.
enum Error {
    /// No connection: the request never left.
    NotSent(String),
    /// It may have been carried out.
    Lost(String),
}

impl Gateways {
    fn new(urls: &Arc<[String]>, first: usize) -> Self {
        let client = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(2))
            .timeout(Duration::from_secs(40))
            .no_proxy()
            .build()
            .expect("a client can be made");
        Self { client, urls: urls.clone(), now: first }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.urls[self.now % self.urls.len()])
    }

    async fn answer(&mut self, request: reqwest::RequestBuilder) -> Result<(u16, Value), Error> {
        let sent = request.send().await;
        let read = match sent {
            Ok(answer) => {
                let status = answer.status().as_u16();
                answer.json().await.map(|body| (status, body))
            }
            Err(error) if error.is_connect() => {
                self.now += 1;
                return Err(Error::NotSent(error.to_string()));
            }
            Err(error) => Err(error),
        };
        read.map_err(|error| {
            self.now += 1;
            Error::Lost(error.to_string())
        })
    }
}

/// One producer with one request at a time, for its own partitions: this part of the workload's rate. `keyed`: each has
/// an `Idempotency-Key`.
pub fn produce(
    workload: Arc<Workload>,
    urls: Arc<[String]>,
    first: usize,
    partitions: Vec<i32>,
    share: f64,
    keyed: bool,
    mut random: Rng,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let producer = workload.next_producer();
        let mut gateways = Gateways::new(&urls, first);
        let mut sequence = 0;
        while workload.produces() {
            let count = random.u32(1..=3);
            let batch: Vec<(RecordId, i32)> = (sequence..sequence + count)
                .map(|sequence| {
                    (RecordId { producer, sequence }, partitions[random.usize(..partitions.len())])
                })
                .collect();
            sequence += count;
            send(&workload, &mut gateways, &batch, keyed).await;
            tokio::time::sleep(Duration::from_secs_f64(f64::from(count) / (workload.rate * share))).await;
        }
    })
}

/// One request. `keyed`: it has an `Idempotency-Key` and is repeated until everything in it is written, and once more
/// after that, at whatever gateway; it must be written once, and every answer name the same offsets.
async fn send(workload: &Workload, gateways: &mut Gateways, batch: &[(RecordId, i32)], keyed: bool) {
    let records: Vec<Value> = batch
        .iter()
        .map(|(id, partition)| {
            workload.history.sends(*id, *partition);
            json!({"value": BASE64_STANDARD.encode(workload.values.value(*id)), "partition": partition})
        })
        .collect();
    let body = json!({"records": records}).to_string();
    let key = batch.first().filter(|_| keyed).map(|(id, _)| format!("{}-{}", id.producer, id.sequence));
    let mut told = ask(workload, gateways, batch, &body, key.as_deref()).await;
    let began = Instant::now();
    let mut repeats = 0;
    while key.is_some() && began.elapsed() < KEYED_WITHIN {
        let written = told.iter().all(|outcome| matches!(outcome, Outcome::Ok(_)));
        if (written && repeats > 0) || !workload.produces() {
            break;
        }
        if !written {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        repeats += 1;
        gateways.now += 1;
        let again = ask(workload, gateways, batch, &body, key.as_deref()).await;
        told = told.into_iter().zip(again).map(|(before, now)| repeated(workload, before, now)).collect();
    }
    for ((id, _), outcome) in batch.iter().zip(told) {
        workload.history.ends(*id, outcome);
    }
}

async fn ask(
    workload: &Workload,
    gateways: &mut Gateways,
    batch: &[(RecordId, i32)],
    body: &str,
    key: Option<&str>,
) -> Vec<Outcome> {
    let url = gateways.url(&format!("/topics/{}", workload.topic));
    let mut request = gateways.client.post(url).header("content-type", BINARY).body(body.to_owned());
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    let answer = gateways.answer(request).await;
    let places = batch.iter().enumerate();
    places.map(|(at, (_, partition))| outcome(&answer, at, *partition, workload)).collect()
}

/// What is known of a record after one more answer.
fn repeated(workload: &Workload, before: Outcome, now: Outcome) -> Outcome {
    match (before, now) {
        (Outcome::Ok(first), Outcome::Ok(again)) => {
            workload.note("REST produce: repeated under its key after success");
            if first != again {
                workload.problem(format!("a key was answered with {first:?}, then with {again:?}"));
            }
            Outcome::Ok(first)
        }
        (_, Outcome::Ok(offset)) => {
            workload.note("REST produce: written by a repeat under its key");
            Outcome::Ok(offset)
        }
        // It is written, or may be, whatever a later answer says.
        (known @ (Outcome::Ok(_) | Outcome::Unknown(_)), _) => known,
        (_, now) => now,
    }
}

/// 503 says that nothing was changed; of what is known only by 50003 or by silence, nothing is known.
fn outcome(answer: &Result<(u16, Value), Error>, at: usize, partition: i32, workload: &Workload) -> Outcome {
    let (status, body) = match answer {
        Ok(answer) => answer,
        Err(Error::NotSent(reason)) => return Outcome::Failed(format!("not sent: {reason}")),
        Err(Error::Lost(reason)) => return Outcome::Unknown(format!("no answer: {reason}")),
    };
    let told = &body["offsets"][at];
    let code = told["error_code"].as_u64().or(body["error_code"].as_u64()).unwrap_or_default();
    let said = told["error"].as_str().or(body["message"].as_str()).unwrap_or_default();
    if (*status, code) == (200, 0) {
        if told["partition"] != partition {
            workload.problem(format!("REST wrote to partition {} instead of {partition}", told["partition"]));
        }
        return Outcome::Ok(told["offset"].as_i64());
    }
    workload.note(format!("REST produce: {status}/{code}"));
    match code {
        503 | 50302 | 413 | 422 | 40401 | 40402 => Outcome::Failed(format!("{status}/{code}: {said}")),
        _ => Outcome::Unknown(format!("{status}/{code}: {said}")),
    }
}

/// Reads one partition from its beginning until told to stop.
pub fn read(
    workload: Arc<Workload>,
    urls: Arc<[String]>,
    first: usize,
    partition: i32,
    reader: SharedReader,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut gateways = Gateways::new(&urls, first);
        let mut next = 0;
        while workload.reads() {
            let path = format!(
                "/topics/{}/partitions/{partition}/records?offset={next}&timeout=1000",
                workload.topic
            );
            let request = gateways.client.get(gateways.url(&path)).header("accept", BINARY);
            match gateways.answer(request.timeout(Duration::from_secs(5))).await {
                Ok((200, Value::Array(records))) => take(&workload, partition, &mut next, &records, &reader),
                Ok((status, body)) => {
                    let code = body["error_code"].as_u64().unwrap_or_default();
                    if code == 40003 {
                        workload.problem(format!("REST read of partition {partition} at {next}: {body}"));
                    }
                    workload.note(format!("REST read: {status}/{code}"));
                    gateways.now += 1;
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                Err(Error::NotSent(_) | Error::Lost(_)) => {
                    workload.note("REST read: no answer");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        }
    })
}

fn take(workload: &Workload, partition: i32, next: &mut i64, records: &[Value], reader: &SharedReader) {
    let mut reader = reader.lock().unwrap();
    let delivered = reader.delivered.entry(partition).or_default();
    for record in records {
        let offset = record["offset"].as_i64().unwrap_or(-1);
        let value = BASE64_STANDARD.decode(record["value"].as_str().unwrap_or_default()).unwrap_or_default();
        delivered.push((offset, workload.values.recognise(&value)));
        *next = offset + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::value::Values;

    fn of(answer: Result<(u16, Value), Error>) -> Outcome {
        let workload = Workload::new("t", 1, Values { seed: 1, bytes_max: 100 }, 1.0, None);
        outcome(&answer, 0, 0, &workload)
    }

    #[test]
    fn only_what_is_sure_counts_as_failed() {
        let told =
            |code| json!({"offsets": [{"partition": 0, "offset": null, "error_code": code, "error": "e"}]});
        let ok = json!({"offsets": [{"partition": 0, "offset": 7, "error_code": null, "error": null}]});
        assert_eq!(of(Ok((200, ok))), Outcome::Ok(Some(7)));
        assert!(matches!(of(Ok((200, told(50302)))), Outcome::Failed(_)));
        assert!(matches!(of(Ok((503, json!({"error_code": 503})))), Outcome::Failed(_)));
        assert!(matches!(of(Ok((200, told(50003)))), Outcome::Unknown(_)));
        assert!(matches!(of(Ok((504, json!({"error_code": 50003})))), Outcome::Unknown(_)));
        assert!(matches!(of(Ok((500, Value::Null))), Outcome::Unknown(_)));
        assert!(matches!(of(Err(Error::NotSent(String::new()))), Outcome::Failed(_)));
        assert!(matches!(of(Err(Error::Lost(String::new()))), Outcome::Unknown(_)));
    }
}

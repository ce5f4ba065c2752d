use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    http::{V2, V2_JSON},
    tally::Tally,
};
use crate::Rest;

/// What one kind of request came to.
#[derive(Default)]
pub(super) struct Served {
    pub(super) ms: Mutex<Vec<f64>>,
    /// 429 and 503 that say when to come again.
    pub(super) refused: AtomicU64,
    pub(super) failed: AtomicU64,
}

/// A client that writes, reads what it wrote, and polls, at a steady rate, each with its own connections.
pub(super) struct Good {
    pub(super) writes: Served,
    pub(super) reads: Served,
    pub(super) polls: Served,
    pub(super) tally: Tally,
    /// Acknowledged, by partition and offset.
    written: Mutex<BTreeSet<(i64, i64)>>,
    polled: Mutex<BTreeSet<(i64, i64)>>,
    client: reqwest::Client,
    base: String,
    topic: String,
    partitions: i64,
    /// The last offset of each partition that was acknowledged, and its value is its number.
    last: Vec<Mutex<Option<(i64, i64)>>>,
    next: AtomicI64,
}

/// Longer is as bad as no answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);

enum Came {
    Answered(Value),
    Refused,
    Failed,
}

impl Good {
    pub(super) fn new(rest: &Rest, topic: &str, partitions: i64) -> Self {
        let client = reqwest::Client::builder().timeout(ANSWER_MAX).build().expect("a client can be made");
        Self {
            writes: Served::default(),
            reads: Served::default(),
            polls: Served::default(),
            tally: Tally::default(),
            written: Mutex::default(),
            polled: Mutex::default(),
            client,
            base: rest.url(""),
            topic: topic.to_owned(),
            partitions,
            last: (0..partitions).map(|_| Mutex::default()).collect(),
            next: AtomicI64::new(0),
        }
    }

    pub(super) fn written(&self) -> usize {
        self.written.lock().unwrap().len()
    }

    /// How many records were acknowledged and never came.
    pub(super) fn unpolled(&self) -> usize {
        let polled = self.polled.lock().unwrap();
        self.written.lock().unwrap().difference(&polled).count()
    }

    /// So many writes and reads a second until the token is cancelled, whether answers come or not.
    pub(super) async fn live(self: &Arc<Self>, per_second: u64, stop: CancellationToken) {
        let mut beat = tokio::time::interval(Duration::from_micros(1_000_000 / per_second));
        let mut asked = JoinSet::new();
        loop {
            tokio::select! {
                _ = beat.tick() => {}
                () = stop.cancelled() => break,
            }
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let (writer, reader) = (self.clone(), self.clone());
            asked.spawn(async move { writer.write(number).await });
            asked.spawn(async move { reader.read(number % reader.partitions).await });
            while asked.try_join_next().is_some() {}
        }
        asked.join_all().await;
    }

    async fn ask(&self, of: &Served, what: &str, request: reqwest::RequestBuilder) -> Came {
        let begun = Instant::now();
        let answer = async {
            let answer = request.send().await?;
            let (status, headers) = (answer.status(), answer.headers().clone());
            Ok::<_, reqwest::Error>((status, headers, answer.bytes().await?))
        };
        let came = match answer.await {
            Ok((StatusCode::OK, _, bytes)) => {
                Came::Answered(serde_json::from_slice(&bytes).unwrap_or_default())
            }
            Ok((status, headers, bytes)) => {
                let text: String = String::from_utf8_lossy(&bytes)
                    .chars()
                    .map(|c| if c.is_ascii_digit() { '#' } else { c })
                    .take(120)
                    .collect();
                self.tally.count(format!("{what}: {status} {text}"));
                let is_clear = matches!(status.as_u16(), 429 | 503) && headers.contains_key("retry-after");
                if is_clear { Came::Refused } else { Came::Failed }
            }
            Err(error) => {
                let how = if error.is_timeout() { "no answer in time" } else { "the connection broke" };
                self.tally.count(format!("{what}: {how}"));
                Came::Failed
            }
        };
        match came {
            Came::Answered(_) => of.ms.lock().unwrap().push(begun.elapsed().as_secs_f64() * 1e3),
            Came::Refused => drop(of.refused.fetch_add(1, Ordering::Relaxed)),
            Came::Failed => drop(of.failed.fetch_add(1, Ordering::Relaxed)),
        }
        came
    }

    async fn write(&self, number: i64) {
        let partition = number % self.partitions;
        let body = json!({"records": [{"value": number}]}).to_string();
        let url = format!("{}/topics/{}/partitions/{partition}", self.base, self.topic);
        let request = self.client.post(url).header("content-type", V2_JSON).body(body);
        let Came::Answered(answer) = self.ask(&self.writes, "write", request).await else { return };
        match answer["offsets"][0]["offset"].as_i64() {
            Some(offset) => {
                self.written.lock().unwrap().insert((partition, offset));
                *self.last[partition as usize].lock().unwrap() = Some((offset, number));
            }
            None => {
                self.tally.count(format!("write: {answer}"));
                self.writes.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Reads what was acknowledged last.
    async fn read(&self, partition: i64) {
        let Some((offset, number)) = *self.last[partition as usize].lock().unwrap() else { return };
        let path = format!("/topics/{}/partitions/{partition}/records?offset={offset}", self.topic);
        let request = self.client.get(format!("{}{path}", self.base)).header("accept", V2_JSON);
        let Came::Answered(answer) = self.ask(&self.reads, "read", request).await else { return };
        if answer[0]["offset"] != offset || answer[0]["value"] != number {
            self.tally.count(format!("read: not what was written: {answer:.100}"));
            self.reads.failed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A consumer of its own group that polls all the time until the token is cancelled and everything written has come.
    pub(super) async fn poll(&self, consumer: &str, stop: CancellationToken) {
        let mut polls = 0;
        let mut after = None;
        loop {
            if stop.is_cancelled() {
                let since = *after.get_or_insert_with(Instant::now);
                if self.unpolled() == 0 || since.elapsed() > ANSWER_MAX {
                    return;
                }
            }
            let request = self
                .client
                .request(Method::GET, format!("{}{consumer}/records", self.base))
                .header("accept", V2)
                .header("x-request-id", polls.to_string());
            match self.ask(&self.polls, "poll", request).await {
                Came::Answered(answer) => {
                    let records = answer.as_array().into_iter().flatten();
                    let place = |of: &Value| Some((of["partition"].as_i64()?, of["offset"].as_i64()?));
                    self.polled.lock().unwrap().extend(records.filter_map(place));
                    polls += 1;
                }
                Came::Refused | Came::Failed => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    }
}

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use fastrand::Rng;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    http::{Http, V2, V2_BINARY, V2_JSON},
    ledger::Ledger,
    tally::Tally,
};

/// How a consumer acknowledges what it has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Acknowledge {
    /// By its next poll.
    Auto,
    /// It commits all that was delivered to it.
    All,
    /// It commits the offsets that it names.
    Each,
}

/// What one consumer does otherwise than the next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    pub(super) acknowledge: Acknowledge,
    /// Polls have an `X-Request-Id`, and are repeated under it. A consumer without must commit what it names, and begins anew as
    /// another one after an answer that did not come.
    pub(super) is_named: bool,
    pub(super) is_json: bool,
    /// It uses a connection as long as it can, or each for one request.
    pub(super) keeps: bool,
}

impl Style {
    /// Half commit by polling, and one in five has no names for its polls.
    pub(super) fn of(n: usize) -> Self {
        let is_named = !matches!(n % 10, 3 | 7);
        let acknowledge = match n % 4 {
            _ if !is_named => Acknowledge::Each,
            0 | 2 => Acknowledge::Auto,
            1 => Acknowledge::All,
            _ => Acknowledge::Each,
        };
        Self { acknowledge, is_named, is_json: n % 8 < 4, keeps: !n.is_multiple_of(3) }
    }
}

/// What all of them share.
pub(super) struct Shared {
    pub(super) address: String,
    pub(super) group: String,
    pub(super) topic: String,
    pub(super) ledger: Arc<Ledger>,
    pub(super) tally: Arc<Tally>,
    /// How long a record is worked on.
    pub(super) work: Duration,
    pub(super) poll_bytes: usize,
    /// This part of all polls is cut off.
    pub(super) cut_off: f64,
    pub(super) stop: CancellationToken,
}

/// A REST consumer, from its making to its end.
pub(super) struct Life {
    shared: Arc<Shared>,
    number: usize,
    /// How often it began anew.
    generation: usize,
    polls: u64,
    style: Style,
    http: Http,
    random: Rng,
}

struct Got {
    partition: i32,
    offset: i64,
    value: String,
}

/// What is counted of all REST consumers.
pub(super) const RECORDS: &str = "records to REST consumers";
pub(super) const CUT_OFF: &str = "polls cut off on purpose";
const PAUSE: Duration = Duration::from_millis(50);
/// An answer that does not come for so long, however often it is asked for, is a hang.
const HANG: Duration = Duration::from_secs(60);

impl Life {
    pub(super) fn new(shared: &Arc<Shared>, number: usize, random: Rng) -> Self {
        let style = Style::of(number);
        let http = Http::new(&shared.address, style.keeps);
        Self { shared: shared.clone(), number, generation: 0, polls: 0, style, http, random }
    }

    pub(super) async fn live(mut self) {
        self.begin().await;
        while !self.shared.stop.is_cancelled() {
            let Some(got) = self.poll().await else { continue };
            self.shared.tally.add(RECORDS, got.len() as u64);
            for record in &got {
                self.shared.ledger.arrived(record.partition, record.offset, &record.value);
            }
            tokio::time::sleep(self.shared.work * got.len() as u32).await;
            if !got.is_empty() {
                self.commit(&got).await;
            }
        }
        self.end().await;
    }

    fn path(&self, more: &str) -> String {
        let name = format!("rest-{}-{}", self.number, self.generation);
        format!("/consumers/{}/instances/{name}{more}", self.shared.group)
    }

    /// Asks until there is an answer that is neither a failure nor lost.
    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> (StatusCode, Value) {
        let begun = Instant::now();
        loop {
            match self.http.call(method.clone(), path, &[("accept", V2)], body).await {
                Ok((status, answer)) if !is_failure(status) => {
                    self.unless_expected(&method, status, &answer);
                    return (status, answer);
                }
                Ok((status, answer)) => self.failed(status, &answer),
                Err(lost) => self.shared.tally.count(format!("lost: {lost}")),
            }
            if begun.elapsed() > HANG {
                self.shared.ledger.fault(format!("{method} {path} has no answer for {HANG:?}"));
                self.shared.stop.cancel();
                return (StatusCode::NOT_FOUND, Value::Null);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn unless_expected(&self, method: &Method, status: StatusCode, answer: &Value) {
        if !status.is_success() {
            self.shared.tally.count(format!("status {status} of {method}: {}", message(answer)));
        }
    }

    fn failed(&self, status: StatusCode, answer: &Value) {
        self.shared.tally.count(format!("status {status}: {}", message(answer)));
    }

    async fn begin(&mut self) {
        let options = json!({
            "name": format!("rest-{}-{}", self.number, self.generation),
            "format": if self.style.is_json { "json" } else { "binary" },
            "auto.offset.reset": "earliest",
            "auto.commit.enable": self.style.acknowledge == Acknowledge::Auto,
        });
        let group = format!("/consumers/{}", self.shared.group);
        while !self.shared.stop.is_cancelled() {
            // 409: it was made by a request whose answer was lost.
            self.ask(Method::POST, &group, Some(&options)).await;
            let topics = json!({"topics": [self.shared.topic]});
            let (status, _) = self.ask(Method::POST, &self.path("/subscription"), Some(&topics)).await;
            if status.is_success() {
                return;
            }
        }
    }

    async fn end(&self) {
        self.ask(Method::DELETE, &self.path(""), None).await;
    }

    async fn begin_anew(&mut self) {
        self.shared.tally.count("consumers that began anew");
        self.end().await;
        self.generation += 1;
        self.begin().await;
    }

    /// The records of one poll, which is repeated until its answer comes in full.
    async fn poll(&mut self) -> Option<Vec<Got>> {
        self.polls += 1;
        let path = self.path(&format!("/records?max_bytes={}", self.shared.poll_bytes));
        let request = format!("{}-{}-{}", self.number, self.generation, self.polls);
        let form = if self.style.is_json { V2_JSON } else { V2_BINARY };
        let mut headers = vec![("accept", form)];
        if self.style.is_named {
            headers.push(("x-request-id", &request));
        }
        let begun = Instant::now();
        loop {
            let answer = match self.random.f64() < self.shared.cut_off {
                true => {
                    self.shared.tally.count(CUT_OFF);
                    self.http.cut_off(&path, &headers, &mut self.random).await;
                    None
                }
                false => match self.http.call(Method::GET, &path, &headers, None).await {
                    Ok((StatusCode::OK, answer)) => {
                        self.shared.tally.count("polls answered");
                        return Some(self.got(&answer));
                    }
                    Ok((status, answer)) => {
                        self.failed(status, &answer);
                        Some(status)
                    }
                    Err(lost) => {
                        self.shared.tally.count(format!("lost: {lost}"));
                        None
                    }
                },
            };
            if !self.style.is_named || answer.is_some_and(|status| !is_failure(status)) {
                self.begin_anew().await;
                return None;
            }
            if begun.elapsed() > HANG {
                self.shared.ledger.fault(format!("GET {path} has no answer for {HANG:?}"));
                self.shared.stop.cancel();
                return None;
            }
            if answer.is_some() {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    fn got(&self, answer: &Value) -> Vec<Got> {
        let records = answer.as_array().map(Vec::as_slice).unwrap_or_default();
        let got = records.iter().filter_map(|record| {
            let text = record["value"].as_str()?;
            let value = match self.style.is_json {
                true => format!("\"{text}\""),
                false => String::from_utf8(BASE64_STANDARD.decode(text).ok()?).ok()?,
            };
            let partition = i32::try_from(record["partition"].as_i64()?).ok()?;
            Some(Got { partition, offset: record["offset"].as_i64()?, value })
        });
        let got: Vec<Got> = got.collect();
        if got.len() != records.len() || !answer.is_array() {
            self.shared.ledger.fault(format!("a poll's answer makes no sense: {answer:.300}"));
        }
        got
    }

    async fn commit(&mut self, got: &[Got]) {
        let body = match self.style.acknowledge {
            Acknowledge::Auto => return,
            Acknowledge::All => json!({}),
            Acknowledge::Each => {
                let last: BTreeMap<i32, i64> = got.iter().map(|r| (r.partition, r.offset)).collect();
                let of =
                    |(p, o): (i32, i64)| json!({"topic": self.shared.topic, "partition": p, "offset": o});
                json!({"offsets": last.into_iter().map(of).collect::<Vec<_>>()})
            }
        };
        let (status, _) = self.ask(Method::POST, &self.path("/offsets"), Some(&body)).await;
        if status == StatusCode::NOT_FOUND {
            self.begin_anew().await;
        }
    }
}

/// Whether the gateway says that it could not, rather than that it may not.
fn is_failure(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}

/// What the answer says of an error, without what differs each time.
fn message(answer: &Value) -> String {
    let text = answer["message"].as_str().unwrap_or_default();
    text.chars().map(|c| if c.is_ascii_digit() { '#' } else { c }).take(90).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_commit_by_polling_and_who_names_no_poll_names_its_commits() {
        let styles: Vec<Style> = (0..20).map(Style::of).collect();
        let count = |of: fn(&Style) -> bool| styles.iter().filter(|style| of(style)).count();
        assert_eq!(count(|s| s.acknowledge == Acknowledge::Auto), 10);
        assert_eq!(count(|s| s.acknowledge == Acknowledge::All), 3);
        assert_eq!(count(|s| !s.is_named), 4);
        assert_eq!(count(|s| !s.is_named && s.acknowledge != Acknowledge::Each), 0);
        assert_eq!(count(|s| s.is_json), 12);
    }
}

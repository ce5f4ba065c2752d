//! REST as a client on an unsure network has it: an answer comes, or it does not.

use std::time::Duration;

use fastrand::Rng;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

pub(super) const V2: &str = "application/vnd.kafka.v2+json";
pub(super) const V2_BINARY: &str = "application/vnd.kafka.binary.v2+json";
pub(super) const V2_JSON: &str = "application/vnd.kafka.json.v2+json";
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// A client of one address.
pub(super) struct Http {
    client: reqwest::Client,
    address: String,
}

impl Http {
    /// `keeps`: connections are used again.
    pub(super) fn new(address: &str, keeps: bool) -> Self {
        let idle = if keeps { 4 } else { 0 };
        let client = reqwest::Client::builder().timeout(ANSWER_MAX).pool_max_idle_per_host(idle).build();
        Self { client: client.expect("a client can be made"), address: address.to_owned() }
    }

    /// The answer, if it came in full.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&'static str, &str)],
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value), String> {
        let mut request = self.client.request(method, format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.header("content-type", V2).body(body.to_string());
        }
        let lost = |error: reqwest::Error| match () {
            () if error.is_timeout() => "no answer in time".to_owned(),
            () if error.is_connect() => "no connection".to_owned(),
            () => "the connection broke".to_owned(),
        };
        let answer = request.send().await.map_err(lost)?;
        let status = answer.status();
        let bytes = answer.bytes().await.map_err(lost)?;
        let value = match bytes.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(&bytes).map_err(|error| format!("not JSON: {error}"))?,
        };
        Ok((status, value))
    }

    /// Asks, and closes the connection before the answer was read: at once, when it begins, or in the middle of it.
    pub(super) async fn cut_off(&self, path: &str, headers: &[(&'static str, &str)], random: &mut Rng) {
        // That it fails is what it is for.
        let _ = self.try_cut_off(path, headers, random).await;
    }

    async fn try_cut_off(
        &self,
        path: &str,
        headers: &[(&'static str, &str)],
        random: &mut Rng,
    ) -> std::io::Result<()> {
        let mut stream = TcpStream::connect(&self.address).await?;
        let more: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{more}\r\n", self.address);
        stream.write_all(head.as_bytes()).await?;
        match random.u8(..3) {
            0 => tokio::time::sleep(Duration::from_millis(random.u64(..30))).await,
            1 => drop(tokio::time::timeout(ANSWER_MAX, stream.readable()).await),
            _ => {
                let mut some = vec![0; random.usize(1..600)];
                let _ = tokio::time::timeout(ANSWER_MAX, stream.read(&mut some)).await;
            }
        }
        // Half of them without a farewell.
        if random.bool() {
            let _ = stream.set_zero_linger();
        }
        Ok(())
    }
}

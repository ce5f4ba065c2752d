//! Produce requests over plain HTTP/1.1, kept alive: as fast as they are answered, or at a rate.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, StatusCode, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::{
    net::TcpStream,
    sync::{Semaphore, oneshot},
    task::JoinSet,
};

/// What is sent, again and again.
#[derive(Clone, Debug)]
pub struct Load {
    /// `host:port`.
    pub address: String,
    pub topic: String,
    /// In a request.
    pub records: usize,
    pub connections: usize,
    /// Requests a second of all connections together; none: each sends as soon as it has its answer.
    pub rate: Option<f64>,
}

/// A load under way. It ends when dropped.
pub struct Running {
    shared: Arc<Shared>,
    ended: oneshot::Receiver<anyhow::Result<()>>,
}

/// What was answered in a window.
#[derive(Clone, Debug, Default)]
pub struct Answered {
    /// Acknowledged, each with its offset.
    pub records: u64,
    /// Of each request from when it was to be sent to the whole of its answer.
    pub times_ms: Vec<f64>,
}

struct Shared {
    stopped: AtomicBool,
    window: Mutex<Answered>,
    /// Requests whose time has come.
    due: Semaphore,
    taken: AtomicU64,
}

const JSON: &str = "application/vnd.kafka.json.v2+json";
const VALUE_BYTES: usize = 100;
const SILENCE_MAX: Duration = Duration::from_secs(30);

impl Load {
    /// Sends one request; nothing else says as surely that the topic can be produced to.
    ///
    /// # Errors
    /// The answer is not what it must be.
    pub async fn once(&self) -> anyhow::Result<()> {
        let mut connection = Connection::open(self).await?;
        connection.post().await
    }

    /// Begins on a thread of its own.
    pub fn start(&self) -> Running {
        let shared = Arc::new(Shared {
            stopped: AtomicBool::new(false),
            window: Mutex::default(),
            due: Semaphore::new(0),
            taken: AtomicU64::new(0),
        });
        let (end, ended) = oneshot::channel();
        let (load, running) = (self.clone(), shared.clone());
        // Nobody listens any more when the load was dropped.
        std::thread::spawn(move || drop(end.send(run(&load, &running))));
        Running { shared, ended }
    }
}

impl Running {
    /// What is answered from now on until the time is over.
    ///
    /// # Errors
    /// A connection ended, or an answer was not what it must be, now or before.
    pub async fn window(&mut self, within: Duration) -> anyhow::Result<Answered> {
        std::mem::take(&mut *self.shared.window());
        tokio::select! {
            () = tokio::time::sleep(within) => Ok(std::mem::take(&mut *self.shared.window())),
            ended = &mut self.ended => {
                ended.context("the load's thread panicked")??;
                bail!("the load ended by itself")
            }
        }
    }

    /// Waits until what is under way is answered. A bridge that is left with records of a topic that is then deleted is
    /// busy with them for a minute.
    ///
    /// # Errors
    /// As [`Running::window`].
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.shared.stop();
        (&mut self.ended).await.context("the load's thread panicked")?
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl Shared {
    fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.due.close();
    }

    fn window(&self) -> MutexGuard<'_, Answered> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}

/// One thread has all connections, so that the load takes as little from what it measures as it can.
fn run(load: &Load, shared: &Arc<Shared>) -> anyhow::Result<()> {
    let begun = Instant::now();
    let every = load.rate.map(|rate| Duration::from_secs_f64(1.0 / rate));
    if let Some(every) = every {
        let shared = shared.clone();
        std::thread::spawn(move || pace(&shared, begun, every));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut connections = JoinSet::new();
        for _ in 0..load.connections {
            let (load, shared) = (load.clone(), shared.clone());
            connections.spawn(async move {
                let mut connection = Connection::open(&load).await?;
                while !shared.stopped() {
                    let meant = match every {
                        None => Instant::now(),
                        Some(every) => match shared.due.acquire().await {
                            Ok(permit) => {
                                permit.forget();
                                begun + every.mul_f64(shared.taken.fetch_add(1, Ordering::Relaxed) as f64)
                            }
                            Err(_) => break,
                        },
                    };
                    connection.post().await?;
                    let mut window = shared.window();
                    window.records += load.records as u64;
                    window.times_ms.push(meant.elapsed().as_secs_f64() * 1e3);
                }
                anyhow::Ok(())
            });
        }
        while let Some(ended) = connections.join_next().await {
            ended.context("a connection's task panicked")??;
        }
        Ok(())
    })
}

/// A sleeping thread is more punctual than a runtime's timers, which know whole milliseconds only.
fn pace(shared: &Shared, begun: Instant, every: Duration) {
    let mut sent = 0;
    while !shared.stopped() {
        let due = (begun.elapsed().as_secs_f64() / every.as_secs_f64()) as u64 + 1;
        shared.due.add_permits((due - sent) as usize);
        sent = due;
        std::thread::sleep((begun + every.mul_f64(due as f64)).saturating_duration_since(Instant::now()));
    }
}

struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    address: String,
    path: String,
    body: Bytes,
    records: usize,
}

impl Connection {
    async fn open(load: &Load) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(&load.address).await.context("the gateway is not reached")?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Why it ended, its requests are told.
        tokio::spawn(connection);
        Ok(Self {
            sender,
            address: load.address.clone(),
            path: format!("/topics/{}", load.topic),
            body: body(load.records),
            records: load.records,
        })
    }

    async fn post(&mut self) -> anyhow::Result<()> {
        let answer = tokio::time::timeout(SILENCE_MAX, self.answer()).await;
        let (status, answer) = answer.context("no answer")??;
        if status != StatusCode::OK {
            bail!("{status}: {}", String::from_utf8_lossy(&answer));
        }
        check(&answer, self.records)
    }

    async fn answer(&mut self) -> anyhow::Result<(StatusCode, Bytes)> {
        self.sender.ready().await.context("the connection has ended")?;
        let request = Request::post(&self.path)
            .header(header::HOST, &self.address)
            .header(header::CONTENT_TYPE, JSON)
            .body(Full::new(self.body.clone()))?;
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    }
}

/// Records whose values are JSON strings of 100 bytes with their quotes, and without keys.
fn body(records: usize) -> Bytes {
    let record = format!(r#"{{"value":"{}"}}"#, "x".repeat(VALUE_BYTES - 2));
    format!(r#"{{"records":[{}]}}"#, vec![record; records].join(",")).into()
}

/// Every record must have its offset.
fn check(answer: &[u8], records: usize) -> anyhow::Result<()> {
    #[derive(Deserialize)]
    struct Produced {
        offsets: Vec<Place>,
    }
    #[derive(Deserialize)]
    struct Place {
        offset: Option<i64>,
        error_code: Option<i64>,
    }
    let text = || String::from_utf8_lossy(answer).into_owned();
    let produced: Produced = serde_json::from_slice(answer).with_context(text)?;
    let good = |place: &Place| place.error_code.is_none() && place.offset.is_some_and(|offset| offset >= 0);
    let acknowledged = produced.offsets.iter().filter(|place| good(place)).count();
    ensure!(
        acknowledged == records && produced.offsets.len() == records,
        "{acknowledged} of {records} records were acknowledged: {}",
        text()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_only_if_every_record_has_its_offset() {
        let good =
            br#"{"offsets":[{"partition":0,"offset":7,"error_code":null},{"partition":1,"offset":0}]}"#;
        assert!(check(good, 2).is_ok());
        assert!(check(good, 1).is_err() && check(good, 3).is_err());
        for bad in [
            r#"{"offsets":[{"partition":0,"offset":null,"error_code":50003}]}"#,
            r#"{"offsets":[{"error_code":404,"message":"none"}]}"#,
            r#"{"offsets":[{"partition":0,"offset":-1}]}"#,
            r#"{"error_code":500}"#,
        ] {
            assert!(check(bad.as_bytes(), 1).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_value_has_a_hundred_bytes() {
        let body: serde_json::Value = serde_json::from_slice(&body(2)).unwrap();
        assert_eq!(body["records"][1]["value"].to_string().len(), VALUE_BYTES);
    }
}

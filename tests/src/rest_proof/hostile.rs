use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use clap::ValueEnum;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
};

use super::{http::V2_BINARY, tally::Tally};
use crate::{Rest, rest_consumer::RestConsumer};

/// What a client does that nobody should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    /// A header, byte by byte.
    Header,
    /// v2's produce: megabytes are announced, and come byte by byte.
    Body,
    /// v3's produce: a record that never ends.
    Stream,
    /// Records by offset, by the megabyte, and none of it is read.
    Records,
    /// The same as a consumer of a group.
    Poll,
    /// Small answers, but thousands of them.
    Lists,
    /// A topic from its beginning as server-sent events.
    Tail,
}

pub(super) const KINDS: [Kind; 7] =
    [Kind::Header, Kind::Body, Kind::Stream, Kind::Records, Kind::Poll, Kind::Lists, Kind::Tail];

/// So many at once, a third of them each: headers, bodies, and those that never read.
pub(super) struct Hostiles {
    pub(super) open: Arc<AtomicUsize>,
    pub(super) closed: Arc<Mutex<Vec<(Kind, f64)>>>,
    pub(super) tally: Arc<Tally>,
    begun: Vec<(Kind, Instant)>,
    all: JoinSet<()>,
}

#[derive(Clone)]
struct Hostile {
    kind: Kind,
    number: usize,
    address: String,
    /// What is read by those that do not.
    topic: String,
    partitions: usize,
    cluster: String,
    open: Arc<AtomicUsize>,
    closed: Arc<Mutex<Vec<(Kind, f64)>>>,
    tally: Arc<Tally>,
}

/// Between two bytes.
const BYTE_EVERY: Duration = Duration::from_millis(500);
/// Declared of a body that never comes.
const BODY_BYTES: usize = 8 << 20;
/// The system keeps this much for a client that does not read; the less it is, the more is left with the gateway.
const RECEIVE_BYTES: u32 = 4 << 10;
/// Asked for at once by those that do not read.
const ANSWER_BYTES: [usize; 4] = [1 << 20, 4 << 20, 16 << 20, 64 << 20];
const REQUESTS: usize = 8;
const LISTS: usize = 3_000;

fn kind_of(number: usize) -> Kind {
    match (number % 3, number / 3 % 4) {
        (0, _) => Kind::Header,
        (1, 0 | 1) => Kind::Body,
        (1, _) => Kind::Stream,
        (_, 0) => Kind::Records,
        (_, 1) => Kind::Poll,
        (_, 2) => Kind::Lists,
        _ => Kind::Tail,
    }
}

impl Hostiles {
    /// One that was closed comes back at once.
    pub(super) async fn start(
        count: usize,
        kinds: &[Kind],
        rest: &Rest,
        topic: &str,
        partitions: usize,
    ) -> Self {
        let mut hostiles = Self {
            open: Arc::default(),
            closed: Arc::default(),
            tally: Arc::default(),
            begun: Vec::new(),
            all: JoinSet::new(),
        };
        let cluster = rest.cluster_id().await;
        for number in (0..count).filter(|number| kinds.contains(&kind_of(*number))) {
            let hostile = Hostile {
                kind: kind_of(number),
                number,
                address: rest.url("").trim_start_matches("http://").to_owned(),
                topic: topic.to_owned(),
                partitions,
                cluster: cluster.clone(),
                open: hostiles.open.clone(),
                closed: hostiles.closed.clone(),
                tally: hostiles.tally.clone(),
            };
            hostiles.begun.push((hostile.kind, Instant::now()));
            hostiles.all.spawn(hostile.live());
        }
        hostiles
    }

    /// Makes the consumers that those who poll are, before anybody is a burden.
    pub(super) async fn make_consumers(count: usize, rest: &Rest, topic: &str) {
        for number in (0..count).filter(|number| kind_of(*number) == Kind::Poll) {
            let group = format!("never-reads-{number}");
            RestConsumer::subscribed(rest, &group, "one", topic, json!({"format": "binary"})).await;
        }
    }

    pub(super) fn all(&self) -> usize {
        self.begun.len()
    }

    /// How many of a kind there are.
    pub(super) fn count(&self, kind: Kind) -> usize {
        self.begun.iter().filter(|(of, _)| *of == kind).count()
    }
}

impl Hostile {
    async fn live(self) {
        // Not all in one moment.
        tokio::time::sleep(Duration::from_millis(self.number as u64 % 2_000)).await;
        loop {
            match self.connect().await {
                Ok(stream) => {
                    let begun = Instant::now();
                    self.open.fetch_add(1, Ordering::Relaxed);
                    self.burden(stream).await;
                    self.open.fetch_sub(1, Ordering::Relaxed);
                    let lasted = begun.elapsed().as_secs_f64();
                    self.closed.lock().unwrap().push((self.kind, lasted));
                }
                Err(error) => self.tally.count(format!("{:?} did not connect: {error}", self.kind)),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn connect(&self) -> std::io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(RECEIVE_BYTES)?;
        let address = self.address.parse().map_err(std::io::Error::other)?;
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// Until the gateway has had enough.
    async fn burden(&self, mut stream: TcpStream) {
        let Ok(byte) = self.begin(&mut stream).await else { return };
        let reads = matches!(self.kind, Kind::Header | Kind::Body | Kind::Stream);
        loop {
            if reads {
                let mut answer = [0; 512];
                match tokio::time::timeout(BYTE_EVERY, stream.read(&mut answer)).await {
                    Ok(Ok(read @ 1..)) => {
                        let text = String::from_utf8_lossy(&answer[..read]);
                        let first = text.lines().next().unwrap_or_default().to_owned();
                        self.tally.count(format!("{:?} was answered: {first}", self.kind));
                        return;
                    }
                    Ok(_) => return,
                    Err(_) => {}
                }
            } else {
                tokio::time::sleep(BYTE_EVERY).await;
            }
            // Whether the other end has gone is told to who writes only: what it sent before is in front of its farewell. The
            // gateway need not take it.
            match stream.try_write(byte) {
                Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => return,
                _ => {}
            }
        }
    }

    /// Sends what is sent at once; what follows, again and again.
    async fn begin(&self, stream: &mut TcpStream) -> std::io::Result<&'static [u8]> {
        let partition = self.number % self.partitions;
        let bytes = ANSWER_BYTES[self.number / 12 % ANSWER_BYTES.len()];
        let (cluster, topic) = (&self.cluster, &self.topic);
        let (line, more, times, byte): (String, String, usize, &'static [u8]) = match self.kind {
            Kind::Header => {
                stream.write_all(b"GET /topics HTTP/1.1\r\nX-Slow: ").await?;
                return Ok(b"x");
            }
            Kind::Body => {
                let more = format!(
                    "Content-Type: application/vnd.kafka.json.v2+json\r\nContent-Length: {BODY_BYTES}\r\n"
                );
                (format!("POST /topics/{topic}"), more, 1, b" ")
            }
            Kind::Stream => {
                let more = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n".to_owned();
                (format!("POST /v3/clusters/{cluster}/topics/{topic}/records"), more, 1, b"1\r\n \r\n")
            }
            Kind::Records => {
                let path =
                    format!("/topics/{topic}/partitions/{partition}/records?offset=0&max_bytes={bytes}");
                (format!("GET {path}"), format!("Accept: {V2_BINARY}\r\n"), REQUESTS, b"G")
            }
            Kind::Poll => {
                let consumer = format!("/consumers/never-reads-{}/instances/one", self.number);
                (format!("GET {consumer}/records?max_bytes={bytes}"), String::new(), REQUESTS, b"G")
            }
            Kind::Lists => {
                (format!("GET /v3/clusters/{cluster}/topics/{topic}/partitions"), String::new(), LISTS, b"G")
            }
            Kind::Tail => {
                let path = format!("/v3/clusters/{cluster}/topics/{topic}/records?from=earliest&format=text");
                (format!("GET {path}"), String::new(), 1, b"G")
            }
        };
        let head = format!("{line} HTTP/1.1\r\nHost: {}\r\n{more}\r\n", self.address);
        let wanted = head.repeat(times);
        // The gateway takes no more of them once nobody reads the answers.
        let sent = tokio::time::timeout(Duration::from_secs(5), stream.write_all(wanted.as_bytes())).await;
        sent.unwrap_or(Ok(()))?;
        Ok(byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_third_each() {
        let count = |kinds: &[Kind]| (0..2_000).filter(|n| kinds.contains(&kind_of(*n))).count();
        assert_eq!(count(&[Kind::Header]), 667);
        assert_eq!(count(&[Kind::Body, Kind::Stream]), 667);
        assert_eq!(count(&[Kind::Records, Kind::Poll, Kind::Lists, Kind::Tail]), 666);
        assert!(KINDS.iter().all(|kind| count(&[*kind]) >= 166));
    }
}

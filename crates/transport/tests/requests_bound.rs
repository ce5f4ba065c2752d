//! The bytes of requests that all connections of a listener may have under way together (KIP-72).
#![allow(clippy::unwrap_used)]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use futures_util::FutureExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::{CancellationToken, DropGuard};
use transport::{Handler, Reply, ServerConfig, serve};
use wire::{
    ApiKey, FrameError, RequestFrame,
    messages::{HeartbeatResponse, ProduceResponse},
};

const MIB: usize = 1 << 20;
/// A quarter of it is for what brings no records.
const BOUND: usize = 8 * MIB;
const OF_RECORDS: usize = 6 * MIB;
const WITHIN: Duration = Duration::from_secs(30);

/// Takes records, and acknowledges them while it may.
struct Node {
    taken: AtomicUsize,
    acknowledges: watch::Sender<bool>,
}

impl Handler for Node {
    fn handle(&self, frame: RequestFrame, _: SocketAddr) -> Result<Reply, FrameError> {
        let (version, id) = (frame.version, frame.correlation_id);
        if frame.api != ApiKey::Produce {
            let answer = wire::encode_response(&HeartbeatResponse::default(), version, id)?;
            return Ok(Reply::Now(answer.into()));
        }
        self.taken.fetch_add(frame.body.len(), SeqCst);
        let mut acknowledges = self.acknowledges.subscribe();
        let answer = async move {
            let _ = acknowledges.wait_for(|may| *may).await;
            Ok(wire::encode_response(&ProduceResponse::default(), version, id)?.into())
        };
        Ok(Reply::Later(answer.boxed()))
    }
}

struct Server {
    node: Arc<Node>,
    address: SocketAddr,
    _stop: DropGuard,
}

impl Server {
    async fn start(trickle_max: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let node = Arc::new(Node { taken: AtomicUsize::new(0), acknowledges: watch::channel(false).0 });
        let stop = CancellationToken::new();
        let config = ServerConfig {
            request_bytes_max: 100 * MIB,
            idle_max: Duration::from_secs(60),
            connections_max: 1_000,
            reserved: None,
            in_flight_max: 128,
            in_flight_bytes_max: 64 * MIB,
            requests_bytes_max: BOUND,
            trickle_max,
            answer_bytes_max: MIB,
            stall_max: Duration::from_secs(30),
        };
        tokio::spawn(serve(listener, config, node.clone(), stop.clone()));
        Self { node, address, _stop: stop.drop_guard() }
    }

    async fn patient() -> Self {
        Self::start(Duration::from_secs(10)).await
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// A producer that sends so many requests at once, and ends when all are acknowledged.
    async fn produces(&self, requests: usize, body_bytes: usize) -> JoinHandle<()> {
        let (mut read, mut write) = self.connect().await.into_split();
        tokio::spawn(async move {
            let sent = async {
                for _ in 0..requests {
                    write.write_all(&frame(ApiKey::Produce, body_bytes)).await.unwrap();
                }
            };
            let acknowledged = async {
                for _ in 0..requests {
                    let length = read.read_i32().await.unwrap();
                    read.read_exact(&mut vec![0; length as usize]).await.unwrap();
                }
            };
            tokio::join!(sent, acknowledged);
        })
    }

    fn taken(&self) -> usize {
        self.node.taken.load(SeqCst)
    }

    /// Waits until nothing more is taken, through many heartbeats of another client, which have to be answered.
    async fn stands_still(&self) {
        let mut client = self.connect().await;
        let (mut still, mut taken) = (0, 0);
        while still < 300 || taken < OF_RECORDS / 2 {
            timeout(WITHIN, heartbeat(&mut client)).await.expect("a heartbeat is answered");
            tokio::time::sleep(Duration::from_millis(1)).await;
            still = if self.taken() == taken { still + 1 } else { 0 };
            taken = self.taken();
        }
    }

    fn acknowledge(&self) {
        self.node.acknowledges.send_replace(true);
    }
}

fn frame(api: ApiKey, body_bytes: usize) -> Vec<u8> {
    let version: i16 = 3;
    let mut frame = Vec::with_capacity(body_bytes + 14);
    frame.extend((body_bytes as i32 + 10).to_be_bytes());
    frame.extend((api as i16).to_be_bytes());
    frame.extend(version.to_be_bytes());
    frame.extend(7i32.to_be_bytes());
    // No client id.
    frame.extend((-1i16).to_be_bytes());
    frame.resize(body_bytes + 14, 0);
    frame
}

async fn heartbeat(client: &mut TcpStream) {
    client.write_all(&frame(ApiKey::Heartbeat, 100)).await.unwrap();
    let length = client.read_i32().await.unwrap();
    client.read_exact(&mut vec![0; length as usize]).await.unwrap();
}

async fn all(producers: Vec<JoinHandle<()>>) {
    for producer in producers {
        timeout(WITHIN, producer).await.expect("everything is acknowledged").unwrap();
    }
}

/// Each connection was bounded, and all of them together were not: 30 producers took 1.5 GB of a gateway.
async fn together_they_stay_below_the_bound(requests: usize, body_bytes: usize) {
    let server = Server::patient().await;
    let mut producers = Vec::new();
    for _ in 0..30 {
        producers.push(server.produces(requests, body_bytes).await);
    }
    server.stands_still().await;
    assert!(server.taken() <= OF_RECORDS, "{} bytes", server.taken());
    server.acknowledge();
    all(producers).await;
    assert_eq!(server.taken(), 30 * requests * body_bytes, "nothing is lost, and nobody starves");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_requests_of_all_connections_together_stay_below_the_bound_while_heartbeats_go_on() {
    together_they_stay_below_the_bound(4, MIB).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn small_requests_of_all_connections_together_stay_below_the_bound_while_heartbeats_go_on() {
    together_they_stay_below_the_bound(100, 10_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_fetch_is_read_while_records_fill_the_bound() {
    let server = Server::patient().await;
    let mut producers = Vec::new();
    for _ in 0..10 {
        producers.push(server.produces(1, MIB).await);
    }
    server.stands_still().await;
    // A follower's, say, that opens a session: the acknowledgements above wait for it.
    let mut client = server.connect().await;
    client.write_all(&frame(ApiKey::Heartbeat, MIB)).await.unwrap();
    timeout(WITHIN, client.read_i32()).await.expect("it is answered").unwrap();
    server.acknowledge();
    all(producers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_larger_than_the_bound_is_taken_when_it_is_alone() {
    let server = Server::patient().await;
    server.acknowledge();
    let producers = vec![server.produces(3, 2 * BOUND).await, server.produces(3, 2 * BOUND).await];
    all(producers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_came_in_part_do_not_wait_for_each_other() {
    let server = Server::patient().await;
    server.acknowledge();
    let whole = frame(ApiKey::Produce, 2 * MIB);
    let mut clients = Vec::new();
    for _ in 0..16 {
        let mut client = server.connect().await;
        // Together far more than the bound; what is not read yet waits in the sockets.
        let (part, rest) = whole.split_at(MIB);
        let (part, rest) = (part.to_vec(), rest.to_vec());
        clients.push(tokio::spawn(async move {
            client.write_all(&part).await.unwrap();
            tokio::task::yield_now().await;
            client.write_all(&rest).await.unwrap();
            client.read_i32().await.unwrap();
        }));
    }
    all(clients).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_without_bytes_keep_nobody_out() {
    let server = Server::patient().await;
    server.acknowledge();
    let mut claims = Vec::new();
    for _ in 0..50 {
        let mut client = server.connect().await;
        let claimed = &mut frame(ApiKey::Produce, 1_000);
        claimed[..4].copy_from_slice(&(90 * MIB as i32).to_be_bytes());
        client.write_all(claimed).await.unwrap();
        claims.push(client);
    }
    let begun = std::time::Instant::now();
    all(vec![server.produces(20, MIB).await]).await;
    assert!(begun.elapsed() < Duration::from_secs(8), "before the first of them was cut off");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_request_that_trickles_ends_its_connection_and_its_part_is_given_back() {
    let server = Server::start(Duration::from_millis(300)).await;
    server.acknowledge();
    let whole = frame(ApiKey::Produce, 2 * BOUND);
    let (mut read, mut write) = server.connect().await.into_split();
    write.write_all(&whole[..OF_RECORDS]).await.unwrap();
    let trickle = tokio::spawn(async move {
        for byte in whole[OF_RECORDS..].chunks(1) {
            if write.write_all(byte).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let end = timeout(WITHIN, read.read_u8()).await.expect("the connection ends");
    assert!(end.is_err(), "no answer came");
    trickle.abort();
    all(vec![server.produces(20, MIB).await]).await;
}

//! Places for the cluster's own nodes, where clients have taken all others.
#![allow(clippy::unwrap_used)]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_util::sync::{CancellationToken, DropGuard};
use transport::{Handler, Reply, Reserved, ServerConfig, serve};
use wire::{FrameError, RequestFrame, messages::HeartbeatResponse};

const CLIENTS: usize = 5;
const RESERVED: usize = 2;
const WITHIN: Duration = Duration::from_secs(20);

struct Alive;

impl Handler for Alive {
    fn handle(&self, frame: RequestFrame, _: SocketAddr) -> Result<Reply, FrameError> {
        let answer =
            wire::encode_response(&HeartbeatResponse::default(), frame.version, frame.correlation_id)?;
        Ok(Reply::Now(answer.into()))
    }
}

struct Server {
    address: SocketAddr,
    /// As many as there is place for.
    _clients: Vec<TcpStream>,
    _stop: DropGuard,
}

impl Server {
    /// Clients hold all of their places.
    async fn crowded() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let config = ServerConfig {
            request_bytes_max: 1 << 20,
            idle_max: Duration::from_secs(60),
            connections_max: CLIENTS,
            reserved: Some(Reserved { places: RESERVED, client_id: "node" }),
            in_flight_max: 16,
            in_flight_bytes_max: 1 << 20,
            requests_bytes_max: 4 << 20,
            trickle_max: Duration::from_secs(10),
            answer_bytes_max: 1 << 20,
            stall_max: Duration::from_secs(30),
        };
        tokio::spawn(serve(listener, config, Arc::new(Alive), stop.clone()));
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            let mut client = TcpStream::connect(address).await.unwrap();
            assert!(is_answered(&mut client, "client").await);
            clients.push(client);
        }
        Self { address, _clients: clients, _stop: stop.drop_guard() }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
}

/// Whether a request under this client id has an answer; else the connection has ended.
async fn is_answered(stream: &mut TcpStream, client_id: &str) -> bool {
    let mut frame = Vec::new();
    frame.extend((client_id.len() as i32 + 10).to_be_bytes());
    // A heartbeat, version 3.
    frame.extend([0, 12, 0, 3]);
    frame.extend(7i32.to_be_bytes());
    frame.extend((client_id.len() as i16).to_be_bytes());
    frame.extend(client_id.as_bytes());
    if stream.write_all(&frame).await.is_err() {
        return false;
    }
    let Ok(length) = timeout(WITHIN, stream.read_i32()).await.expect("an answer, or the end") else {
        return false;
    };
    stream.read_exact(&mut vec![0; length as usize]).await.is_ok()
}

/// With a node at its limit the followers' connections were refused, and a restarted node never came back in sync.
#[tokio::test]
async fn a_node_finds_a_place_where_clients_have_taken_all() {
    let server = Server::crowded().await;
    let mut nodes = Vec::new();
    for _ in 0..RESERVED {
        let mut node = server.connect().await;
        assert!(is_answered(&mut node, "node").await);
        assert!(is_answered(&mut node, "node").await, "and stays");
        nodes.push(node);
    }
    assert!(!is_answered(&mut server.connect().await, "node").await, "there are so many places and no more");
}

#[tokio::test]
async fn a_client_in_a_place_for_nodes_is_closed_with_its_first_request() {
    let server = Server::crowded().await;
    for _ in 0..RESERVED * 3 {
        assert!(!is_answered(&mut server.connect().await, "client").await);
    }
    assert!(is_answered(&mut server.connect().await, "node").await, "and gives its place back");
}

#[tokio::test]
async fn one_that_says_nothing_in_a_place_for_nodes_is_closed_within_seconds() {
    let server = Server::crowded().await;
    let mut silent = Vec::new();
    for _ in 0..RESERVED {
        silent.push(server.connect().await);
    }
    for stream in &mut silent {
        let end = timeout(WITHIN, stream.read_u8()).await.expect("the connection ends");
        assert!(end.is_err());
    }
    assert!(is_answered(&mut server.connect().await, "node").await);
}

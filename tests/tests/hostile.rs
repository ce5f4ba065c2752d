//! What nobody should send, to a real storage node.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use tests::{Cluster, ClusterSpec, batch_of, resident_bytes};

async fn node() -> Cluster {
    Cluster::start(ClusterSpec { controllers: 1, storage_nodes: 1, gateways: 0 }).await
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// Sends bytes; whatever comes back until the node ends the connection (or answers one frame).
fn exchange(address: &str, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(address);
    // The node may end the connection before it has taken everything.
    let _ = stream.write_all(bytes);
    let mut answer = vec![0; 64 << 10];
    let read = stream.read(&mut answer).unwrap_or(0);
    answer.truncate(read);
    answer
}

fn frame(api: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend_from_slice(&(body.len() as i32 + 8).to_be_bytes());
    frame.extend_from_slice(&api.to_be_bytes());
    frame.extend_from_slice(&version.to_be_bytes());
    frame.extend_from_slice(&7i32.to_be_bytes());
    frame.extend_from_slice(body);
    frame
}

async fn still_serves(cluster: &Cluster, topic: &str) {
    let kafka = cluster.kafka(0);
    assert_eq!(kafka.create_topic(topic, 1).await, 0);
    assert_eq!(kafka.produce(topic, 0, batch_of(&["x"]), 1).await.unwrap().error_code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_with_impossible_lengths_end_the_connection_and_nothing_else() {
    let mut cluster = node().await;
    let address = cluster.kafka_address(0);
    for length in [-1i32, i32::MIN, i32::MAX, 0, 7, (100 << 20) + 1] {
        assert_eq!(exchange(&address, &length.to_be_bytes()), b"", "length {length}");
    }
    // A length that is allowed, and then silence: no memory is taken for what has not come.
    let before = resident_bytes(cluster.process("storage-node-0").pid());
    let claims: Vec<TcpStream> = (0..50)
        .map(|_| {
            let mut stream = connect(&address);
            stream.write_all(&(100i32 << 20).to_be_bytes()).unwrap();
            stream
        })
        .collect();
    still_serves(&cluster, "after").await;
    let after = resident_bytes(cluster.process("storage-node-0").pid());
    assert!(after < before + (64 << 20), "{before} bytes before, {after} after");
    drop(claims);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_api_survives_a_body_that_claims_billions() {
    let mut cluster = node().await;
    let address = cluster.kafka_address(0);
    let compact_billions = [0xff, 0xff, 0xff, 0xff, 0x0f];
    for spoken in wire::SPOKEN {
        for version in spoken.min..=spoken.max {
            let flexible = spoken.api.request_header_version(version) >= 2;
            // A header without client id, then nothing but the largest lengths there are, at every distance.
            for lead in 0..12 {
                let mut body = vec![0xff, 0xff];
                if flexible {
                    body.push(0);
                }
                body.extend(std::iter::repeat_n(0, lead));
                match flexible {
                    true => body.extend_from_slice(&compact_billions.repeat(4)),
                    false => body.extend_from_slice(&[0x7f, 0xff, 0xff, 0xff].repeat(4)),
                }
                let _ = exchange_quickly(&address, &frame(spoken.api as i16, version, &body));
            }
        }
    }
    assert!(cluster.process("storage-node-0").is_running());
    still_serves(&cluster, "after").await;
}

/// As [`exchange`], but content with silence: some of these bodies happen to be well-formed requests that wait.
fn exchange_quickly(address: &str, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(address);
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let _ = stream.write_all(bytes);
    let mut answer = vec![0; 4 << 10];
    let read = stream.read(&mut answer).unwrap_or(0);
    answer.truncate(read);
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_api_or_version_ends_the_connection_but_api_versions_is_answered() {
    let cluster = node().await;
    let address = cluster.kafka_address(0);
    assert_eq!(exchange(&address, &frame(999, 0, &[0xff, 0xff])), b"");
    assert_eq!(exchange(&address, &frame(0, 99, &[0xff, 0xff])), b"", "a produce from the future");
    let answer = exchange(&address, &frame(18, 99, &[0xff, 0xff]));
    assert_eq!(answer[4..8], 7i32.to_be_bytes(), "the correlation id");
    assert_eq!(answer[8..10], 35i16.to_be_bytes(), "UNSUPPORTED_VERSION, with what is supported behind it");
    still_serves(&cluster, "after").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn arbitrary_bytes_do_no_harm() {
    let mut cluster = node().await;
    let address = cluster.kafka_address(0);
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    for api in 0..70 {
        for version in 0..6 {
            let body: Vec<u8> = (0..200)
                .map(|_| {
                    // xorshift (Marsaglia 2003): the same bytes in every run.
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    state as u8
                })
                .collect();
            let mut stream = connect(&address);
            let _ = stream.write_all(&frame(api, version, &body));
        }
    }
    assert!(cluster.process("storage-node-0").is_running());
    still_serves(&cluster, "after").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stops_in_the_middle_of_a_frame_loses_only_that_frame() {
    let cluster = node().await;
    let kafka = cluster.kafka(0);
    kafka.create_topic("t", 1).await;
    let whole = frame(0, 9, &[0; 500]);
    let mut stream = connect(&cluster.kafka_address(0));
    stream.write_all(&whole[..100]).unwrap();
    drop(stream);
    assert_eq!(kafka.list_offset("t", 0, -1).await, Ok(0));
    still_serves(&cluster, "after").await;
}

/// Every answer was held in memory for as long as the client sent requests, all in one turn of a worker.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_and_never_reads_takes_little_memory_and_nobody_elses_time() {
    let mut cluster = node().await;
    let kafka = cluster.kafka(0);
    assert_eq!(kafka.create_topic("many", 2_000).await, 0);
    let before = resident_bytes(cluster.process("storage-node-0").pid());
    // Metadata v1 for all topics: 18 bytes in, a hundred thousand out.
    let request = frame(3, 1, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    let pipelined = request.repeat(50_000);
    let streams: Vec<TcpStream> = (0..4)
        .map(|_| {
            let mut stream = connect(&cluster.kafka_address(0));
            stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
            // It stops taking them at some point, which is the idea.
            let _ = stream.write_all(&pipelined);
            stream
        })
        .collect();
    still_serves(&cluster, "meanwhile").await;
    let after = resident_bytes(cluster.process("storage-node-0").pid());
    assert!(after < before + (96 << 20), "{before} bytes before, {after} after");
    // And they do not hold up its end.
    assert!(cluster.process("storage-node-0").terminate(Duration::from_secs(9)));
    drop(streams);
}

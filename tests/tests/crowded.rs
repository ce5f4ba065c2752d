//! Where there are more clients, or more of their requests, than there is room for.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use tests::{
    Cluster, batch_of, peak_resident_bytes,
    replicated::{MIN_TWO, THREE, WITHIN, follower, in_sync, leader, node, partition},
    wait_until,
};
use wire::{
    StrBytes,
    messages::{
        ProduceRequest, TopicName,
        produce_request::{PartitionProduceData, TopicProduceData},
    },
};

/// A connection that was taken, and holds its place: its request was answered.
fn occupy(address: &str) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    // ApiVersions, version 0, without a client id.
    stream.write_all(&[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff]).ok()?;
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    stream.read_exact(&mut vec![0; u32::from_be_bytes(length) as usize]).ok()?;
    Some(stream)
}

/// The followers' connections were refused like any client's, and a node that had restarted stayed out of the ISR.
#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_node_returns_to_the_isr_though_clients_hold_every_connection() {
    let mut cluster = Cluster::start_with(THREE, &[("storage.connections_max", "20")]).await;
    assert_eq!(cluster.kafka(0).create_replicated("t", 1, 3, MIN_TWO).await, 0);
    in_sync(&cluster, 3).await;
    let (leader, gone) = (leader(&cluster).await, follower(&cluster).await);
    cluster.kill(&node(gone));
    wait_until("the node is out of the ISR", WITHIN, || async {
        partition(&cluster, "t", 0).await.isr.len() == 2
    })
    .await;
    let address = cluster.kafka_address(leader);
    let mut clients = Vec::new();
    while let Some(client) = occupy(&address) {
        clients.push(client);
        assert!(clients.len() <= 20, "clients get no more places than are theirs");
    }
    assert!(clients.len() >= 10, "{} clients", clients.len());
    cluster.start_one(&node(gone));
    in_sync(&cluster, 3).await;
    assert!(occupy(&address).is_none(), "the clients are still there");
    let refusals = cluster.process(&node(leader)).log().matches("too many connections").count();
    assert!((1..=10).contains(&refusals), "{refusals} lines tell of refused connections");
}

const REQUEST_BYTES: usize = 1_000_000;
const PRODUCERS: usize = 30;

/// Sends requests for `t-0` until the connection takes no more for a while, or it is shut.
fn flood(address: &str) -> (TcpStream, JoinHandle<u64>) {
    let records = batch_of(&["x".repeat(REQUEST_BYTES).as_str()]);
    let partition = PartitionProduceData::default().with_index(0).with_records(Some(records));
    let topic = TopicProduceData::default()
        .with_name(TopicName(StrBytes::from_static_str("t")))
        .with_partition_data(vec![partition]);
    let request = ProduceRequest::default().with_acks(1).with_timeout_ms(30_000).with_topic_data(vec![topic]);
    let frame = wire::encode_request(&request, 9, 7, &StrBytes::default()).unwrap();
    let stream = TcpStream::connect(address).unwrap();
    let mut sender = stream.try_clone().unwrap();
    let sent =
        std::thread::spawn(move || (0..60).take_while(|_| sender.write_all(&frame).is_ok()).count() as u64);
    (stream, sent)
}

/// 30 producers with one node stopped for 8 s took a gateway from 48 MB to 1,565 MB: each connection was bounded, and all of
/// them together were not.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_takes_no_more_memory_than_is_set_while_a_node_stands_still() {
    let settings =
        [("gateway.kafka.requests_bytes_max", "67108864"), ("controller.session_timeout_ms", "20000")];
    let mut cluster = Cluster::start_with(THREE, &settings).await;
    assert_eq!(cluster.kafka(0).create_replicated("t", 1, 3, MIN_TWO).await, 0);
    in_sync(&cluster, 3).await;
    let leader = leader(&cluster).await;
    let gateway = cluster.process("gateway-0").pid();
    let before = peak_resident_bytes(gateway);
    cluster.process(&node(leader)).signal(Signal::STOP);
    let address = cluster.gateway_kafka_address(0);
    let floods: Vec<_> = (0..PRODUCERS).map(|_| flood(&address)).collect();
    let until = Instant::now() + Duration::from_secs(6);
    wait_until("other requests are answered meanwhile", Duration::from_secs(20), || async {
        assert!(occupy(&address).is_some(), "a client asks for versions");
        Instant::now() > until
    })
    .await;
    let peak = peak_resident_bytes(gateway);
    cluster.process(&node(leader)).signal(Signal::CONT);
    for (stream, sent) in floods {
        let _ = stream.shutdown(Shutdown::Both);
        sent.join().unwrap();
    }
    let more = peak.saturating_sub(before) >> 20;
    assert!(more < 160, "{more} MiB more, with 64 MiB of requests allowed");
}

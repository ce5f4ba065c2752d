//! What fetches of Kafka clients take of a gateway's memory.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use tests::{Cluster, ClusterSpec, batch_of, peak_resident_bytes};
use wire::{
    StrBytes, WireTopicName,
    messages::{
        FetchRequest,
        fetch_request::{FetchPartition, FetchTopic},
    },
};

const MIB: u64 = 1 << 20;
const PARTITIONS: i32 = 8;
/// Of each partition, nearly a mebibyte each.
const BATCHES: usize = 8;
const CLIENTS: u64 = 60;

/// A frame that asks for as much of all partitions as a consumer does that reads fast.
fn fetch() -> bytes::Bytes {
    let partitions = (0..PARTITIONS)
        .map(|n| FetchPartition::default().with_partition(n).with_partition_max_bytes(10 << 20));
    let topic = FetchTopic::default()
        .with_topic(WireTopicName(StrBytes::from_static_str("t")))
        .with_partitions(partitions.collect());
    let request = FetchRequest::default()
        .with_min_bytes(1)
        .with_max_wait_ms(500)
        .with_max_bytes(50 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![topic]);
    wire::encode_request(&request, 12, 1, &StrBytes::from_static_str("a client")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_fetch_and_do_not_read_take_what_answers_may_and_no_more() {
    let spec = ClusterSpec { controllers: 1, storage_nodes: 1, gateways: 1 };
    let mut cluster = Cluster::start_with(spec, &[("gateway.kafka.answer_bytes_max", "67108864")]).await;
    let direct = cluster.kafka(0);
    assert_eq!(direct.create_topic("t", PARTITIONS).await, 0);
    let value = "x".repeat(1_000_000);
    for partition in 0..PARTITIONS {
        for _ in 0..BATCHES {
            assert_eq!(direct.produce("t", partition, batch_of(&[&value]), 1).await.unwrap().error_code, 0);
        }
    }
    // Through the gateway: it knows the topic.
    assert_eq!(cluster.through(0).read_all("t", 0, 0).await.len(), BATCHES);
    let gateway = cluster.process("gateway-0").pid();
    let before = peak_resident_bytes(gateway);
    let frame = fetch();
    let mut clients: Vec<TcpStream> = (0..CLIENTS)
        .map(|_| {
            let mut stream = TcpStream::connect(cluster.gateway_kafka_address(0)).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            stream.write_all(&frame).unwrap();
            stream
        })
        .collect();
    // All are answered, if only without records, and none of them reads more than this.
    for client in &mut clients {
        client.read_exact(&mut [0; 4]).expect("an answer");
    }
    let peak = peak_resident_bytes(gateway);
    // What answers may take, and the buffers of connections.
    assert!(peak < before + (64 + CLIENTS) * MIB, "{} MiB before, {} at most", before / MIB, peak / MIB);
    drop(clients);
    let reader = cluster.through(0);
    for partition in 0..PARTITIONS {
        assert_eq!(reader.read_all("t", partition, 0).await.len(), BATCHES);
    }
}

//! A topic `t` on three storage nodes, each with a replica of every partition, and what tests ask of it.

use std::{path::PathBuf, time::Duration};

use domain::{PartitionIndex, TopicName};
use metadata::Partition;

use crate::{Cluster, ClusterSpec, KafkaClient, batch_of, wait_until};

pub const THREE: ClusterSpec = ClusterSpec { controllers: 1, storage_nodes: 3, gateways: 1 };
pub const MIN_TWO: &[(&str, &str)] = &[("min.insync.replicas", "2")];
pub const WITHIN: Duration = Duration::from_secs(30);

/// Three nodes and the topic `t` with so many partitions on each of them, min ISR 2.
pub async fn replicated(partitions: i32) -> Cluster {
    let cluster = Cluster::start(THREE).await;
    assert_eq!(cluster.kafka(0).create_replicated("t", partitions, 3, MIN_TWO).await, 0);
    in_sync(&cluster, 3).await;
    for number in 0..partitions {
        leads(&cluster, number).await;
    }
    cluster
}

/// Waits until the partition's leader has heard that it leads: until then it answers that there is no such partition.
async fn leads(cluster: &Cluster, number: i32) {
    wait_until("the leader knows its high watermark", WITHIN, || async {
        match partition(cluster, "t", number).await.leader {
            Some(leader) => cluster.kafka(leader.0 as usize).list_offset("t", number, -1).await.is_ok(),
            None => false,
        }
    })
    .await;
}

pub fn node(n: usize) -> String {
    format!("storage-node-{n}")
}

/// The partition as the controller has it.
pub async fn partition(cluster: &Cluster, topic: &str, number: i32) -> Partition {
    let name = TopicName::new(topic).unwrap();
    let described = cluster.controllers().describe_topic(&name, WITHIN).await.unwrap();
    let found = described.partitions.into_iter().find(|(n, _)| *n == PartitionIndex(number));
    found.expect("the partition exists").1
}

pub async fn leader(cluster: &Cluster) -> usize {
    wait_until("somebody leads", WITHIN, || async { partition(cluster, "t", 0).await.leader.is_some() })
        .await;
    partition(cluster, "t", 0).await.leader.unwrap().0 as usize
}

/// A follower of `t-0`.
pub async fn follower(cluster: &Cluster) -> usize {
    let leader = leader(cluster).await;
    (0..3).find(|n| *n != leader).unwrap()
}

/// Waits until every partition of `t` has so many replicas in sync.
pub async fn in_sync(cluster: &Cluster, count: usize) {
    let name = TopicName::new("t").unwrap();
    wait_until(&format!("{count} are in sync"), WITHIN, || async {
        let topic = cluster.controllers().describe_topic(&name, WITHIN).await.unwrap();
        topic.partitions.iter().all(|(_, p)| p.isr.len() == count && p.leader.is_some())
    })
    .await;
}

/// What the partition's leader gives a consumer, from the beginning.
pub async fn values(cluster: &Cluster, number: i32) -> Vec<String> {
    leads(cluster, number).await;
    let leader = partition(cluster, "t", number).await.leader.unwrap().0 as usize;
    let records = cluster.kafka(leader).read_all("t", number, 0).await;
    records
        .iter()
        .map(|r| String::from_utf8_lossy(r.value.as_deref().unwrap_or_default()).into_owned())
        .collect()
}

pub fn log_file(cluster: &Cluster, n: usize, number: i32) -> PathBuf {
    cluster.folder().join(node(n)).join(format!("t-{number}/00000000000000000000.log"))
}

/// Stops everything and compares the partition's logs byte by byte.
pub fn same_logs(mut cluster: Cluster, number: i32) {
    cluster.terminate_all();
    let logs: Vec<Vec<u8>> =
        (0..3).map(|n| std::fs::read(log_file(&cluster, n, number)).unwrap_or_default()).collect();
    if logs.iter().any(|log| log.is_empty() || *log != logs[0]) {
        for (n, log) in logs.iter().enumerate() {
            let told = std::fs::read_to_string(cluster.folder().join(format!("{}.log", node(n))));
            eprintln!("--- {}: {} bytes ---\n{}", node(n), log.len(), told.unwrap_or_default());
        }
        panic!("the replicas differ");
    }
}

pub async fn fill(kafka: &KafkaClient, from: i32, count: i32) {
    for n in from..from + count {
        assert_eq!(kafka.produce("t", 0, batch_of(&[&format!("v{n}")]), -1).await.unwrap().error_code, 0);
    }
}

/// Where in a log the batch begins that has the record at `offset`.
pub fn position_of(log: &[u8], offset: i64) -> usize {
    let mut at = 0;
    loop {
        let header = records::BatchHeader::parse(&log[at..]).unwrap();
        if header.last_offset().0 >= offset {
            return at;
        }
        at += header.total_bytes();
    }
}

/// Where a batch's header has its version.
pub const MAGIC_AT: usize = 16;
/// Where it has its leader epoch, which no checksum covers.
pub const LEADER_EPOCH_AT: usize = 12;

/// A bit flips on the disk of a node that is down: in the byte `at` of the batch of `t-0` that has the record at `offset`.
pub fn flip_a_bit(cluster: &Cluster, n: usize, offset: i64, at: usize) {
    let path = log_file(cluster, n, 0);
    let mut log = std::fs::read(&path).unwrap();
    let batch = position_of(&log, offset);
    log[batch + at] ^= 0x40;
    std::fs::write(&path, &log).unwrap();
}

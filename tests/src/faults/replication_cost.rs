//! What a gigabyte costs all storage nodes together, in CPU-seconds.

use std::{
    collections::VecDeque,
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use bytes::Bytes;
use records::{BatchBuilder, Compression};
use wire::{
    StrBytes, WireTopicName,
    messages::{
        ProduceRequest,
        produce_request::{PartitionProduceData, TopicProduceData},
    },
};

use super::{admin::Admin, options::Options};
use crate::{Cluster, ClusterSpec, cpu_seconds, wait_until};

const RUNS: usize = 5;
const VERSION: i16 = 9;

/// One connection to the leader of one partition keeps a mebibyte under way, acks=all, over loopback: virtual bridges
/// would cost more than what is measured. CPU is user and system time of all storage nodes.
///
/// # Errors
/// The cluster does not start, or does not take the writes.
pub async fn measure(options: &Options) -> anyhow::Result<()> {
    let nodes = usize::from(options.nodes);
    let spec = ClusterSpec { controllers: 1, storage_nodes: nodes, gateways: 0 };
    let mut cluster = Cluster::start_with(spec, &[("log.level", "warn")]).await;
    let pids: Vec<u32> = (0..nodes).map(|n| cluster.process(&format!("storage-node-{n}")).pid()).collect();
    let admin = Admin::new((0..nodes).map(|n| cluster.kafka_address(n)).collect());
    let factor = options.replication_factor;
    println!(
        "| requests | CPU-s/GB of {} nodes, {factor} replicas, acks=all | aim | all runs | GB/s |",
        nodes
    );
    println!("| --- | --- | --- | --- | --- |");
    for (bytes, aim) in [(1 << 20, "≤ 2.2"), (16 << 10, "-")] {
        let mut runs = Vec::new();
        // The first run only touches the memory that the page cache then uses again.
        for run in 0..=RUNS {
            let topic = format!("cost-{bytes}-{run}");
            crate::touch_memory(options.gigabytes * f64::from(factor) + 1.0);
            let configs = [("min.insync.replicas", options.min_insync.min(factor).to_string())];
            let view = admin.create_topic(&topic, 1, factor, &configs).await?;
            let leader = view.nodes.get(&view.partitions[&0].leader).context("no leader")?.clone();
            let gigabytes = options.gigabytes;
            let (before, begun) = (cpu(&pids), Instant::now());
            let written = {
                let topic = topic.clone();
                tokio::task::spawn_blocking(move || produce(&leader, &topic, bytes, gigabytes)).await??
            };
            let seconds = begun.elapsed().as_secs_f64();
            if run > 0 {
                let gigabytes = written as f64 / 1e9;
                runs.push(((cpu(&pids) - before) / gigabytes, gigabytes / seconds));
            }
            admin.delete_topic(&topic).await?;
            files_gone(&cluster, nodes, &topic).await;
        }
        let all: Vec<String> = runs.iter().map(|(cpu, _)| format!("{cpu:.2}")).collect();
        let median = |pick: fn(&(f64, f64)) -> f64| {
            let mut values: Vec<f64> = runs.iter().map(pick).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let (cpu, rate) = (median(|r| r.0), median(|r| r.1));
        println!("| {} KiB | {cpu:.2} | {aim} | {} | {rate:.2} |", bytes >> 10, all.join(" "));
    }
    Ok(())
}

/// Removing a gigabyte costs something, too, and is no part of the next run.
async fn files_gone(cluster: &Cluster, nodes: usize, topic: &str) {
    let folders: Vec<_> = (0..nodes).map(|n| cluster.folder().join(format!("storage-node-{n}"))).collect();
    wait_until("the topic's files are gone", Duration::from_secs(60), || async {
        let entries = folders.iter().flat_map(std::fs::read_dir).flatten().flatten();
        !entries.into_iter().any(|e| e.file_name().to_string_lossy().starts_with(topic))
    })
    .await;
}

fn cpu(pids: &[u32]) -> f64 {
    pids.iter().map(|pid| cpu_seconds(*pid)).sum()
}

fn frame(topic: &str, bytes: usize) -> anyhow::Result<Bytes> {
    let mut builder = BatchBuilder::new(Compression::None);
    let value = vec![b'x'; 1_000];
    while builder.encoded_bytes() + value.len() < bytes - 64 {
        builder.push(1_000, None, Some(&value), &[]);
    }
    let data = PartitionProduceData::default().with_index(0).with_records(Some(builder.build()));
    let name = WireTopicName(StrBytes::from_string(topic.to_owned()));
    let topic = TopicProduceData::default().with_name(name).with_partition_data(vec![data]);
    let request =
        ProduceRequest::default().with_acks(-1).with_timeout_ms(10_000).with_topic_data(vec![topic]);
    Ok(wire::encode_request(&request, VERSION, 1, &StrBytes::from_static_str("faults"))?)
}

/// Writes so much and waits until all of it is acknowledged; bytes.
fn produce(leader: &str, topic: &str, bytes: usize, gigabytes: f64) -> anyhow::Result<u64> {
    let frame = frame(topic, bytes)?;
    let mut stream = TcpStream::connect(leader)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let requests = (gigabytes * 1e9 / frame.len() as f64) as usize;
    let in_flight = 8.max((1 << 20) / bytes);
    let mut under_way = VecDeque::new();
    for request in 0..requests {
        if under_way.len() == in_flight {
            under_way.pop_front();
            answer(&mut stream)?;
        }
        stream.write_all(&frame)?;
        under_way.push_back(request);
    }
    for _ in under_way {
        answer(&mut stream)?;
    }
    Ok(requests as u64 * frame.len() as u64)
}

fn answer(stream: &mut TcpStream) -> anyhow::Result<()> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut body = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut body)?;
    let answer = wire::decode_response::<ProduceRequest>(body.into(), VERSION)?;
    let code = answer.responses[0].partition_responses[0].error_code;
    ensure!(code == 0, "produce failed with {code}");
    Ok(())
}

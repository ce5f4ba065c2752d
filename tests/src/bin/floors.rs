//! CPU-seconds for a gigabyte of the storage node, beside the floors of PERFORMANCE.md, and records/s through REST.
//!
//! One real controller, storage node and gateway on loopback. The clients keep a fixed number of requests in flight on
//! one connection. CPU is user and system time of the measured process from `schedstat`, which survives noise; the
//! rates do not, and are only indicative.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use bytes::Bytes;
use clap::Parser;
use records::{BatchBuilder, Compression};
use tests::{Cluster, ClusterSpec, KafkaClient, Rest, cpu_seconds, resident_bytes};
use wire::{
    StrBytes, WireTopicName,
    messages::{
        DeleteTopicsRequest, FetchRequest, ProduceRequest,
        delete_topics_request::DeleteTopicState,
        fetch_request::{FetchPartition, FetchTopic},
        produce_request::{PartitionProduceData, TopicProduceData},
    },
};

#[derive(Parser)]
struct Options {
    /// Runs of each measurement; the median is printed.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Gigabytes a produce or fetch run moves.
    #[arg(long, default_value_t = 2.0)]
    gigabytes: f64,
    /// JSON records that a REST run produces; 0: no REST.
    #[arg(long, default_value_t = 200_000)]
    rest_records: usize,
}

const IN_FLIGHT: usize = 8;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    println!("touched {} GiB of memory first\n", tests::touch_memory(f64::MAX));
    let spec =
        ClusterSpec { controllers: 1, storage_nodes: 1, gateways: usize::from(options.rest_records > 0) };
    let mut cluster = Cluster::start_with(spec, &[("log.level", "warn")]).await;
    let node = cluster.process("storage-node-0").pid();
    let kafka = cluster.kafka(0);
    println!("| what | CPU-s/GB (median of {}) | aim | all runs | GB/s |", options.runs);
    println!("| --- | --- | --- | --- | --- |");
    let (mut large, mut small, mut fetched) = (Vec::new(), Vec::new(), Vec::new());
    // The first round only touches the memory that the page cache then uses again.
    for run in 0..=options.runs {
        for (bytes, runs) in [(1 << 20, &mut large), (16 << 10, &mut small)] {
            let topic = format!("produce-{bytes}-{run}");
            ensure!(kafka.create_topic(&topic, 1).await == 0, "{topic} was not made");
            let connection = Connection::open(&cluster.kafka_address(0))?;
            let produced = measured(node, || produce(connection, &topic, bytes, options.gigabytes))?;
            let connection = Connection::open(&cluster.kafka_address(0))?;
            let fetch = measured(node, || fetch(connection, &topic))?;
            if run > 0 {
                runs.push(produced);
                if bytes == 1 << 20 {
                    fetched.push(fetch);
                }
            }
            forget(&cluster, &kafka, &topic).await?;
        }
    }
    report("produce, 1 MiB requests", "≤ 0.5", large);
    report("produce, 16 KiB requests", "≤ 1.0", small);
    report("fetch, 1 MiB requests, hot", "≤ 0.4", fetched);
    println!("\nresident memory of the storage node: {} MiB\n", resident_bytes(node) >> 20);

    if options.rest_records == 0 {
        return Ok(());
    }
    let gateway = cluster.process("gateway-0").pid();
    println!("| REST, v2 JSON | records/s (median) | gateway CPU-s for a million records | storage node's |");
    println!("| --- | --- | --- | --- |");
    let rest = cluster.rest(0);
    let (status, body) = rest.create_topic("rest", 4).await;
    ensure!(status.is_success(), "{body}");
    for per_request in [1, 10, 100] {
        let count = options.rest_records.min(per_request * 50_000);
        let mut runs = Vec::new();
        for _ in 0..options.runs.min(3) {
            let (cpu, node_cpu, begun) = (cpu_seconds(gateway), cpu_seconds(node), Instant::now());
            rest_produce(&rest, per_request, count).await?;
            let seconds = begun.elapsed().as_secs_f64();
            let per_million = 1e6 / count as f64;
            runs.push((
                count as f64 / seconds,
                (cpu_seconds(gateway) - cpu) * per_million,
                (cpu_seconds(node) - node_cpu) * per_million,
            ));
        }
        let column = |pick: fn(&(f64, f64, f64)) -> f64| median(runs.iter().map(pick).collect());
        println!(
            "| {per_request} a request, 32 connections | {:.0} | {:.1} | {:.1} |",
            column(|r| r.0),
            column(|r| r.1),
            column(|r| r.2)
        );
    }
    Ok(())
}

/// Deletes the topic and waits until its files are gone, and with them their pages.
async fn forget(cluster: &Cluster, kafka: &KafkaClient, topic: &str) -> anyhow::Result<()> {
    let name = DeleteTopicState::default().with_name(Some(name(topic)));
    let request = DeleteTopicsRequest::default().with_timeout_ms(30_000).with_topics(vec![name]);
    let answer = kafka.call(request).await?;
    ensure!(answer.responses[0].error_code == 0, "{topic} was not deleted");
    let folder = cluster.folder().join("storage-node-0");
    tests::wait_until("the topic's files are gone", Duration::from_secs(60), || async {
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        !entries.into_iter().any(|e| e.file_name().to_string_lossy().starts_with(topic))
    })
    .await;
    Ok(())
}

/// One run: CPU-seconds for a gigabyte, and gigabytes a second.
fn measured(pid: u32, run: impl FnOnce() -> anyhow::Result<u64>) -> anyhow::Result<(f64, f64)> {
    let (cpu, begun) = (cpu_seconds(pid), Instant::now());
    let gigabytes = run()? as f64 / 1e9;
    Ok(((cpu_seconds(pid) - cpu) / gigabytes, gigabytes / begun.elapsed().as_secs_f64()))
}

fn report(what: &str, aim: &str, runs: Vec<(f64, f64)>) {
    let all: Vec<String> = runs.iter().map(|(cpu, _)| format!("{cpu:.2}")).collect();
    let cpu = median(runs.iter().map(|r| r.0).collect());
    let rate = median(runs.iter().map(|r| r.1).collect());
    println!("| {what} | {cpu:.2} | {aim} | {} | {rate:.2} |", all.join(" "));
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A blocking connection that spends as little as it can: frames are made once, answers only skipped over.
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    fn open(address: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).context("the storage node is there")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self { stream, buffer: vec![0; 1 << 20] })
    }

    /// Reads one answer; its first bytes and its length.
    fn answer(&mut self) -> anyhow::Result<(Vec<u8>, usize)> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        let mut head = vec![0; length.min(256)];
        self.stream.read_exact(&mut head)?;
        let mut left = length - head.len();
        while left > 0 {
            let part = left.min(self.buffer.len());
            left -= self.stream.read(&mut self.buffer[..part])?;
        }
        Ok((head, length))
    }
}

fn name(topic: &str) -> WireTopicName {
    WireTopicName(StrBytes::from_string(topic.to_owned()))
}

/// One batch of 1 KiB records that fills about so many bytes.
fn batch(bytes: usize) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None);
    let value = vec![b'x'; 1_000];
    while builder.encoded_bytes() + value.len() < bytes.max(2_000) - 64 {
        builder.push(1_000, None, Some(&value), &[]);
    }
    builder.build()
}

const VERSION: i16 = 9;

fn produce(mut connection: Connection, topic: &str, bytes: usize, gigabytes: f64) -> anyhow::Result<u64> {
    let data = PartitionProduceData::default().with_index(0).with_records(Some(batch(bytes)));
    let topic = TopicProduceData::default().with_name(name(topic)).with_partition_data(vec![data]);
    let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(5_000).with_topic_data(vec![topic]);
    let frame = wire::encode_request(&request, VERSION, 1, &StrBytes::from_static_str("floors"))?;
    let requests = (gigabytes * 1e9 / frame.len() as f64) as usize;
    // As many small requests are in flight as make up a large one.
    let in_flight = IN_FLIGHT.max((1 << 20) / bytes);
    let (mut sent, mut answered) = (0, 0);
    while answered < requests {
        if sent < requests && sent - answered < in_flight {
            connection.stream.write_all(&frame)?;
            sent += 1;
            continue;
        }
        let (answer, _) = connection.answer()?;
        if answered == 0 {
            let answer = wire::decode_response::<ProduceRequest>(answer.into(), VERSION)?;
            let code = answer.responses[0].partition_responses[0].error_code;
            ensure!(code == 0, "produce failed with {code}");
        }
        answered += 1;
    }
    Ok(requests as u64 * frame.len() as u64)
}

fn fetch(mut connection: Connection, topic: &str) -> anyhow::Result<u64> {
    let mut offset = 0;
    let mut bytes = 0;
    loop {
        let partition = FetchPartition::default()
            .with_partition(0)
            .with_fetch_offset(offset)
            .with_current_leader_epoch(-1)
            .with_partition_max_bytes(2 << 20);
        let topic = FetchTopic::default().with_topic(name(topic)).with_partitions(vec![partition]);
        let request = FetchRequest::default()
            .with_min_bytes(1)
            .with_max_bytes(2 << 20)
            .with_session_epoch(-1)
            .with_topics(vec![topic]);
        let frame = wire::encode_request(&request, 11, 1, &StrBytes::from_static_str("floors"))?;
        connection.stream.write_all(&frame)?;
        // Only the first batch's header is read here: all batches have the same number of records.
        let (head, length) = connection.answer()?;
        let Some(records) = records_in(&head, length) else { return Ok(bytes) };
        offset += records;
        bytes += length as u64;
    }
}

/// How many records an answer has, from its first batch's header: every batch has the same size and number.
fn records_in(head: &[u8], length: usize) -> Option<i64> {
    // A batch begins where its magic, 2, is followed by a CRC over what we made: find it by its fixed distance.
    let at = (0..head.len().saturating_sub(61)).find(|at| {
        records::BatchHeader::parse(&head[*at..])
            .is_ok_and(|h| h.total_bytes() > 61 && h.base_timestamp == 1_000)
    })?;
    let header = records::BatchHeader::parse(&head[at..]).ok()?;
    let batches = (length - at) / header.total_bytes();
    Some(i64::from(header.record_count) * batches as i64)
}

async fn rest_produce(rest: &Rest, per_request: usize, count: usize) -> anyhow::Result<()> {
    const CONNECTIONS: usize = 32;
    let record =
        serde_json::json!({"value": {"user": "u-1234567", "page": "/checkout", "ms": 123, "ok": true}});
    let body = serde_json::json!({"records": vec![record; per_request]});
    let requests = count / per_request / CONNECTIONS;
    let workers = (0..CONNECTIONS).map(|_| {
        let (rest, body) = (rest.clone(), body.clone());
        tokio::spawn(async move {
            for _ in 0..requests {
                let (status, answer) = rest.produce_json("/topics/rest", &body).await;
                ensure!(status.is_success(), "{answer}");
            }
            Ok(())
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await??;
    }
    Ok(())
}

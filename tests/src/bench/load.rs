//! Produce and fetch over plain connections, at a rate or as fast as it goes, the same through every way.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::TcpStream,
    sync::mpsc::sync_channel,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, ensure};
use bytes::Bytes;
use records::{BatchBuilder, BatchHeader, Compression};
use wire::{
    Request, StrBytes, WireTopicName,
    messages::{
        FetchRequest, ProduceRequest,
        fetch_request::{FetchPartition, FetchTopic},
        produce_request::{PartitionProduceData, TopicProduceData},
    },
};

/// A connection, and the partitions that it is for.
#[derive(Clone, Debug)]
pub struct Lane {
    pub address: String,
    pub partitions: Vec<i32>,
}

/// What is moved.
#[derive(Clone, Debug)]
pub struct Load {
    pub topic: String,
    /// Of a batch of 1 KiB records; a request has one.
    pub batch_bytes: usize,
    /// Of all lanes together.
    pub bytes: f64,
    /// Bytes a second of all lanes together; none: as fast as it goes.
    pub rate: Option<f64>,
}

/// What was moved.
#[derive(Clone, Debug, Default)]
pub struct Moved {
    pub bytes: u64,
    pub seconds: f64,
    /// Of each request from when it was to be sent to its answer.
    pub times_ms: Vec<f64>,
    /// The end of each partition that was written.
    pub ends: BTreeMap<i32, i64>,
}

const PRODUCE_VERSION: i16 = 9;
const FETCH_VERSION: i16 = 11;
/// In flight on all lanes together when it goes as fast as it can.
const WINDOW_BYTES: usize = 2 << 20;
/// Waiting for answers at a fixed rate; a lane that has more of them is far too slow.
const BEHIND_MAX: usize = 100_000;
const FETCH_BYTES: i32 = 1 << 20;
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Blocks until all is acknowledged by all in-sync replicas.
///
/// # Errors
/// A lane ends, or a batch is refused.
pub fn produce(lanes: &[Lane], load: &Load) -> anyhow::Result<Moved> {
    on_each(lanes, |lane, share| produce_on(lane, load, share, lanes.len()))
}

/// Blocks until all partitions are read from their beginning to these ends.
///
/// # Errors
/// A lane ends, or a partition cannot be read.
pub fn fetch(lanes: &[Lane], load: &Load, ends: &BTreeMap<i32, i64>) -> anyhow::Result<Moved> {
    on_each(lanes, |lane, share| fetch_on(lane, load, share, ends))
}

fn on_each(
    lanes: &[Lane],
    run: impl Fn(&Lane, f64) -> anyhow::Result<Moved> + Sync,
) -> anyhow::Result<Moved> {
    let begun = Instant::now();
    let partitions = lanes.iter().map(|lane| lane.partitions.len()).sum::<usize>() as f64;
    let run = &run;
    let parts: anyhow::Result<Vec<Moved>> = std::thread::scope(|scope| {
        let share = |lane: &Lane| lane.partitions.len() as f64 / partitions;
        let threads: Vec<_> = lanes.iter().map(|lane| scope.spawn(move || run(lane, share(lane)))).collect();
        threads.into_iter().map(|t| t.join().expect("a lane's thread does not panic")).collect()
    });
    let mut all = Moved { seconds: begun.elapsed().as_secs_f64(), ..Moved::default() };
    for part in parts? {
        all.bytes += part.bytes;
        all.times_ms.extend(part.times_ms);
        all.ends.extend(part.ends);
    }
    Ok(all)
}

fn produce_on(lane: &Lane, load: &Load, share: f64, lanes: usize) -> anyhow::Result<Moved> {
    let (batch, records) = batch(load.batch_bytes);
    let frames: anyhow::Result<Vec<Bytes>> =
        lane.partitions.iter().map(|p| produce_frame(&load.topic, *p, batch.clone())).collect();
    let frames = frames?;
    let requests = (load.bytes * share / load.batch_bytes as f64).ceil() as usize;
    let every = load.rate.map(|rate| Duration::from_secs_f64(load.batch_bytes as f64 / (rate * share)));
    let in_flight = match every {
        Some(_) => BEHIND_MAX,
        None => (WINDOW_BYTES / load.batch_bytes / lanes).max(1),
    };
    let mut writing = connect(&lane.address)?;
    let mut reading = writing.try_clone()?;
    let (sent, awaited) = sync_channel::<Instant>(in_flight);
    std::thread::scope(|scope| {
        let answers = scope.spawn(move || {
            let mut times_ms = Vec::with_capacity(requests);
            while let Ok(meant) = awaited.recv() {
                let answer = read_answer::<ProduceRequest>(&mut reading, PRODUCE_VERSION)?;
                let code = answer.responses[0].partition_responses[0].error_code;
                ensure!(code == 0, "a batch is refused with {code}");
                times_ms.push(meant.elapsed().as_secs_f64() * 1e3);
            }
            anyhow::Ok(times_ms)
        });
        let begun = Instant::now();
        for request in 0..requests {
            let mut meant = Instant::now();
            if let Some(every) = every {
                meant = begun + every * request as u32;
                std::thread::sleep(meant.saturating_duration_since(Instant::now()));
            }
            // Fails only when the answers have, and they say why.
            if sent.send(meant).is_err() {
                break;
            }
            writing.write_all(&frames[request % frames.len()]).context("a lane has ended")?;
        }
        drop(sent);
        let times_ms = answers.join().expect("the answers' thread does not panic")?;
        let each = |n: usize| requests / frames.len() + usize::from(n < requests % frames.len());
        let ends = lane.partitions.iter().enumerate().map(|(n, p)| (*p, each(n) as i64 * records)).collect();
        Ok(Moved { bytes: (requests * batch.len()) as u64, times_ms, ends, ..Moved::default() })
    })
}

fn fetch_on(lane: &Lane, load: &Load, share: f64, ends: &BTreeMap<i32, i64>) -> anyhow::Result<Moved> {
    let mut stream = connect(&lane.address)?;
    let mut next: BTreeMap<i32, i64> = lane.partitions.iter().map(|p| (*p, 0)).collect();
    let mut moved = Moved::default();
    let begun = Instant::now();
    while next.iter().any(|(partition, at)| at < &ends[partition]) {
        if let Some(rate) = load.rate {
            let due = begun + Duration::from_secs_f64(moved.bytes as f64 / (rate * share));
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        let asked = Instant::now();
        stream.write_all(&fetch_frame(&load.topic, &next)?)?;
        let answer = read_answer::<FetchRequest>(&mut stream, FETCH_VERSION)?;
        ensure!(answer.error_code == 0, "a fetch is refused with {}", answer.error_code);
        moved.times_ms.push(asked.elapsed().as_secs_f64() * 1e3);
        for partition in answer.responses.into_iter().flat_map(|t| t.partitions) {
            let (number, code) = (partition.partition_index, partition.error_code);
            ensure!(code == 0, "partition {number} cannot be read: {code}");
            let mut records = partition.records.unwrap_or_default();
            moved.bytes += records.len() as u64;
            while let Ok(header) = BatchHeader::parse(&records) {
                next.insert(number, header.next_offset().0);
                let _ = records.split_to(header.total_bytes().min(records.len()));
            }
        }
    }
    Ok(moved)
}

fn connect(address: &str) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(address).with_context(|| format!("{address} is not reached"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    Ok(stream)
}

fn read_answer<R: Request>(stream: &mut TcpStream, version: i16) -> anyhow::Result<R::Response> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).context("no answer")?;
    let mut body = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut body).context("half an answer")?;
    Ok(wire::decode_response::<R>(body.into(), version)?)
}

fn client_id() -> StrBytes {
    StrBytes::from_static_str("groups-bench")
}

fn name(topic: &str) -> WireTopicName {
    WireTopicName(StrBytes::from_string(topic.to_owned()))
}

/// A batch of 1 KiB records that fills about so many bytes, and how many they are.
fn batch(bytes: usize) -> (Bytes, i64) {
    let mut builder = BatchBuilder::new(Compression::None);
    let value = vec![b'x'; 1_024];
    // Old records would be retention's in the middle of a run.
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64;
    let mut records = 0;
    while records == 0 || builder.encoded_bytes() + value.len() < bytes {
        builder.push(now_ms, None, Some(&value), &[]);
        records += 1;
    }
    (builder.build(), records)
}

fn produce_frame(topic: &str, partition: i32, batch: Bytes) -> anyhow::Result<Bytes> {
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(batch));
    let topic = TopicProduceData::default().with_name(name(topic)).with_partition_data(vec![data]);
    let request =
        ProduceRequest::default().with_acks(-1).with_timeout_ms(10_000).with_topic_data(vec![topic]);
    Ok(wire::encode_request(&request, PRODUCE_VERSION, 1, &client_id())?)
}

fn fetch_frame(topic: &str, next: &BTreeMap<i32, i64>) -> anyhow::Result<Bytes> {
    let partition = |(partition, at): (&i32, &i64)| {
        FetchPartition::default()
            .with_partition(*partition)
            .with_fetch_offset(*at)
            .with_current_leader_epoch(-1)
            .with_partition_max_bytes(FETCH_BYTES)
    };
    let topic =
        FetchTopic::default().with_topic(name(topic)).with_partitions(next.iter().map(partition).collect());
    let request = FetchRequest::default()
        .with_max_wait_ms(100)
        .with_min_bytes(1)
        .with_max_bytes(FETCH_BYTES)
        .with_session_epoch(-1)
        .with_topics(vec![topic]);
    Ok(wire::encode_request(&request, FETCH_VERSION, 1, &client_id())?)
}

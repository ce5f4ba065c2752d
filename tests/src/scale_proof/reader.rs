use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use anyhow::bail;
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};

use super::ledger::Ledger;

/// What was read back.
#[derive(Default)]
pub(super) struct Read {
    pub(super) records: u64,
    pub(super) lost: u64,
    pub(super) twice: u64,
}

const WITHIN: Duration = Duration::from_secs(20);
/// A partition that gives nothing for so long has no end.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Reads every partition from its beginning to its end, and looks for each record that was acknowledged.
pub(super) fn read_all(
    bootstrap: &str,
    topic: &str,
    partitions: i32,
    ledger: &Ledger,
) -> anyhow::Result<Read> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "scale-proof")
        .set("enable.auto.commit", "false")
        .set("fetch.message.max.bytes", "4194304")
        .create()?;
    let mut read = Read::default();
    for partition in 0..partitions {
        let numbers = read_partition(&consumer, topic, partition)?;
        read.records += numbers.len() as u64;
        let there: HashSet<u64> = numbers.iter().copied().collect();
        read.twice += (numbers.len() - there.len()) as u64;
        read.lost += ledger.of(partition).iter().filter(|number| !there.contains(number)).count() as u64;
    }
    Ok(read)
}

fn read_partition(consumer: &BaseConsumer, topic: &str, partition: i32) -> anyhow::Result<Vec<u64>> {
    let (first, end) = consumer.fetch_watermarks(topic, partition, WITHIN)?;
    let mut numbers = Vec::new();
    if first == end {
        return Ok(numbers);
    }
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(first))?;
    consumer.assign(&list)?;
    let mut last = Instant::now();
    loop {
        match consumer.poll(Duration::from_millis(200)) {
            None if last.elapsed() > SILENCE_MAX => {
                bail!("partition {partition} gives nothing before its end at {end}")
            }
            None => {}
            Some(Err(error)) => bail!("reading partition {partition}: {error}"),
            Some(Ok(message)) => {
                last = Instant::now();
                if let Some(Ok(number)) = message.payload().and_then(|p| p.get(..8)).map(<[u8; 8]>::try_from)
                {
                    numbers.push(u64::from_be_bytes(number));
                }
                if message.offset() + 1 >= end {
                    return Ok(numbers);
                }
            }
        }
    }
}

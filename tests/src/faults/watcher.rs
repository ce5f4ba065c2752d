//! Watches high watermarks through ListOffsets and Fetch, and reads everything in the end.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

use super::{
    admin::{Admin, EARLIEST, LATEST, Place, View},
    checker::FinalLog,
    high_watermarks::{HighWatermarks, Through},
    value::Values,
    workload::Workload,
};

/// Between two rounds.
const PAUSE: Duration = Duration::from_millis(300);
const DECOMPRESSED_MAX: usize = 64 << 20;
/// Fetched at once.
const BYTES_MAX: i32 = 4 << 20;

/// Asks every leader for its high watermarks until told to stop. A leader epoch that is older than one it has seen is not
/// asked again.
pub async fn watch(workload: Arc<Workload>, admin: Admin, seen: Arc<Mutex<HighWatermarks>>) {
    let mut known = View::default();
    while workload.reads() {
        if let Ok(view) = admin.view(&workload.topic).await {
            known.merge(View { partitions: BTreeMap::new(), nodes: view.nodes });
            for (index, partition) in view.partitions {
                let newest = known.partitions.get(&index).map_or(-1, |p| p.leader_epoch);
                if partition.leader_epoch >= newest {
                    known.partitions.insert(index, partition);
                }
            }
        }
        let rounds = known.by_leader().into_iter().map(|(address, partitions)| {
            tokio::spawn(ask(workload.clone(), admin.clone(), address, partitions, seen.clone()))
        });
        for round in rounds.collect::<Vec<_>>() {
            let _ = round.await;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn ask(
    workload: Arc<Workload>,
    admin: Admin,
    address: String,
    partitions: Vec<(i32, i32)>,
    seen: Arc<Mutex<HighWatermarks>>,
) {
    let place = |at: &dyn Fn(i32) -> i64| -> Vec<Place> {
        partitions
            .iter()
            .map(|(partition, leader_epoch)| Place {
                partition: *partition,
                leader_epoch: *leader_epoch,
                at: at(*partition),
            })
            .collect()
    };
    let epochs: BTreeMap<i32, i32> = partitions.iter().copied().collect();
    let latest = place(&|_| LATEST);
    match admin.list_offsets(&address, &workload.topic, &latest).await {
        Ok(told) => {
            for (partition, told) in told {
                match told {
                    Ok(offset) => seen.lock().unwrap().observe(
                        partition,
                        Through::ListOffsets,
                        epochs[&partition],
                        offset,
                    ),
                    Err(code) => workload.note(format!("ListOffsets: error {code}")),
                }
            }
        }
        Err(_) => workload.note("ListOffsets: no answer"),
    }
    // From where it is known to end, so that an answer has next to nothing in it.
    let ends = place(&|partition| seen.lock().unwrap().last(partition).unwrap_or_default());
    match admin.fetch(&address, &workload.topic, &ends, 1 << 10).await {
        Ok(told) => {
            for told in told {
                match told.error_code {
                    // A new leader that does not know it yet says so, which is no step back.
                    0 if told.high_watermark < 0 => workload.note("Fetch: high watermark not known"),
                    0 => seen.lock().unwrap().observe(
                        told.partition,
                        Through::Fetch,
                        epochs[&told.partition],
                        told.high_watermark,
                    ),
                    // Its log is shorter than what was committed before.
                    1 => workload.problem(format!(
                        "partition {}: offset out of range at a high watermark seen before, in leader epoch {}",
                        told.partition, epochs[&told.partition]
                    )),
                    code => workload.note(format!("Fetch: error {code}")),
                }
            }
        }
        Err(_) => workload.note("Fetch: no answer"),
    }
}

/// Every partition from its first offset to its high watermark, from its leader.
///
/// # Errors
/// A partition cannot be read to its end within the time.
pub async fn read_all(
    admin: &Admin,
    topic: &str,
    values: &Values,
    within: Duration,
) -> anyhow::Result<BTreeMap<i32, FinalLog>> {
    let deadline = Instant::now() + within;
    let partitions: Vec<i32> = admin.view(topic).await?.partitions.into_keys().collect();
    let mut logs = BTreeMap::new();
    for partition in partitions {
        loop {
            match read_partition(admin, topic, values, partition).await {
                Ok(log) => break drop(logs.insert(partition, log)),
                Err(error) if Instant::now() >= deadline => {
                    return Err(error).with_context(|| format!("final read of partition {partition}"));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    }
    Ok(logs)
}

async fn read_partition(
    admin: &Admin,
    topic: &str,
    values: &Values,
    partition: i32,
) -> anyhow::Result<FinalLog> {
    let view = admin.view(topic).await?;
    let of = &view.partitions[&partition];
    let address = view.nodes.get(&of.leader).context("no leader")?;
    let place = |at| [Place { partition, leader_epoch: of.leader_epoch, at }];
    let mut ends = [0, 0];
    for (end, at) in ends.iter_mut().zip([EARLIEST, LATEST]) {
        let told = admin.list_offsets(address, topic, &place(at)).await?;
        *end = told[0].1.map_err(|code| anyhow::anyhow!("ListOffsets: error {code}"))?;
    }
    let [start, end] = ends;
    let mut log = FinalLog { start, ..FinalLog::default() };
    let mut next = start;
    while next < end {
        let fetched = admin.fetch(address, topic, &place(next), BYTES_MAX).await?.remove(0);
        ensure!(fetched.error_code == 0, "Fetch at {next}: error {}", fetched.error_code);
        ensure!(!fetched.records.is_empty(), "nothing at {next}, below the high watermark {end}");
        let before = next;
        for batch in records::check_batches(&fetched.records) {
            // The last one may be cut off by the limit, but never the first.
            let (range, header) = match batch {
                Err(_) if next > before => break,
                batch => batch?,
            };
            for record in records::decode_records(&fetched.records.slice(range), DECOMPRESSED_MAX)? {
                if record.offset.0 >= next {
                    log.producer_epochs.insert(record.offset.0, header.producer_epoch.0);
                    log.records.insert(record.offset.0, values.recognise(&record.value.unwrap_or_default()));
                }
            }
            next = header.next_offset().0;
        }
    }
    Ok(log)
}

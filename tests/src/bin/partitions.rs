//! What many partitions cost: create time, memory, open files, idle CPU, restart time, empty and with a record each.

use std::time::{Duration, Instant};

use anyhow::ensure;
use clap::Parser;
use serde_json::json;
use tests::{Cluster, ClusterSpec, KafkaClient, batch_of, cpu_seconds, resident_bytes};
use wire::messages::MetadataRequest;

#[derive(Parser)]
struct Options {
    #[arg(long, default_value_t = 10_000)]
    partitions: i32,
    /// How long the idle CPU is watched, in seconds.
    #[arg(long, default_value_t = 20)]
    idle_s: u64,
}

const SERVICES: [&str; 3] = ["controller-0", "storage-node-0", "gateway-0"];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let count = options.partitions;
    let spec = ClusterSpec { controllers: 1, storage_nodes: 1, gateways: 1 };
    let mut cluster = Cluster::start_with(spec, &[("log.level", "warn")]).await;
    print_use("nothing yet", &mut cluster, options.idle_s).await;

    let begun = Instant::now();
    let (status, answer) = cluster.rest(0).create_topic("many", count).await;
    ensure!(status.is_success(), "{answer}");
    println!("create {count} partitions through REST: {:?}", begun.elapsed());
    led(&cluster.kafka(0), count).await;
    println!("all led, as a client sees it: {:?}", begun.elapsed());
    print_use(&format!("{count} empty partitions"), &mut cluster, options.idle_s).await;
    restarts(&mut cluster, count).await;

    let begun = Instant::now();
    let kafka = cluster.kafka(0);
    for partition in 0..count {
        let answer = kafka.produce("many", partition, batch_of(&["x"]), -1).await?;
        ensure!(answer.error_code == 0, "partition {partition}: {}", answer.error_code);
    }
    println!("a record to each, one after the other: {:?}", begun.elapsed());
    print_use("with a record each", &mut cluster, options.idle_s).await;
    restarts(&mut cluster, count).await;
    let (status, answer) =
        cluster.rest(0).produce_json("/topics/many", &json!({"records": [{"value": 1}]})).await;
    ensure!(status.is_success(), "{answer}");
    Ok(())
}

/// Waits until every partition has a leader that answers for it.
async fn led(kafka: &KafkaClient, count: i32) {
    tests::wait_until("every partition is led", Duration::from_secs(120), || async {
        let answer = kafka.call(MetadataRequest::default().with_topics(None)).await;
        answer.is_ok_and(|a| {
            let led = a.topics.iter().flat_map(|t| &t.partitions).filter(|p| p.leader_id.0 >= 0);
            led.count() == count as usize
        })
    })
    .await;
    let last = || async { kafka.list_offset("many", count - 1, -1).await.is_ok() };
    tests::wait_until("the last partition answers", Duration::from_secs(60), last).await;
}

async fn restarts(cluster: &mut Cluster, count: i32) {
    for (how, kill) in [("SIGTERM", false), ("kill -9", true)] {
        let begun = Instant::now();
        match kill {
            true => cluster.kill("storage-node-0"),
            false => drop(cluster.process("storage-node-0").terminate(Duration::from_secs(60))),
        }
        println!("{how} of the storage node took {:?}", begun.elapsed());
        let begun = Instant::now();
        cluster.start_one("storage-node-0");
        cluster.ready().await;
        let ready = begun.elapsed();
        led(&cluster.kafka(0), count).await;
        println!("after it: ready in {ready:?}, all {count} led in {:?}", begun.elapsed());
    }
}

async fn print_use(when: &str, cluster: &mut Cluster, idle_s: u64) {
    // What was just done may still be settling.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let pids = SERVICES.map(|name| cluster.process(name).pid());
    let before = pids.map(cpu_seconds);
    tokio::time::sleep(Duration::from_secs(idle_s)).await;
    for ((name, pid), before) in SERVICES.iter().zip(pids).zip(before) {
        let files = std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
        let idle = (cpu_seconds(pid) - before) / idle_s as f64 * 100.0;
        println!(
            "{when}: {name}: {} MiB resident, {files} files open, {idle:.2} % of a core idle",
            resident_bytes(pid) >> 20
        );
    }
}

//! Storage nodes join and leave while clients write: how long that takes, what moves, what producers notice, and that nothing is
//! lost. `scripts/scale-proof.sh` runs it.
//!
//! ```text
//!  writer: librdkafka, acks=all, at a rate ──▶ storage nodes 0 1 2 │ 3 4 join │ drain, leave │ all restart, one by one
//!    └ ledger: what was acknowledged, and how long that took          watch: /admin/v1/rebalance, /metrics
//!  reader: everything from the beginning ──▶ is each acknowledged record there?
//! ```

mod ledger;
mod reader;
mod watch;
mod writer;

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Parser;

use self::{ledger::Waits, watch::Watch, writer::Writer};
use crate::{
    Cluster, ClusterSpec,
    bench::figures::{head, mib, row},
};

/// Storage nodes join and leave under load: how long it takes, what moves, what producers notice; and that nothing is lost.
#[derive(Parser)]
#[command(name = "scale-proof")]
pub struct Options {
    /// What is written in a second, in MB.
    #[arg(long, default_value_t = 20)]
    megabytes_per_second: u64,
    #[arg(long, default_value_t = 30)]
    partitions: i32,
    /// A record's value.
    #[arg(long, default_value_t = 1_000)]
    value_bytes: usize,
    /// How long producers are looked at before, between and after.
    #[arg(long, default_value_t = 20)]
    calm_seconds: u64,
    /// What a node takes in in a second at most, in MB.
    #[arg(long, default_value_t = 100)]
    move_megabytes_per_second: u64,
}

/// Nodes 3 and 4 join and leave.
const STAY: usize = 3;
const ALL: usize = 5;
const TOPIC: &str = "scaled";
const REPLICAS: u64 = 3;
/// No step takes longer.
const STEP_MAX: Duration = Duration::from_secs(900);
/// While things move producers may wait so many times as long as before (99 of 100 of them).
const AIM: f64 = 2.0;

struct Step {
    name: &'static str,
    took: Duration,
    moved_bytes: u64,
    least_bytes: u64,
    waits: Waits,
}

/// # Errors
/// Something was lost, or did not come to its end.
pub async fn prove(options: &Options) -> anyhow::Result<()> {
    let limit = (options.move_megabytes_per_second * 1_000_000).to_string();
    let settings = [
        ("controller.rebalance.enabled", "true"),
        ("controller.rebalance.settle_ms", "2000"),
        ("controller.rebalance.bytes_per_second_max", limit.as_str()),
        ("storage.stop_wait_ms_max", "40000"),
        ("log.level", "info,openraft=warn"),
    ];
    let spec = ClusterSpec { controllers: 1, storage_nodes: ALL, gateways: 1 };
    let mut cluster = Cluster::prepare(spec, &settings);
    cluster.start_one("controller-0");
    (0..STAY).for_each(|n| cluster.start_one(&node(n)));
    cluster.start_one("gateway-0");
    cluster.ready().await;
    let watch = Watch::new(&cluster);
    watch.create_topic(TOPIC, options.partitions, REPLICAS).await?;
    let writer = Writer::start(&watch.bootstrap(STAY), TOPIC, options)?;
    eprintln!(
        "writing {} MB/s to {} partitions, 3 replicas, acks=all",
        options.megabytes_per_second, options.partitions
    );
    let calm = Duration::from_secs(options.calm_seconds);
    // What begins is not what goes on.
    tokio::time::sleep(calm / 4).await;
    writer.take_waits();

    let mut steps = vec![calm_step("before", &writer, calm).await?];
    let count = watch.replica_count(options.partitions, REPLICAS);

    // 3 → 5: the two new ones get their share, two fifths of all replicas.
    let (begun, moved) = (Instant::now(), watch.moved_bytes(ALL).await);
    (STAY..ALL).for_each(|n| cluster.start_one(&node(n)));
    cluster.ready().await;
    watch
        .until(STEP_MAX, "the new nodes have their share", async || {
            watch.is_settled().await && watch.is_even(ALL, count).await
        })
        .await?;
    let took = begun.elapsed();
    let least = watch.bytes_of(TOPIC).await? * u64::try_from(ALL - STAY)? / u64::try_from(ALL)?;
    let moved_bytes = watch.moved_bytes(ALL).await - moved;
    let waits = writer.take_waits();
    steps.push(Step { name: "3 → 5 nodes", took, moved_bytes, least_bytes: least, waits });
    steps.push(calm_step("five nodes", &writer, calm).await?);

    // 5 → 3: drained one after the other, stopped, forgotten.
    let (begun, moved) = (Instant::now(), watch.moved_bytes(ALL).await);
    let mut least = 0;
    let mut left_behind = 0;
    for n in (STAY..ALL).rev() {
        least += watch.bytes_on(n).await?;
        watch.drain(n).await?;
        watch
            .until(STEP_MAX, "the drained node has nothing", async || watch.replicas(n).await == Some(0))
            .await?;
        left_behind += watch.moved_bytes_of(n).await;
        cluster.terminate(&node(n));
        watch.remove(n).await?;
    }
    watch.until(STEP_MAX, "three nodes have everything", async || watch.is_settled().await).await?;
    let took = begun.elapsed();
    // A node that is gone counts no more.
    let moved_bytes = (watch.moved_bytes(STAY).await + left_behind).saturating_sub(moved);
    steps.push(Step {
        name: "5 → 3 nodes",
        took,
        moved_bytes,
        least_bytes: least,
        waits: writer.take_waits(),
    });
    steps.push(calm_step("three nodes", &writer, calm).await?);

    // Everything restarts, one by one, as a rolling update does it.
    let begun = Instant::now();
    let mut lowest = u64::MAX;
    for n in 0..STAY {
        cluster.terminate(&node(n));
        lowest = lowest.min(watch.least_in_sync(TOPIC).await);
        cluster.start_one(&node(n));
        cluster.ready().await;
    }
    watch
        .until(STEP_MAX, "everything is in sync", async || watch.least_in_sync(TOPIC).await == REPLICAS)
        .await?;
    let (took, waits) = (begun.elapsed(), writer.take_waits());
    steps.push(Step { name: "rolling restart", took, moved_bytes: 0, least_bytes: 0, waits });
    steps.push(calm_step("after", &writer, calm / 2).await?);

    let ledger = writer.stop();
    show(&steps);
    println!("least in sync during the rolling restart: {lowest} of {REPLICAS}, minimum 2");
    println!("acknowledged: {}, refused for good: {}", ledger.acknowledged(), ledger.refused());
    let read = reader::read_all(&watch.bootstrap(STAY), TOPIC, options.partitions, &ledger)?;
    println!("read back: {}, lost: {}, twice: {}", read.records, read.lost, read.twice);
    ensure!(read.lost == 0, "{} acknowledged records are lost", read.lost);
    ensure!(read.twice == 0, "{} records are there twice, from an idempotent producer", read.twice);
    ensure!(ledger.refused() == 0, "{} records were refused after all retries", ledger.refused());
    ensure!(lowest >= 2, "an ISR fell to {lowest}, below its minimum of 2");
    let before = steps.first().context("there were steps")?.waits.percentile(0.99);
    for step in &steps {
        let ratio = step.waits.percentile(0.99) / before;
        if ratio > AIM {
            println!(
                "{}: p99 is {ratio:.1} times what it was before, more than the {AIM} aimed at",
                step.name
            );
        }
    }
    Ok(())
}

fn node(n: usize) -> String {
    format!("storage-node-{n}")
}

async fn calm_step(name: &'static str, writer: &Writer, calm: Duration) -> anyhow::Result<Step> {
    writer.take_waits();
    tokio::time::sleep(calm).await;
    Ok(Step { name, took: calm, moved_bytes: 0, least_bytes: 0, waits: writer.take_waits() })
}

fn show(steps: &[Step]) {
    head(&[
        "step",
        "s",
        "moved, MiB",
        "had to move, MiB",
        "MB/s written",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "longest ms",
    ]);
    for step in steps {
        let ms = |part: f64| format!("{:.1}", step.waits.percentile(part));
        let moved = |bytes: u64| if bytes == 0 { "-".to_owned() } else { format!("{:.0}", mib(bytes)) };
        row(&[
            step.name.to_owned(),
            format!("{:.1}", step.took.as_secs_f64()),
            moved(step.moved_bytes),
            moved(step.least_bytes),
            format!("{:.1}", step.waits.bytes() as f64 / 1e6 / step.took.as_secs_f64()),
            ms(0.5),
            ms(0.99),
            ms(0.999),
            ms(1.0),
        ]);
    }
}

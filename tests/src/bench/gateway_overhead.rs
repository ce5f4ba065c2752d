//! The same load to the storage nodes and through the gateway, in pairs.

use std::{collections::BTreeMap, time::Duration};

use anyhow::ensure;
use clap::Args;

use super::{
    figures::{head, median, mib, percentile, row},
    load::{Lane, Load, Moved, fetch, produce},
    meter::Meter,
    rebalance::Way,
};
use crate::{Cluster, ClusterSpec, faults::admin::Admin, peak_resident_bytes, resident_bytes, wait_until};

#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Replicas of each partition, one after the other.
    #[arg(long, value_delimiter = ',', default_values = ["3", "1"])]
    factors: Vec<i16>,
    /// Runs each way: one direct, one through the gateway, in turns of ABBA.
    #[arg(long, default_value_t = 6)]
    pairs: usize,
    #[arg(long, default_value_t = 12)]
    partitions: i32,
    /// Of a batch of 1 KiB records; each request has one.
    #[arg(long, default_value_t = 32)]
    batch_kib: usize,
    /// Megabytes a second where the rate is fixed.
    #[arg(long, default_value_t = 40.0)]
    rate_mb: f64,
    /// How long that lasts.
    #[arg(long, default_value_t = 8.0)]
    seconds: f64,
    /// Megabytes that are moved as fast as it goes.
    #[arg(long, default_value_t = 500.0)]
    flat_out_mb: f64,
}

/// What one run has come to, by what is measured.
type Figures = BTreeMap<Measured, f64>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Measured {
    Cost(Doing, Whose),
    Time(Doing, u8),
    FlatOut(Doing),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Doing {
    Produce,
    Consume,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Whose {
    Nodes,
    Gateway,
    All,
}

const NODES: usize = 3;
const WITHIN: Duration = Duration::from_secs(60);

/// # Errors
/// The cluster does not start, or does not take the load.
pub async fn measure(options: &Options) -> anyhow::Result<()> {
    let touched = tokio::task::spawn_blocking(|| crate::touch_memory(12.0)).await?;
    eprintln!("touched {touched} GiB of memory first");
    let spec = ClusterSpec { controllers: 1, storage_nodes: NODES, gateways: 1 };
    let cluster = Cluster::start_with(spec, &[("log.level", "warn")]).await;
    let gateway = cluster.pids()["gateway-0"];
    let idle = resident_bytes(gateway);
    println!(
        "1 KiB records, {} partitions, batches and requests of {} KiB, acks=all; at the fixed rate of {} MB/s times count \
         from when a request was to be sent.\n",
        options.partitions, options.batch_kib, options.rate_mb
    );
    head(&["replicas", "what", "direct", "gateway", "ratio", "all ratios"]);
    let mut loaded = 0;
    for factor in &options.factors {
        let (mut direct, mut through, mut foreign) = (Vec::new(), Vec::new(), Vec::new());
        for pair in 0..options.pairs {
            let mut order = [Way::Direct, Way::Gateway];
            if pair % 2 == 1 {
                order.reverse();
            }
            for way in order {
                eprintln!("{factor} replicas, pair {} of {}: {way:?}", pair + 1, options.pairs);
                let (figures, others) = run(options, &cluster, *factor, way, pair).await?;
                foreign.push(others);
                match way {
                    Way::Direct => direct.push(figures),
                    Way::Gateway => through.push(figures),
                }
            }
            loaded = loaded.max(resident_bytes(gateway));
        }
        report(*factor, &direct, &through);
        eprintln!("foreign cores at the fixed rate: {:.2} (median)", median(&foreign));
    }
    println!(
        "\nresident memory of the gateway: {:.1} MiB before, {:.1} MiB after a run (most), {:.1} MiB at its peak",
        mib(idle),
        mib(loaded),
        mib(peak_resident_bytes(gateway))
    );
    Ok(())
}

fn report(factor: i16, direct: &[Figures], through: &[Figures]) {
    for measured in direct.first().into_iter().flat_map(|figures| figures.keys()) {
        let of = |runs: &[Figures]| -> Vec<f64> { runs.iter().map(|run| run[measured]).collect() };
        let (direct, through) = (of(direct), of(through));
        let ratios: Vec<f64> =
            through.iter().zip(&direct).map(|(through, direct)| through / direct).collect();
        let digits = if matches!(measured, Measured::FlatOut(_)) { 0 } else { 2 };
        let alone = *measured == Measured::Cost(Doing::Produce, Whose::Gateway)
            || *measured == Measured::Cost(Doing::Consume, Whose::Gateway);
        let all: Vec<String> = ratios.iter().map(|r| format!("{r:.2}")).collect();
        row(&[
            factor.to_string(),
            measured.name(),
            if alone { "-".to_owned() } else { format!("{:.digits$}", median(&direct)) },
            format!("{:.digits$}", median(&through)),
            if alone { "-".to_owned() } else { format!("{:.2}", median(&ratios)) },
            if alone { "-".to_owned() } else { all.join(" ") },
        ]);
    }
}

impl Measured {
    fn name(self) -> String {
        match self {
            Self::Cost(doing, whose) => {
                format!("{doing:?}: CPU-s/GB, {whose:?}").to_lowercase().replace("cpu-s/gb", "CPU-s/GB")
            }
            Self::Time(doing, part) => format!("{doing:?}: p{part}, ms").replacen(
                ['P', 'C'],
                if doing == Doing::Produce { "p" } else { "c" },
                1,
            ),
            Self::FlatOut(doing) => format!("{} flat out, MB/s", format!("{doing:?}").to_lowercase()),
        }
    }
}

/// One way once: at the fixed rate, then flat out. Also the cores that others had at the fixed rate.
async fn run(
    options: &Options,
    cluster: &Cluster,
    factor: i16,
    way: Way,
    pair: usize,
) -> anyhow::Result<(Figures, f64)> {
    let admin = Admin::new((0..NODES).map(|n| cluster.kafka_address(n)).collect());
    let mut figures = Figures::new();
    let mut foreign = 0.0;
    for rate in [Some(options.rate_mb * 1e6), None] {
        let pace = if rate.is_some() { "fixed" } else { "flat-out" };
        let topic = format!("{pace}-{factor}-{way:?}-{pair}").to_lowercase();
        let lanes = lanes(options, cluster, &admin, factor, way, &topic).await?;
        let bytes = rate.map_or(options.flat_out_mb * 1e6, |rate| rate * options.seconds);
        let load = Load { topic: topic.clone(), batch_bytes: options.batch_kib << 10, bytes, rate };
        let mut ends = BTreeMap::new();
        for doing in [Doing::Produce, Doing::Consume] {
            let meter = Meter::begin(cluster.pids());
            let (lanes, load, upto) = (lanes.clone(), load.clone(), ends.clone());
            let moved = tokio::task::spawn_blocking(move || match doing {
                Doing::Produce => produce(&lanes, &load),
                Doing::Consume => fetch(&lanes, &load, &upto),
            })
            .await??;
            let used = meter.end();
            ensure!(moved.bytes as f64 >= bytes * 0.9, "only {} of {bytes} bytes were moved", moved.bytes);
            if rate.is_some() {
                foreign += used.foreign_cores / 2.0;
                let gb = moved.bytes as f64 / 1e9;
                let (nodes, gateway) = (used.cpu("storage-node") / gb, used.cpu("gateway") / gb);
                figures.insert(Measured::Cost(doing, Whose::Nodes), nodes);
                figures.insert(Measured::Cost(doing, Whose::Gateway), gateway);
                figures.insert(Measured::Cost(doing, Whose::All), nodes + gateway);
                for part in [50, 99] {
                    let time = percentile(&moved.times_ms, f64::from(part) / 100.0);
                    figures.insert(Measured::Time(doing, part), time);
                }
            } else {
                figures.insert(Measured::FlatOut(doing), moved.bytes as f64 / 1e6 / moved.seconds);
            }
            let Moved { ends: written, .. } = moved;
            ends = if doing == Doing::Produce { written } else { ends };
        }
        forget(cluster, &admin, &topic).await?;
    }
    Ok((figures, foreign))
}

/// Makes the topic; one connection to each of its leaders, or one to the gateway.
async fn lanes(
    options: &Options,
    cluster: &Cluster,
    admin: &Admin,
    factor: i16,
    way: Way,
    topic: &str,
) -> anyhow::Result<Vec<Lane>> {
    let view = admin.create_topic(topic, options.partitions, factor, &[]).await?;
    let through = cluster.through(0);
    wait_until("the gateway knows the topic", WITHIN, || async {
        for partition in 0..options.partitions {
            if through.list_offset(topic, partition, -1).await.is_err() {
                return false;
            }
        }
        true
    })
    .await;
    Ok(match way {
        Way::Gateway => {
            let partitions = (0..options.partitions).collect();
            vec![Lane { address: cluster.gateway_kafka_address(0), partitions }]
        }
        Way::Direct => view
            .by_leader()
            .into_iter()
            .map(|(address, led)| Lane { address, partitions: led.iter().map(|(p, _)| *p).collect() })
            .collect(),
    })
}

/// Deletes the topic and waits until its files are gone: removing them is no part of what comes next.
async fn forget(cluster: &Cluster, admin: &Admin, topic: &str) -> anyhow::Result<()> {
    admin.delete_topic(topic).await?;
    let folders: Vec<_> = (0..NODES).map(|n| cluster.folder().join(format!("storage-node-{n}"))).collect();
    wait_until("the topic's files are gone", WITHIN, || async {
        let entries = folders.iter().flat_map(std::fs::read_dir).flatten().flatten();
        !entries.into_iter().any(|e| e.file_name().to_string_lossy().starts_with(topic))
    })
    .await;
    Ok(())
}

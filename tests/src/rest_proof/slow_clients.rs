//! Clients that send or read too slowly, many at once, beside one that does neither.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use clap::Args;
use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{
    good::{Good, Served},
    hostile::{Hostiles, KINDS, Kind},
};
use crate::{
    Cluster, ClusterSpec, KafkaClient, Rest, batch_of,
    bench::figures::{head, mib, percentile, row},
    faults::admin::Admin,
    peak_resident_bytes, resident_bytes,
    rest_consumer::RestConsumer,
};

#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Hostile ones, at once.
    #[arg(long, default_value_t = 2_000)]
    clients: usize,
    /// Of them those alone that do this, to see what is whose.
    #[arg(long, value_delimiter = ',', value_enum, default_values_t = KINDS)]
    kinds: Vec<Kind>,
    /// How long they are there.
    #[arg(long, default_value_t = 90)]
    seconds: u64,
    /// How long they are not, before.
    #[arg(long, default_value_t = 10)]
    alone_seconds: u64,
    /// Writes, and reads, of the good client.
    #[arg(long, default_value_t = 50)]
    per_second: u64,
    /// What those that never read ask for, in MiB for each of four partitions.
    #[arg(long, default_value_t = 32)]
    partition_mib: usize,
}

const GATEWAY: &str = "gateway-0";
const BIG: &str = "big";
const GOOD: &str = "good";
const PARTITIONS: i32 = 4;
const VALUE_BYTES: usize = 10_000;
const BATCH: usize = 40;
/// `gateway.limits.memory_bytes_max` unless it is set.
const LIMIT_BYTES: u64 = 256 << 20;
/// What a connection may take besides: a buffer of 64 KiB each way.
const CONNECTION_BYTES: u64 = 128 << 10;

/// # Errors
/// The good client was not served, the gateway took too much memory, or the cluster does not start.
pub async fn prove(options: &Options) -> anyhow::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = 2 * options.clients as u64 + 500;
    if let Some(most) = limit.maximum {
        ensure!(most >= wanted, "{wanted} open files are needed, and {most} allowed: raise `ulimit -Hn`");
    }
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).context("the limit on open files is raised")?;

    let spec = ClusterSpec { controllers: 1, storage_nodes: 3, gateways: 1 };
    let cluster = Cluster::start(spec).await;
    let (rest, pid) = (cluster.rest(0), cluster.pids()[GATEWAY]);
    let admin = Admin::new((0..3).map(|n| cluster.kafka_address(n)).collect());
    fill(&admin, options.partition_mib << 20).await?;
    admin.create_topic(GOOD, PARTITIONS, 3, &[]).await?;
    let consumer = RestConsumer::subscribed(&rest, "good", "one", GOOD, json!({})).await;
    Hostiles::make_consumers(options.clients, &rest, BIG).await;

    let base = resident_bytes(pid);
    eprintln!("the good client alone, for {} s", options.alone_seconds);
    let (alone, _) = serve(options, &rest, &consumer, pid, options.alone_seconds, None).await;
    eprintln!("and beside {} hostile ones, for {} s", options.clients, options.seconds);
    let hostiles = Hostiles::start(options.clients, &options.kinds, &rest, BIG, PARTITIONS as usize).await;
    let (beside, most_open) = serve(options, &rest, &consumer, pid, options.seconds, Some(&hostiles)).await;
    let peak = peak_resident_bytes(pid);
    report(options, &[("alone", &alone), ("beside them", &beside)], &hostiles, most_open, (base, peak))
}

/// Records that are worth asking for.
async fn fill(admin: &Admin, bytes: usize) -> anyhow::Result<()> {
    let view = admin.create_topic(BIG, PARTITIONS, 3, &[]).await?;
    let value = format!("\"{}\"", "x".repeat(VALUE_BYTES - 2));
    let values = vec![value.as_str(); BATCH];
    for partition in 0..PARTITIONS {
        let kafka = KafkaClient::new(&view.nodes[&view.partitions[&partition].leader]);
        for _ in 0..bytes / VALUE_BYTES / BATCH {
            let written = kafka.produce(BIG, partition, batch_of(&values), -1).await?;
            ensure!(written.error_code == 0, "writing to {BIG}: error {}", written.error_code);
        }
    }
    Ok(())
}

/// What became of the good client in so many seconds, and how many hostile ones there were at most.
async fn serve(
    options: &Options,
    rest: &Rest,
    consumer: &RestConsumer,
    pid: u32,
    seconds: u64,
    hostiles: Option<&Hostiles>,
) -> (Arc<Good>, usize) {
    let good = Arc::new(Good::new(rest, GOOD, i64::from(PARTITIONS)));
    let stop = CancellationToken::new();
    let polling = tokio::spawn({
        let (good, stop, path) = (good.clone(), stop.clone(), consumer.path(""));
        async move { good.poll(&path, stop).await }
    });
    let working = tokio::spawn({
        let (good, stop, per_second) = (good.clone(), stop.clone(), options.per_second);
        async move { good.live(per_second, stop).await }
    });
    let begun = Instant::now();
    let mut most_open = 0;
    while begun.elapsed() < Duration::from_secs(seconds) {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let open = hostiles.map_or(0, |hostiles| hostiles.open.load(Ordering::Relaxed));
        most_open = most_open.max(open);
        eprintln!(
            "{:>4.0} s: {open} hostile connections, {} closed; RSS {:.0} MiB; {} written, {} refused, {} failed",
            begun.elapsed().as_secs_f64(),
            hostiles.map_or(0, |hostiles| hostiles.closed.lock().unwrap().len()),
            mib(resident_bytes(pid)),
            good.written(),
            good.all(|served| &served.refused),
            good.all(|served| &served.failed),
        );
    }
    stop.cancel();
    let _ = tokio::join!(working, polling);
    (good, most_open)
}

impl Good {
    fn all(&self, of: fn(&Served) -> &std::sync::atomic::AtomicU64) -> u64 {
        [&self.writes, &self.reads, &self.polls].map(|served| of(served).load(Ordering::Relaxed)).iter().sum()
    }

    fn answered(&self) -> u64 {
        [&self.writes, &self.reads, &self.polls]
            .map(|served| served.ms.lock().unwrap().len() as u64)
            .iter()
            .sum()
    }
}

fn report(
    options: &Options,
    phases: &[(&str, &Arc<Good>)],
    hostiles: &Hostiles,
    most_open: usize,
    (base, peak): (u64, u64),
) -> anyhow::Result<()> {
    println!(
        "\n{} hostile clients for {} s, {most_open} of them at once at most\n",
        hostiles.all(),
        options.seconds
    );
    head(&[
        "the good client",
        "",
        "answered",
        "p50, ms",
        "p99, ms",
        "most, ms",
        "refused (429, 503)",
        "failed",
    ]);
    for (phase, good) in phases {
        for (what, served) in [("writes", &good.writes), ("reads", &good.reads), ("polls", &good.polls)] {
            let ms = served.ms.lock().unwrap();
            row(&[
                (*phase).to_owned(),
                what.to_owned(),
                ms.len().to_string(),
                format!("{:.1}", percentile(&ms, 0.5)),
                format!("{:.1}", percentile(&ms, 0.99)),
                format!("{:.1}", percentile(&ms, 1.0)),
                served.refused.load(Ordering::Relaxed).to_string(),
                served.failed.load(Ordering::Relaxed).to_string(),
            ]);
        }
    }
    println!();
    head(&["the hostile ones", "clients", "closed by the gateway", "after, s: least", "median", "most"]);
    let closed = hostiles.closed.lock().unwrap();
    for kind in KINDS {
        let after: Vec<f64> = closed.iter().filter(|(of, _)| *of == kind).map(|(_, after)| *after).collect();
        row(&[
            format!("{kind:?}"),
            hostiles.count(kind).to_string(),
            after.len().to_string(),
            format!("{:.1}", percentile(&after, 0.0)),
            format!("{:.1}", percentile(&after, 0.5)),
            format!("{:.1}", percentile(&after, 1.0)),
        ]);
    }
    let bound = base + LIMIT_BYTES + CONNECTION_BYTES * hostiles.all() as u64;
    println!(
        "\nThe gateway's memory: {:.0} MiB before, {:.0} MiB at most (VmHWM); its limit on what it holds is {:.0} MiB, and with \
         what it had before and {} KiB a connection that makes {:.0} MiB",
        mib(base),
        mib(peak),
        mib(LIMIT_BYTES),
        CONNECTION_BYTES >> 10,
        mib(bound)
    );
    let mut wrong = Vec::new();
    for (phase, good) in phases {
        let (answered, refused) = (good.answered(), good.all(|served| &served.refused));
        let (written, unpolled) = (good.written(), good.unpolled());
        let failed = good.all(|served| &served.failed);
        if failed > 0 {
            wrong.push(format!("{failed} requests failed {phase}"));
        }
        if refused * 100 > answered {
            wrong.push(format!("{refused} requests were refused {phase}, and {answered} answered"));
        }
        if unpolled > 0 || written == 0 {
            wrong
                .push(format!("{written} records were written {phase}, and {unpolled} of them never polled"));
        }
        print!("{}", good.tally);
    }
    print!("{}", hostiles.tally);
    if most_open * 10 < hostiles.all() * 9 {
        wrong.push(format!("there were never more than {most_open} hostile clients at once"));
    }
    if peak > bound {
        wrong.push(format!("the gateway took {:.0} MiB", mib(peak)));
    }
    wrong.iter().for_each(|wrong| println!("  {wrong}"));
    println!("{}", if wrong.is_empty() { "PASS" } else { "FAIL" });
    ensure!(wrong.is_empty(), "a promise was not kept");
    Ok(())
}

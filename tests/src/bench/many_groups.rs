//! What many groups of the consumer protocol cost their coordinators.

use std::{
    path::Path,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use clap::Args;
use group::OFFSETS_TOPIC;
use rpc::{MetadataWatch, WatchedImage};

use super::{
    figures::{head, median, mib, percentile, row},
    heartbeats::Heartbeats,
    meter::Meter,
    pauses::now_ns,
};
use crate::{
    Cluster, ClusterSpec,
    consumer::{Member, Protocol},
    faults::admin::Admin,
    resident_bytes, wait_until,
};

#[derive(Clone, Debug, Args)]
pub struct Options {
    #[arg(long, default_value_t = 10_000)]
    groups: usize,
    #[arg(long, default_value_t = 3)]
    members: usize,
    /// Of the topic that all of them subscribe to; each member gets as many.
    #[arg(long, default_value_t = 6)]
    partitions: i32,
    /// How long the steady state is watched.
    #[arg(long, default_value_t = 60)]
    steady_s: u64,
    /// To each node.
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// Leaves out the death of a coordinator.
    #[arg(long)]
    no_kill: bool,
}

const TOPIC: &str = "groups";
const NODES: usize = 3;
const JOINED_MAX: Duration = Duration::from_secs(300);
const BACK_MAX: Duration = Duration::from_secs(120);

/// # Errors
/// The cluster does not start, or the members do not come in.
pub async fn measure(options: &Options) -> anyhow::Result<()> {
    let each = options.partitions as usize / options.members;
    ensure!(
        each * options.members == options.partitions as usize,
        "the members cannot share the partitions evenly"
    );
    let spec = ClusterSpec { controllers: 1, storage_nodes: NODES, gateways: 0 };
    let mut cluster = Cluster::start_with(spec, &[("log.level", "warn,storage_node::groups=info")]).await;
    let admin = Admin::new((0..NODES).map(|n| cluster.kafka_address(n)).collect());
    admin.create_topic(TOPIC, options.partitions, NODES as i16, &[]).await?;
    // The first group makes the topic of groups.
    let first = Member::join(&admin.bootstrap(), "first", TOPIC, Protocol::Consumer);
    wait_until("the first group has its member", JOINED_MAX, || async { !first.owned().is_empty() }).await;
    first.leave();
    admin.whole(OFFSETS_TOPIC, JOINED_MAX).await?;
    let (watch, image) = MetadataWatch::new(rpc::ControllerClient::new(cluster.seeds()));
    let watching = tokio::spawn(watch.run(|_, _| {}));
    image.ready().await;

    eprintln!("idle, for 10 s");
    let idle = State::of(&cluster, &image);
    let meter = Meter::begin(cluster.pids());
    tokio::time::sleep(Duration::from_secs(10)).await;
    let at_rest = meter.end();

    let heartbeats =
        Heartbeats::new(image.clone(), TOPIC, options.groups, options.members, options.connections);
    let meter = Meter::begin(cluster.pids());
    let begun = Instant::now();
    let living = heartbeats.start();
    joined(&heartbeats, each as u32).await?;
    let (took, used, full) = (begun.elapsed(), meter.end(), State::of(&cluster, &image));
    println!(
        "{} groups of {} members, {} partitions each: all have what is theirs after {took:.1?} ({} heartbeats; {:.1} \
         CPU-s of the nodes)\n",
        options.groups,
        options.members,
        options.partitions,
        heartbeats.answered.load(Ordering::Relaxed),
        used.cpu("storage-node"),
    );
    // What the joins have left behind may go, and those on the way come to rest.
    tokio::time::sleep(Duration::from_secs(10)).await;

    eprintln!("in the steady state for {} s", options.steady_s);
    heartbeats.keep_times(true);
    let (before, meter) = (State::of(&cluster, &image), Meter::begin(cluster.pids()));
    let count = || heartbeats.answered.load(Ordering::Relaxed);
    let counted = count();
    tokio::time::sleep(Duration::from_secs(options.steady_s)).await;
    let (beats, steady, after) = (count() - counted, meter.end(), State::of(&cluster, &image));
    heartbeats.keep_times(false);

    head(&[
        "node",
        "members",
        "RSS before, MiB",
        "RSS after",
        "bytes a member",
        "idle cores",
        "cores",
        "µs a heartbeat",
    ]);
    for node in 0..NODES {
        let name = format!("storage-node-{node}");
        let members = heartbeats.coordinated_by(node as i32).len();
        let cores = steady.cores(&name);
        let share = beats as f64 * members as f64 / heartbeats.len() as f64 / steady.seconds;
        row(&[
            name.clone(),
            members.to_string(),
            format!("{:.1}", mib(idle.resident[node])),
            format!("{:.1}", mib(after.resident[node])),
            format!("{:.0}", (after.resident[node] as f64 - idle.resident[node] as f64) / members as f64),
            format!("{:.3}", at_rest.cores(&name)),
            format!("{cores:.3}"),
            format!("{:.1}", (cores - at_rest.cores(&name)) / share * 1e6),
        ]);
    }
    let (times, intervals) = (heartbeats.take_times_ms(), heartbeats.intervals_ms());
    println!();
    head(&["steady state", ""]);
    let line = |what: &str, figure: String| row(&[what.to_owned(), figure]);
    line("heartbeats a second", format!("{:.0}", beats as f64 / steady.seconds));
    line(
        "interval that members were told, ms",
        format!("{:.0} / {:.0} (median / most)", median(&intervals), percentile(&intervals, 1.0)),
    );
    line(
        "answer time, ms",
        format!(
            "{:.2} / {:.2} / {:.1} (p50 / p99 / most)",
            median(&times),
            percentile(&times, 0.99),
            percentile(&times, 1.0)
        ),
    );
    line("raft entries", format!("{}", after.version - before.version));
    line(
        "bytes written to __consumer_offsets, all replicas",
        format!("{}", after.log_bytes - before.log_bytes),
    );
    line(
        "bytes written for the joins, a member and replica",
        format!("{:.0}", (full.log_bytes - idle.log_bytes) as f64 / (heartbeats.len() * NODES) as f64),
    );
    line(
        "refused, without an answer, joined again",
        format!(
            "{}, {}, {}",
            heartbeats.refused.load(Ordering::Relaxed),
            heartbeats.unanswered.load(Ordering::Relaxed),
            heartbeats.joined_again.load(Ordering::Relaxed)
        ),
    );
    line("controller, cores", format!("{:.3}", steady.cores("controller")));
    line("foreign cores", format!("{:.2}", steady.foreign_cores));
    if !options.no_kill {
        println!();
        kill(&mut cluster, &heartbeats).await?;
    }
    drop(living);
    watching.abort();
    Ok(())
}

/// Waits until every member has its share.
async fn joined(heartbeats: &Heartbeats, each: u32) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut told = Instant::now();
    loop {
        let have = heartbeats.owning(each);
        if have == heartbeats.len() {
            return Ok(());
        }
        ensure!(begun.elapsed() < JOINED_MAX, "only {have} of {} members have their share", heartbeats.len());
        if told.elapsed() > Duration::from_secs(5) {
            told = Instant::now();
            eprintln!("{have} of {} members have their share", heartbeats.len());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A coordinator dies: how long its members are without one, and what the others had to read.
async fn kill(cluster: &mut Cluster, heartbeats: &Heartbeats) -> anyhow::Result<()> {
    let victim = 0;
    let members = heartbeats.coordinated_by(victim);
    let again = heartbeats.joined_again.load(Ordering::Relaxed);
    let logs = |cluster: &mut Cluster| -> Vec<(u64, u64)> {
        (1..NODES).flat_map(|n| loads(&cluster.process(&format!("storage-node-{n}")).log())).collect()
    };
    let before = logs(cluster).len();
    let killed = now_ns();
    cluster.kill(&format!("storage-node-{victim}"));
    let deadline = Instant::now() + BACK_MAX;
    while heartbeats.answered_ns(&members).iter().any(|at| *at < killed) {
        ensure!(
            Instant::now() < deadline,
            "not all members of a dead coordinator were answered within {BACK_MAX:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let back = (now_ns() - killed) as f64 / 1e9;
    let loads = logs(cluster).split_off(before);
    let (records, ms): (Vec<f64>, Vec<f64>) = loads.iter().map(|(r, ms)| (*r as f64, *ms as f64)).unzip();
    println!(
        "kill -9 of storage-node-{victim}: all its {} members were answered by another within {back:.1} s; {} joined again. The \
         others read {} partitions, {:.0} records in all, in {:.0} / {:.0} ms each (median / most)",
        members.len(),
        heartbeats.joined_again.load(Ordering::Relaxed) - again,
        loads.len(),
        records.iter().sum::<f64>(),
        median(&ms),
        percentile(&ms, 1.0),
    );
    Ok(())
}

/// Records and milliseconds of each partition of groups that a node has read.
fn loads(log: &str) -> Vec<(u64, u64)> {
    let lines = log.lines().filter(|line| line.contains("coordinates groups"));
    let number = |line: &str, key: &str| -> Option<u64> {
        let digits = line.split(key).nth(1)?.trim_start_matches(|c: char| !c.is_ascii_digit());
        digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    lines.filter_map(|line| Some((number(line, "records")?, number(line, "ms")?))).collect()
}

struct State {
    resident: Vec<u64>,
    /// Raft entries so far.
    version: u64,
    log_bytes: u64,
}

impl State {
    fn of(cluster: &Cluster, image: &WatchedImage) -> Self {
        let pids = cluster.pids();
        let nodes: Vec<String> = (0..NODES).map(|n| format!("storage-node-{n}")).collect();
        Self {
            resident: nodes.iter().map(|n| resident_bytes(pids[n])).collect(),
            version: image.load().version,
            log_bytes: nodes.iter().map(|n| log_bytes(&cluster.folder().join(n)).unwrap_or(0)).sum(),
        }
    }
}

/// What the logs of a node's partitions of groups hold.
fn log_bytes(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for partition in std::fs::read_dir(folder).context("a node has a folder")?.flatten() {
        if partition.file_name().to_string_lossy().starts_with(OFFSETS_TOPIC) {
            for file in std::fs::read_dir(partition.path())?.flatten() {
                if file.path().extension().is_some_and(|e| e == "log") {
                    bytes += file.metadata()?.len();
                }
            }
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_has_read_is_in_its_log() {
        let log = "INFO storage_node::groups::load: coordinates groups partition=__consumer_offsets-7 epoch=1 end=12 records=34 ms=5\n\
                   INFO something else records=1 ms=2\n";
        assert_eq!(loads(log), [(34, 5)]);
    }
}

//! How long records stay away when members of a group come and go.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::{Args, ValueEnum};

use super::{
    figures::{head, row},
    member::{self, Kind},
    members::{Members, Owners},
    meter::Meter,
    pauses::{median_and_longest, now_ns},
};
use crate::{
    Cluster, ClusterSpec,
    faults::{
        admin::Admin,
        load::{Acks, through_librdkafka},
    },
};

/// Which way clients come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Way {
    Gateway,
    Direct,
}

#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Kinds of groups, one after the other.
    #[arg(long, value_delimiter = ',', default_values = ["consumer", "eager"])]
    kinds: Vec<Kind>,
    /// Ways to the coordinator and the records.
    #[arg(long, value_delimiter = ',', default_values = ["gateway"])]
    ways: Vec<Way>,
    #[arg(long, default_value_t = 20)]
    members: usize,
    #[arg(long, default_value_t = 100)]
    partitions: i32,
    /// Each partition gets a record as often as this.
    #[arg(long, default_value_t = 50)]
    beat_ms: u64,
    /// How long a poll waits, and a fetch.
    #[arg(long, default_value_t = 100)]
    poll_ms: u64,
    /// How long nothing happens first.
    #[arg(long, default_value_t = 20)]
    steady_s: u64,
    /// Of both protocols: after so long without a heartbeat a member is out.
    #[arg(long, default_value_t = 6_000)]
    session_ms: u64,
    /// Of the classic protocol: librdkafka's default. The consumer protocol's is the coordinator's.
    #[arg(long, default_value_t = 3_000)]
    heartbeat_ms: u64,
    /// One of the members works for so long without a poll, every now and then; its partitions do not count.
    #[arg(long, default_value_t = 0)]
    slow_ms: u64,
    /// Where each member's librdkafka writes what it does.
    #[arg(long, value_name = "DIR")]
    debug: Option<PathBuf>,
    /// How often a member joins, leaves, and is killed.
    #[arg(long, default_value_t = 1)]
    rounds: usize,
}

const TOPIC: &str = "rebalance";
const FACTOR: i16 = 3;
const SETTLE_MAX: Duration = Duration::from_secs(120);

/// # Errors
/// The cluster does not start, or a group does not settle.
pub async fn measure(options: &Options) -> anyhow::Result<()> {
    let spec = ClusterSpec { controllers: 1, storage_nodes: 3, gateways: 1 };
    let session_ms = options.session_ms.to_string();
    let settings =
        [("log.level", "warn"), ("storage.groups.consumer_session_timeout_ms", session_ms.as_str())];
    let cluster = Cluster::start_with(spec, &settings).await;
    let admin = Admin::new((0..3).map(|n| cluster.kafka_address(n)).collect());
    admin.create_topic(TOPIC, options.partitions, FACTOR, &[]).await?;
    let acks = Acks::new(options.partitions);
    let beat = Duration::from_millis(options.beat_ms);
    let writer = through_librdkafka(&admin.bootstrap(), TOPIC, options.partitions, beat, acks.clone(), None)?;
    println!(
        "{} members, {} partitions, a record each every {} ms; polls and fetches wait {} ms; sessions of {} ms.\n\
         Pauses in ms: the median of the partitions' longest ones / the longest of all.{}\n",
        options.members,
        options.partitions,
        options.beat_ms,
        options.poll_ms,
        options.session_ms,
        if options.slow_ms > 0 {
            format!(" One member, whose partitions are left out, works for {} ms at a time.", options.slow_ms)
        } else {
            String::new()
        }
    );
    head(&[
        "group",
        "way",
        "what",
        "moved",
        "pause of those that stayed",
        "of those that moved",
        "writes",
        "cores: nodes, gateway",
    ]);
    let run = async {
        for way in &options.ways {
            for kind in &options.kinds {
                measure_kind(options, &cluster, &acks, *way, *kind).await?;
            }
        }
        anyhow::Ok(())
    };
    let measured = run.await;
    acks.stop();
    let _ = tokio::task::spawn_blocking(move || writer.join()).await;
    measured
}

async fn measure_kind(
    options: &Options,
    cluster: &Cluster,
    acks: &Acks,
    way: Way,
    kind: Kind,
) -> anyhow::Result<()> {
    let bootstrap = match way {
        Way::Gateway => cluster.gateway_kafka_address(0),
        Way::Direct => (0..3).map(|n| cluster.kafka_address(n)).collect::<Vec<_>>().join(","),
    };
    let member = member::Options {
        bootstrap,
        group: format!("{kind:?}-{way:?}"),
        topic: TOPIC.to_owned(),
        kind,
        poll_ms: options.poll_ms,
        session_ms: options.session_ms,
        heartbeat_ms: options.heartbeat_ms,
        slow_ms: options.slow_ms,
        debug: options.debug.clone(),
    };
    let mut members = Members::new(member, options.partitions);
    let mut numbers = Vec::new();
    for _ in 0..options.members {
        numbers.push(members.join()?);
    }
    let report = Report { acks, kind, way, slow_ms: options.slow_ms, poll_ms: options.poll_ms };
    let mut owners = members.settled(None, SETTLE_MAX).await?;
    let window = Window::open(cluster);
    tokio::time::sleep(Duration::from_secs(options.steady_s)).await;
    report.row("nothing", &members, window, &owners, &owners);
    for _ in 0..options.rounds {
        let window = Window::open(cluster);
        let new = members.join()?;
        numbers.push(new);
        let after = members.settled(Some(new), SETTLE_MAX).await?;
        report.row("one joins", &members, window, &owners, &after);
        owners = after;
        for kills in [false, true] {
            // Not one at the end, where range would have the fewest move.
            let gone = numbers.remove(numbers.len() / 2);
            let window = Window::open(cluster);
            match kills {
                true => members.kill(gone)?,
                false => members.leave(gone)?,
            }
            let after = members.settled(None, SETTLE_MAX).await?;
            let what = if kills { "one is killed" } else { "one leaves" };
            report.row(what, &members, window, &owners, &after);
            owners = after;
        }
        numbers.push(members.join()?);
        let last = numbers.last().copied().context("there are members")?;
        owners = members.settled(Some(last), SETTLE_MAX).await?;
    }
    for (error, count) in members.errors() {
        eprintln!("{kind:?}, {way:?}: {count} times: {error}");
    }
    Ok(())
}

/// From when on is looked.
struct Window {
    ns: u64,
    begun: Instant,
    meter: Meter,
}

impl Window {
    fn open(cluster: &Cluster) -> Self {
        Self { ns: now_ns(), begun: Instant::now(), meter: Meter::begin(cluster.pids()) }
    }
}

struct Report<'a> {
    acks: &'a Acks,
    kind: Kind,
    way: Way,
    slow_ms: u64,
    poll_ms: u64,
}

impl Report<'_> {
    fn row(&self, what: &str, members: &Members, window: Window, before: &Owners, after: &Owners) {
        let (until, now) = (now_ns(), Instant::now());
        let moved: BTreeSet<i32> = before.keys().filter(|p| before.get(p) != after.get(p)).copied().collect();
        let is_slow = |p: &i32| self.slow_ms > 0 && (before[p] == 0 || after[p] == 0);
        let pauses = |of_moved: bool| {
            let these = before.keys().filter(|p| moved.contains(p) == of_moved && !is_slow(p));
            median_and_longest(these.map(|p| members.pause(*p, window.ns, until)).collect())
        };
        let stayed = before.keys().filter(|p| !moved.contains(p) && !is_slow(p));
        let worst = stayed.map(|p| (members.pause(*p, window.ns, until), *p)).max();
        if let Some((pause, partition)) =
            worst.filter(|(pause, _)| pause.as_millis() as u64 > self.poll_ms * 3)
        {
            let writes = self.acks.gap(partition, window.begun, now);
            let at = members.pause_began(partition, pause);
            eprintln!(
                "{what}: partition {partition} stayed with member {} and paused for {} ms, {} ms after the beginning (at \
                 {at}); writes to it paused for {} ms at most",
                before[&partition],
                pause.as_millis(),
                at.saturating_sub(window.ns) / 1_000_000,
                writes.as_millis()
            );
        }
        let writes = before.keys().map(|p| self.acks.gap(*p, window.begun, now)).collect();
        let used = window.meter.end();
        row(&[
            format!("{:?}", self.kind).to_lowercase(),
            format!("{:?}", self.way).to_lowercase(),
            what.to_owned(),
            moved.len().to_string(),
            pauses(false),
            pauses(true),
            median_and_longest(writes),
            format!("{:.2}, {:.2}", used.cores("storage-node"), used.cores("gateway")),
        ]);
    }
}

//! A node with many partitions dies and comes back.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use rpc::{ControllerClient, MetadataWatch, WatchedImage};

use super::{
    admin::Admin,
    arena::PROCESS_MAX,
    load::{Acks, percentiles, through_librdkafka},
    options::Options,
    run::spec,
    site::{Member, Site},
};
use crate::resident_bytes;

/// Written to all the time, a few of the partitions on each node.
const PROBE: &str = "probe";
const PROBES: i32 = 12;
const TOPIC: &str = "many";
const WHOLE_MAX: Duration = Duration::from_secs(600);

/// # Errors
/// The cluster does not start or does not recover.
pub async fn measure(options: &Options, partitions: i32) -> anyhow::Result<()> {
    let folder = tempfile::Builder::new().prefix("anabranch-faults-").tempdir()?;
    let site = Arc::new(Site::new(folder.path(), spec(options, &[], 0)?)?);
    site.start_all()?;
    site.ready(PROCESS_MAX).await?;
    let (watch, image) = MetadataWatch::new(ControllerClient::new(site.seeds()));
    let watching = tokio::spawn(watch.run(|_, _| {}));
    image.ready().await;
    let admin = Admin::new(site.bootstrap());
    let factor = options.replication_factor;
    let configs = [("min.insync.replicas", options.min_insync.min(factor).to_string())];

    let begun = Instant::now();
    admin.create_topic(TOPIC, partitions, factor, &configs).await?;
    println!("{partitions} partitions with {factor} replicas made and whole in {:.1?}", begun.elapsed());
    admin.create_topic(PROBE, PROBES, factor, &configs).await?;
    let acks = Acks::new(PROBES);
    let beat = Duration::from_millis(20);
    let thread = through_librdkafka(&admin.bootstrap(), PROBE, PROBES, beat, acks.clone(), None)?;
    for member in site.storage_nodes() {
        println!("{}: {} MiB resident", member.name, resident_bytes(member.pid().unwrap_or_default()) >> 20);
    }

    let victim = site.storage_nodes().pop().context("there are no storage nodes")?;
    for down in [Duration::ZERO, Duration::from_secs(10)] {
        println!("\nkill -9 of {}, down for {down:?}", victim.name);
        kill_and_measure(&admin, &image, &victim, &acks, down).await?;
    }
    acks.stop();
    let _ = tokio::task::spawn_blocking(move || thread.join()).await;
    watching.abort();
    let (exits, panics) = (site.unexpected_exits(), site.panics());
    ensure!(exits.is_empty() && panics.is_empty(), "{exits:?} {panics:?}");
    Ok(())
}

async fn kill_and_measure(
    admin: &Admin,
    image: &WatchedImage,
    victim: &Member,
    acks: &Acks,
    down: Duration,
) -> anyhow::Result<()> {
    // The image's version is the index of the raft entry that made it.
    let mut entries = Entries { image: image.clone(), last: image.load().version };
    let all: Vec<i32> = (0..PROBES).collect();
    let killed = Instant::now();
    victim.kill();
    tokio::time::sleep(down).await;
    if !down.is_zero() {
        println!("  raft entries until now: {}", entries.since());
    }
    let started = Instant::now();
    victim.start()?;
    victim.ready(WHOLE_MAX).await?;
    println!("  ready {:.1?} after its start", started.elapsed());
    while !acks.all_since(&all, started) {
        ensure!(killed.elapsed() < WHOLE_MAX, "writes do not go on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for topic in [TOPIC, PROBE] {
        admin.whole(topic, WHOLE_MAX).await?;
    }
    println!("  full ISR {:.1?} after its start", started.elapsed());
    println!("  raft entries until the full ISR: {}", entries.since());
    let gaps = all.iter().map(|p| acks.gap(*p, killed, Instant::now())).collect();
    println!("  writes went on after, of {PROBES} partitions: {}", percentiles(gaps));
    // Preferred leaders come back by themselves, in steps.
    tokio::time::sleep(Duration::from_secs(20)).await;
    println!("  raft entries in the 20 s after: {}", entries.since());
    Ok(())
}

struct Entries {
    image: WatchedImage,
    last: u64,
}

impl Entries {
    fn since(&mut self) -> u64 {
        let now = self.image.load().version;
        now - std::mem::replace(&mut self.last, now)
    }
}

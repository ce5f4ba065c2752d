//! How long clients cannot write when the node that leads dies, and when the controllers' leader does.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use fastrand::Rng;

use super::{
    admin::Admin,
    arena::{Arena, PROCESS_MAX, Victim},
    keep_in,
    load::{Acks, percentiles, through_librdkafka, through_rest},
    options::Options,
    run::spec,
    site::Site,
    workload::ClientDebug,
};

const TOPIC: &str = "failover";
const PARTITIONS: i32 = 100;
/// How often each partition is written to: what a gap can be measured to.
const BEAT: Duration = Duration::from_millis(40);
const REST_BEAT: Duration = Duration::from_millis(50);
/// A kill's effect is looked for so long.
const WATCHED: Duration = Duration::from_secs(6);

/// # Errors
/// The cluster does not start or does not recover.
pub async fn measure(options: &Options, kills: usize) -> anyhow::Result<()> {
    let folder = tempfile::Builder::new().prefix("anabranch-faults-").tempdir()?;
    let measured = measure_in(options, kills, folder.path()).await;
    if measured.is_err() || options.keep {
        keep_in(&options.out, folder.path(), "failover")?;
    }
    measured
}

async fn measure_in(options: &Options, kills: usize, folder: &Path) -> anyhow::Result<()> {
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..));
    let mut random = Rng::with_seed(seed);
    let site = Arc::new(Site::new(folder, spec(options, &[], seed)?)?);
    site.start_all()?;
    site.ready(PROCESS_MAX).await?;
    let admin = Admin::new(site.bootstrap());
    let min_insync =
        [("min.insync.replicas", options.min_insync.min(options.replication_factor).to_string())];
    admin.create_topic(TOPIC, PARTITIONS, options.replication_factor, &min_insync).await?;
    let arena = Arena::new(site.clone(), admin.clone(), TOPIC, &folder.join("faults.log"))?;
    for through in ["librdkafka", "REST"] {
        let acks = Acks::new(PARTITIONS);
        let mut thread = None;
        let mut tasks = Vec::new();
        match through {
            "REST" => tasks = through_rest(&site.rest(), TOPIC, PARTITIONS, REST_BEAT, &acks),
            _ => {
                let debug = ClientDebug::wanted(options, folder)?.map(Arc::new);
                let bootstrap = admin.bootstrap();
                thread = Some(through_librdkafka(&bootstrap, TOPIC, PARTITIONS, BEAT, acks.clone(), debug)?);
            }
        }
        written(&acks, &(0..PARTITIONS).collect::<Vec<_>>(), Instant::now()).await?;
        let quiet = quiet_gaps(&acks).await;
        println!("{through}, nothing killed, all partitions: {}", percentiles(quiet));
        let (mut all, mut worst) = (Vec::new(), Vec::new());
        for kill in 1..=kills {
            arena.admin.whole(TOPIC, Duration::from_secs(120)).await?;
            let gaps = kill_a_leader(&arena, &acks, &mut random).await?;
            println!("  {kill}: {}", percentiles(gaps.clone()));
            worst.extend(gaps.iter().max());
            all.extend(gaps);
        }
        println!("{through}, {kills} kills of a leader, each partition it led: {}", percentiles(all));
        println!("{through}, {kills} kills of a leader, the worst partition: {}", percentiles(worst));
        let mut all = Vec::new();
        for _ in 0..kills {
            all.extend(kill_the_controllers_leader(&arena, &acks).await?);
        }
        println!("{through}, {kills} kills of the controllers' leader, all partitions: {}", percentiles(all));
        println!("{through}: {} acknowledgements\n", acks.count());
        acks.stop();
        for task in tasks {
            task.abort();
        }
        if let Some(thread) = thread {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
    let (exits, panics) = (site.unexpected_exits(), site.panics());
    ensure!(exits.is_empty() && panics.is_empty(), "{exits:?} {panics:?}");
    Ok(())
}

/// What the gaps are when nothing happens.
async fn quiet_gaps(acks: &Acks) -> Vec<Duration> {
    let from = Instant::now();
    tokio::time::sleep(WATCHED).await;
    (0..PARTITIONS).map(|p| acks.gap(p, from, Instant::now())).collect()
}

async fn written(acks: &Acks, partitions: &[i32], since: Instant) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !acks.all_since(partitions, since) {
        ensure!(Instant::now() < deadline, "not all of {} partitions are written to again", partitions.len());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// The gap of each partition that the victim led.
async fn kill_a_leader(arena: &Arena, acks: &Acks, random: &mut Rng) -> anyhow::Result<Vec<Duration>> {
    let victim = arena.a_leader(random).await.context("nobody leads")?;
    let view = arena.view().await;
    let led: Vec<i32> = view
        .partitions
        .iter()
        .filter(|(_, p)| format!("storage-node-{}", p.leader) == victim.member.name)
        .map(|(index, _)| *index)
        .collect();
    gaps_of_a_kill(arena, acks, &victim, &led).await
}

async fn kill_the_controllers_leader(arena: &Arena, acks: &Acks) -> anyhow::Result<Vec<Duration>> {
    let deadline = Instant::now() + Duration::from_secs(10);
    let victim = loop {
        match arena.controller_leader().await {
            Some(victim) => break victim,
            None => ensure!(Instant::now() < deadline, "the controllers have no leader"),
        }
    };
    gaps_of_a_kill(arena, acks, &victim, &(0..PARTITIONS).collect::<Vec<_>>()).await
}

async fn gaps_of_a_kill(
    arena: &Arena,
    acks: &Acks,
    victim: &Victim,
    partitions: &[i32],
) -> anyhow::Result<Vec<Duration>> {
    let from = Instant::now();
    victim.member.kill();
    tokio::time::sleep(WATCHED).await;
    // A topic with one replica is written to again only when the node is back.
    let replicated = arena.view().await.partitions.values().all(|p| p.replicas.len() > 1);
    if replicated {
        written(acks, partitions, from + WATCHED / 2).await?;
    }
    let to = Instant::now();
    arena.bring_back(&victim.member).await;
    written(acks, partitions, to).await?;
    Ok(partitions.iter().map(|p| acks.gap(*p, from, to)).collect())
}

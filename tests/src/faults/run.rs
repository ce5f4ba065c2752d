//! One run: start, write, read, break, mend, check.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::Context;
use fastrand::Rng;

use super::{
    admin::Admin,
    arena::{Arena, PROCESS_MAX},
    checker::{self, Anomaly, Evidence},
    damage::partition_folders,
    fault::{Fault, names},
    groups::Groups,
    high_watermarks::HighWatermarks,
    librdkafka,
    options::Options,
    replicas::{ReplicaLog, compare},
    report::RunResult,
    rest,
    site::{Site, SiteSpec},
    strike::strikes,
    value::Values,
    watcher,
    workload::{ClientDebug, SharedReader, Workload, reader},
};

const TOPIC: &str = "faults";
/// A producer that tries again succeeds so soon after the faults.
const WRITTEN_MAX: Duration = Duration::from_secs(20);
/// Everything acknowledged is with the readers so soon after the faults.
const SEEN_MAX: Duration = Duration::from_secs(60);
/// And every partition has a leader and a full ISR.
const HEALED_MAX: Duration = Duration::from_secs(120);

/// The clients of a run: producers, readers and the watcher of high watermarks.
struct Clients {
    workload: Arc<Workload>,
    producer_threads: Vec<JoinHandle<()>>,
    producer_tasks: Vec<tokio::task::JoinHandle<()>>,
    reader_threads: Vec<JoinHandle<()>>,
    reader_tasks: Vec<tokio::task::JoinHandle<()>>,
    readers: Vec<SharedReader>,
    high_watermarks: Arc<Mutex<HighWatermarks>>,
}

impl Clients {
    /// Two producers of librdkafka, of which one gives up early, four of REST, of which two repeat their requests under keys,
    /// a reader each.
    fn start(workload: &Arc<Workload>, admin: &Admin, urls: Vec<String>, random: &mut Rng) -> Self {
        let urls: Arc<[String]> = urls.into();
        let bootstrap = admin.bootstrap();
        let give_up = [Duration::from_secs(30), Duration::from_secs(120)];
        let producer_threads = give_up
            .map(|after| librdkafka::produce(workload.clone(), bootstrap.clone(), 0.3, after, random.fork()))
            .into();
        const REST_PRODUCERS: i32 = 4;
        let producer_tasks = (0..REST_PRODUCERS.min(workload.partitions)).map(|n| {
            let mine = (0..workload.partitions).filter(|p| p % REST_PRODUCERS == n).collect();
            rest::produce(workload.clone(), urls.clone(), n as usize, mine, 0.1, n % 2 == 1, random.fork())
        });
        let producer_tasks = producer_tasks.collect();
        let readers = vec![reader("librdkafka"), reader("REST")];
        let reader_threads = vec![librdkafka::read(workload.clone(), bootstrap, readers[0].clone())];
        let high_watermarks = Arc::default();
        let watching = watcher::watch(workload.clone(), admin.clone(), Arc::clone(&high_watermarks));
        let mut reader_tasks = vec![tokio::spawn(watching)];
        reader_tasks.extend((0..workload.partitions).map(|partition| {
            rest::read(workload.clone(), urls.clone(), partition as usize, partition, readers[1].clone())
        }));
        Self {
            workload: workload.clone(),
            producer_threads,
            producer_tasks,
            reader_threads,
            reader_tasks,
            readers,
            high_watermarks,
        }
    }

    /// Stops the producers and waits until each record's outcome is known or given up.
    async fn stop_producing(&mut self) {
        self.workload.stop_producing();
        for task in self.producer_tasks.drain(..) {
            if let Err(error) = task.await {
                self.workload.problem(format!("a REST producer: {error}"));
            }
        }
        join(&self.workload, std::mem::take(&mut self.producer_threads)).await;
    }

    /// Gives the readers the time that is left; what they were not given by then stays unseen.
    async fn wait_until_seen(&self, deadline: Instant) {
        loop {
            let evidence = self.workload.evidence(&self.readers);
            let missing = evidence.readers.iter().map(|r| checker::unseen(r, &evidence).len()).sum::<usize>();
            if missing == 0 || Instant::now() >= deadline {
                return;
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    async fn stop_reading(&mut self) {
        self.workload.stop_reading();
        for task in self.reader_tasks.drain(..) {
            if let Err(error) = task.await {
                self.workload.problem(format!("a reader: {error}"));
            }
        }
        join(&self.workload, std::mem::take(&mut self.reader_threads)).await;
    }
}

async fn join(workload: &Workload, threads: Vec<JoinHandle<()>>) {
    for thread in threads {
        let joined = tokio::task::spawn_blocking(move || thread.join().is_ok()).await;
        if !joined.unwrap_or(false) {
            workload.problem("a client's thread panicked");
        }
    }
}

/// What a site must have for these faults.
pub fn spec(options: &Options, faults: &[Fault], seed: u64) -> anyhow::Result<SiteSpec> {
    let full = faults.contains(&Fault::DiskFull);
    Ok(SiteSpec {
        controllers: 3,
        storage_nodes: options.nodes,
        gateways: 2,
        small_disk: full.then_some((seed % u64::from(options.nodes)) as u8),
        settings: options.settings()?,
    })
}

async fn make_topic(options: &Options, admin: &Admin, topic: &str) -> anyhow::Result<()> {
    let min_insync = options.min_insync.min(options.replication_factor).to_string();
    // Small segments, or there would be none that is sealed and has an index.
    let configs = [("min.insync.replicas", min_insync), ("segment.bytes", (128 << 10).to_string())];
    admin.create_topic(topic, options.partitions, options.replication_factor, &configs).await?;
    Ok(())
}

fn workload(
    options: &Options,
    topic: &str,
    seed: u64,
    rate: f64,
    folder: &Path,
) -> anyhow::Result<Arc<Workload>> {
    let values = Values { seed, bytes_max: options.record_bytes_max };
    let debug = ClientDebug::wanted(options, folder)?;
    Ok(Arc::new(Workload::new(topic, options.partitions, values, rate, debug)))
}

/// A run against processes of our own. `result` has who ran; the rest is filled in.
///
/// # Errors
/// The cluster did not come up, or the harness itself failed: no verdict.
pub async fn run(
    options: &Options,
    faults: &[Fault],
    folder: &Path,
    mut result: RunResult,
) -> anyhow::Result<RunResult> {
    let mut random = Rng::with_seed(result.seed);
    let site = Arc::new(Site::new(folder, spec(options, faults, result.seed)?)?);
    site.start_all()?;
    site.ready(PROCESS_MAX).await.context("the cluster does not start")?;
    let admin = Admin::new(site.bootstrap());
    make_topic(options, &admin, TOPIC).await?;
    let arena = Arc::new(Arena::new(site.clone(), admin.clone(), TOPIC, &folder.join("faults.log"))?);
    // Everything must fit on the small disk twice: before it is filled up, and once more after it was freed.
    let rate = if faults.contains(&Fault::DiskFull) { options.rate / 2.0 } else { options.rate };
    let workload = workload(options, TOPIC, result.seed, rate, folder)?;
    let mut clients = Clients::start(&workload, &admin, site.rest(), &mut random);
    let paths = [admin.bootstrap(), site.gateways_kafka().join(",")];
    let groups = Groups::start(&workload, &admin, &paths, &mut random);

    let begun = Instant::now();
    let until = begun + Duration::from_secs(options.seconds);
    let progress = tokio::spawn(progress(arena.clone(), workload.clone(), begun));
    let striking: Vec<_> =
        faults.iter().map(|f| tokio::spawn(strikes(arena.clone(), *f, until, random.fork()))).collect();
    for striking in striking {
        result.strikes += striking.await?;
    }
    arena.tell("the faults are over");
    site.start_all()?;
    let healed = Instant::now();
    if let Err(error) = site.ready(PROCESS_MAX).await {
        arena.problem(format!("after the faults: {error:#}"));
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (whole, ()) = tokio::join!(admin.whole(TOPIC, HEALED_MAX), clients.stop_producing());
    match whole {
        Ok(_) => result.healed_s = Some(healed.elapsed().as_secs_f64()),
        Err(error) => arena.problem(format!("after the faults: {error:#}")),
    }
    clients.wait_until_seen(healed + SEEN_MAX).await;
    groups.wait_until_seen(healed + SEEN_MAX).await;
    clients.stop_reading().await;
    let mut evidence = workload.evidence(&clients.readers);
    let of_groups = groups.stop(&mut evidence).await;
    check_progress(&workload, healed);
    arena.tell("the clients have stopped");
    let mut anomalies = read_and_check(&admin, &workload, &mut evidence).await;
    anomalies.extend(of_groups);
    anomalies.extend(clients.high_watermarks.lock().unwrap().regressions.clone());
    progress.abort();

    let exits = site.unexpected_exits();
    for member in ["gateway", "storage-node", "controller"]
        .into_iter()
        .flat_map(|kind| site.members().filter(move |m| m.name.starts_with(kind)))
    {
        if let Err(error) = member.terminate(PROCESS_MAX).await {
            arena.problem(format!("at the end: {error}"));
        }
    }
    anomalies.extend(compare_replicas(&site, options.partitions)?);
    result.unexpected_exits = exits.len();
    let panics = site.panics();
    result.panics = panics.len();
    result.problems = [workload.problems(), arena.problems(), exits, panics].concat();
    finish(&workload, &anomalies, folder, &mut result)?;
    Ok(result)
}

/// A run against a cluster of somebody else's: the workload and the checker, and a command that breaks it, if there is one.
///
/// # Errors
/// The topic cannot be made.
pub async fn run_against(
    options: &Options,
    folder: &Path,
    mut result: RunResult,
) -> anyhow::Result<RunResult> {
    let mut random = Rng::with_seed(result.seed);
    let admin = Admin::new(options.bootstrap.clone());
    let topic = format!("faults-{:016x}", result.seed);
    make_topic(options, &admin, &topic).await?;
    let workload = workload(options, &topic, result.seed, options.rate, folder)?;
    let mut clients = Clients::start(&workload, &admin, options.rest.clone(), &mut random);
    let until = Instant::now() + Duration::from_secs(options.seconds);
    while Instant::now() < until {
        if let Some(command) = &options.fault_command {
            result.strikes += 1;
            shell(command, "begin", &workload).await;
            tokio::time::sleep(Duration::from_secs(5)).await;
            shell(command, "end", &workload).await;
        }
        println!("  {:?}", workload.history.counts());
        let left = until.saturating_duration_since(Instant::now());
        tokio::time::sleep(left.min(Duration::from_secs(5))).await;
    }
    let healed = Instant::now();
    let (whole, ()) = tokio::join!(admin.whole(&topic, HEALED_MAX), clients.stop_producing());
    match whole {
        Ok(_) => result.healed_s = Some(healed.elapsed().as_secs_f64()),
        Err(error) => workload.problem(format!("in the end: {error:#}")),
    }
    clients.wait_until_seen(healed + SEEN_MAX).await;
    clients.stop_reading().await;
    check_progress(&workload, healed);
    let mut evidence = workload.evidence(&clients.readers);
    let mut anomalies = read_and_check(&admin, &workload, &mut evidence).await;
    anomalies.extend(clients.high_watermarks.lock().unwrap().regressions.clone());
    result.problems = workload.problems();
    finish(&workload, &anomalies, folder, &mut result)?;
    match result.passed() {
        true => admin.delete_topic(&topic).await?,
        false => println!("  topic {topic} is left as it is"),
    }
    Ok(result)
}

/// Records that a healthy cluster did not take are no loss, but no health either.
fn check_progress(workload: &Workload, healed: Instant) {
    let unwritten = workload.history.unwritten_at(healed + WRITTEN_MAX);
    if unwritten > 0 {
        workload
            .problem(format!("{unwritten} records were still not written {WRITTEN_MAX:?} after the faults"));
    }
}

async fn shell(command: &str, step: &str, workload: &Workload) {
    let run = format!("{command} {step}");
    let status =
        tokio::task::spawn_blocking(move || std::process::Command::new("sh").args(["-c", &run]).status());
    match status.await {
        Ok(Ok(status)) if status.success() => {}
        other => workload.problem(format!("{command} {step}: {other:?}")),
    }
}

async fn read_and_check(admin: &Admin, workload: &Workload, evidence: &mut Evidence) -> Vec<Anomaly> {
    match watcher::read_all(admin, &workload.topic, &workload.values, Duration::from_secs(60)).await {
        Ok(logs) => evidence.logs = logs,
        Err(error) => workload.problem(format!("{error:#}")),
    }
    checker::check(evidence)
}

fn compare_replicas(site: &Site, partitions: i32) -> anyhow::Result<Vec<Anomaly>> {
    let mut anomalies = Vec::new();
    for partition in 0..partitions {
        let mut replicas = Vec::new();
        for member in site.storage_nodes() {
            let Some(data) = &member.data else { continue };
            let suffix = format!("-{partition}");
            let folders = partition_folders(data, TOPIC);
            if let Some(folder) = folders.iter().find(|f| f.to_string_lossy().ends_with(&suffix)) {
                replicas.push(ReplicaLog::read(&member.name, folder)?);
            }
        }
        anomalies.extend(compare(partition, &replicas));
    }
    Ok(anomalies)
}

/// Counts, judges, and writes down what was found.
fn finish(
    workload: &Workload,
    anomalies: &[Anomaly],
    folder: &Path,
    result: &mut RunResult,
) -> anyhow::Result<()> {
    let counts = workload.history.counts();
    (result.acked, result.failed) = (counts.acked, counts.failed);
    result.unknown = counts.unknown + counts.pending;
    result.judge(anomalies);
    workload.history.write(&folder.join("history.jsonl"))?;
    let mut text = String::new();
    for anomaly in anomalies {
        text.push_str(&format!("{}: {}\n", anomaly.kind.name(), anomaly.detail));
    }
    for problem in &result.problems {
        text.push_str(&format!("problem: {problem}\n"));
    }
    for (what, count) in workload.notes() {
        text.push_str(&format!("seen by clients {count} times: {what}\n"));
    }
    std::fs::write(folder.join("findings.txt"), text)?;
    for anomaly in anomalies.iter().take(12) {
        println!("  {}: {}", anomaly.kind.name(), anomaly.detail);
    }
    for problem in result.problems.iter().take(12) {
        println!("  problem: {problem}");
    }
    Ok(())
}

async fn progress(arena: Arc<Arena>, workload: Arc<Workload>, begun: Instant) {
    let mut every = tokio::time::interval(Duration::from_secs(5));
    loop {
        every.tick().await;
        let exits = arena.site.unexpected_exits().len();
        let (in_sync, replicas) = arena.view().await.in_sync();
        let counts = workload.history.counts();
        let current = arena.current();
        println!(
            "  {:5.1} s  acked {} pending {} unknown {} failed {}  in sync {in_sync}/{replicas}  exits {exits}  {}",
            begun.elapsed().as_secs_f64(),
            counts.acked,
            counts.pending,
            counts.unknown,
            counts.failed,
            if current.is_empty() { "-" } else { &current },
        );
    }
}

/// What is known of a run before it begins.
pub fn planned(options: &Options, faults: &[Fault], seed: u64, code: &(String, bool, String)) -> RunResult {
    let (commit, dirty, build) = code.clone();
    RunResult {
        commit,
        dirty,
        build,
        faults: names(faults),
        seconds: options.seconds,
        nodes: options.nodes.into(),
        seed,
        strikes: 0,
        acked: 0,
        unknown: 0,
        failed: 0,
        anomalies: Default::default(),
        panics: 0,
        unexpected_exits: 0,
        healed_s: None,
        problems: Vec::new(),
        verdict: "none".to_owned(),
        kept: None,
    }
}

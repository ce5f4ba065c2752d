//! A group of REST and Kafka consumers behind two gateways, of which one is killed each second.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use clap::Args;
use fastrand::Rng;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    fill::{ends, fill},
    kafka_life::{self, KafkaLife},
    kills::{KILLS, kill_gateways},
    ledger::Ledger,
    proxy::Proxy,
    rest_life::{self, CUT_OFF, Life, Shared},
    tally::Tally,
    watch::watch,
};
use crate::{Cluster, ClusterSpec, bench::figures::percentile, faults::admin::Admin};

#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Written before anybody reads.
    #[arg(long, default_value_t = 1_000_000)]
    records: i64,
    #[arg(long, default_value_t = 50)]
    partitions: i32,
    #[arg(long, default_value_t = 20)]
    rest_consumers: usize,
    #[arg(long, default_value_t = 5)]
    kafka_consumers: usize,
    #[arg(long, default_value_t = 3)]
    controllers: usize,
    /// One of the gateways is killed so often; 0: none ever.
    #[arg(long, default_value_t = 1_000)]
    kill_every_ms: u64,
    /// This part of the REST consumers' polls is cut off by the client before it has read the answer.
    #[arg(long, default_value_t = 0.05)]
    cut_off: f64,
    /// How long a consumer works on a record.
    #[arg(long, default_value_t = 2_000)]
    work_us: u64,
    /// `max_bytes` of a poll; a record has 100.
    #[arg(long, default_value_t = 4_000)]
    poll_bytes: usize,
    /// Of who is killed, who cuts off when, and how. The timing is the machine's.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// It has failed if not everything is read and committed by then.
    #[arg(long, default_value_t = 1_200)]
    seconds_max: u64,
}

const GROUP: &str = "rest-proof";
const TOPIC: &str = "rest-proof";
const GATEWAYS: usize = 2;
const FACTOR: i16 = 3;

/// # Errors
/// A promise was broken, or the cluster does not start.
pub async fn prove(options: &Options) -> anyhow::Result<()> {
    let spec = ClusterSpec { controllers: options.controllers, storage_nodes: 3, gateways: GATEWAYS };
    let mut cluster = Cluster::prepare(spec, &[]);
    let (rest_listener, rest_address) = Proxy::listen().await?;
    let (kafka_listener, kafka_address) = Proxy::listen().await?;
    for gateway in 0..GATEWAYS {
        cluster.set(&format!("gateway-{gateway}"), "gateway.rest.advertised", &rest_address);
        cluster.set(&format!("gateway-{gateway}"), "gateway.kafka.advertised", &kafka_address);
    }
    cluster.start_all();
    cluster.ready().await;
    let rest_of = |n| cluster.rest(n).url("").trim_start_matches("http://").to_owned();
    let rest_proxy = Proxy::start(rest_listener, rest_address, (0..GATEWAYS).map(rest_of).collect());
    let kafka_targets = (0..GATEWAYS).map(|n| cluster.gateway_kafka_address(n)).collect();
    let kafka_proxy = Proxy::start(kafka_listener, kafka_address, kafka_targets);

    let admin = Admin::new((0..3).map(|n| cluster.kafka_address(n)).collect());
    let view = admin.create_topic(TOPIC, options.partitions, FACTOR, &[]).await?;
    let ends = ends(options.records, options.partitions);
    eprintln!("writing {} records", options.records);
    let begun = Instant::now();
    fill(&view, TOPIC, &ends).await?;
    eprintln!("written in {:.1} s; reading, with seed {}", begun.elapsed().as_secs_f64(), options.seed);

    let run = Run::start(options, &rest_proxy, &kafka_proxy, Arc::new(Ledger::new(&ends)));
    let outcome = run.until_all_is_read(cluster, admin, options).await?;
    let given = [&rest_proxy, &kafka_proxy]
        .map(|proxy| proxy.given.iter().map(|n| n.load(Ordering::Relaxed)).collect::<Vec<_>>());
    outcome.report(options, &given)
}

/// Everybody who reads.
struct Run {
    ledger: Arc<Ledger>,
    tally: Arc<Tally>,
    random: Rng,
    stop: CancellationToken,
    rest: JoinSet<()>,
    kafka: Vec<std::thread::JoinHandle<()>>,
    begun: Instant,
}

struct Outcome {
    ledger: Arc<Ledger>,
    tally: Arc<Tally>,
    seconds: f64,
    restarts_ms: Vec<f64>,
}

impl Run {
    fn start(options: &Options, rest: &Proxy, kafka: &Proxy, ledger: Arc<Ledger>) -> Self {
        let mut random = Rng::with_seed(options.seed);
        let (tally, stop) = (Arc::<Tally>::default(), CancellationToken::new());
        let begun = Instant::now();
        let shared = Arc::new(Shared {
            address: rest.address.clone(),
            group: GROUP.to_owned(),
            topic: TOPIC.to_owned(),
            ledger: ledger.clone(),
            tally: tally.clone(),
            work: Duration::from_micros(options.work_us),
            poll_bytes: options.poll_bytes,
            cut_off: options.cut_off,
            stop: stop.clone(),
        });
        let mut lives = JoinSet::new();
        for number in 0..options.rest_consumers {
            lives.spawn(Life::new(&shared, number, random.fork()).live());
        }
        let life = KafkaLife {
            bootstrap: kafka.address.clone(),
            group: GROUP.to_owned(),
            topic: TOPIC.to_owned(),
            ledger: ledger.clone(),
            tally: tally.clone(),
            work: Duration::from_micros(options.work_us),
            stop: stop.clone(),
        };
        let kafka = (0..options.kafka_consumers).map(|_| life.clone().start()).collect();
        Self { ledger, tally, random, stop, rest: lives, kafka, begun }
    }

    async fn until_all_is_read(
        mut self,
        cluster: Cluster,
        admin: Admin,
        options: &Options,
    ) -> anyhow::Result<Outcome> {
        let no_more_kills = CancellationToken::new();
        let every = match options.kill_every_ms {
            0 => Duration::from_secs(86_400),
            ms => Duration::from_millis(ms),
        };
        let kills = tokio::spawn(kill_gateways(
            cluster,
            GATEWAYS,
            every,
            self.random.fork(),
            self.tally.clone(),
            no_more_kills.clone(),
        ));
        let place = (GROUP, TOPIC, options.partitions);
        let watching =
            watch(admin.clone(), place, self.ledger.clone(), self.tally.clone(), self.stop.clone());
        tokio::select! {
            () = watching => {}
            () = progress(&self.ledger, &self.tally, self.begun, options.records) => {}
            () = tokio::time::sleep(Duration::from_secs(options.seconds_max)) => {
                self.ledger.fault(format!("not everything was read and committed in {} s", options.seconds_max));
            }
        }
        let seconds = self.begun.elapsed().as_secs_f64();
        self.stop.cancel();
        // They leave while gateways die, too.
        while let Some(ended) = self.rest.join_next().await {
            ended.context("a REST consumer panicked")?;
        }
        let kafka = self.kafka;
        let joined = tokio::task::spawn_blocking(move || kafka.into_iter().all(|life| life.join().is_ok()));
        ensure!(joined.await?, "a Kafka consumer panicked");
        no_more_kills.cancel();
        let (mut cluster, restarts_ms) = kills.await.context("a gateway did not come back")?;
        let told = admin.committed(GROUP, TOPIC, options.partitions).await?;
        self.ledger.committed(&told);
        if let Some(panic) = panicked(&cluster) {
            self.ledger.fault(panic);
        }
        cluster.terminate_all();
        Ok(Outcome { ledger: self.ledger, tally: self.tally, seconds, restarts_ms })
    }
}

/// Says each second how far it is.
async fn progress(ledger: &Ledger, tally: &Tally, begun: Instant, records: i64) {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    loop {
        seconds.tick().await;
        let (delivered, again) = ledger.counts();
        eprintln!(
            "{:>4.0} s: {delivered} of {records} delivered, {again} again, {} committed; {} kills, {} cut off, {} lost, {} failed; \
             {} faults",
            begun.elapsed().as_secs_f64(),
            ledger.committed_records(),
            tally.of(KILLS),
            tally.of(CUT_OFF),
            tally.beginning("lost:"),
            tally.beginning("status 5"),
            ledger.fault_count(),
        );
    }
}

/// A process that says that it panicked.
fn panicked(cluster: &Cluster) -> Option<String> {
    let files = std::fs::read_dir(cluster.folder()).into_iter().flatten().flatten();
    let logs = files.filter(|file| file.path().extension().is_some_and(|e| e == "log"));
    logs.into_iter().find_map(|file| {
        let text = std::fs::read_to_string(file.path()).unwrap_or_default();
        let line = text.lines().find(|line| line.contains("panicked at"))?;
        Some(format!("{}: {line}", file.file_name().display()))
    })
}

impl Options {
    /// What was to happen and did not, without which the run proves nothing.
    fn unproven(&self, tally: &Tally) -> Vec<String> {
        let wanted = [
            (self.kill_every_ms > 0, KILLS),
            (self.rest_consumers > 0 && self.cut_off > 0.0, CUT_OFF),
            (self.rest_consumers > 0, rest_life::RECORDS),
            (self.kafka_consumers > 0, kafka_life::RECORDS),
        ];
        let missing = wanted.into_iter().filter(|(is_wanted, what)| *is_wanted && tally.of(what) == 0);
        missing.map(|(_, what)| format!("there were no {what}")).collect()
    }
}

impl Outcome {
    fn report(&self, options: &Options, given: &[Vec<u64>; 2]) -> anyhow::Result<()> {
        // What a client cannot act on is an error of ours.
        let errors = self.tally.beginning("status 500");
        if errors > 0 {
            self.ledger.fault(format!("{errors} answers with status 500"));
        }
        options.unproven(&self.tally).into_iter().for_each(|what| self.ledger.fault(what));
        let (missing, repeated) = self.ledger.missing_and_repeated();
        let uncommitted = self.ledger.uncommitted();
        let (delivered, again) = self.ledger.counts();
        let faults = self.ledger.fault_count();
        let is_kept = missing == 0 && uncommitted.is_empty() && faults == 0;
        println!(
            "\n{} REST consumers and {} Kafka consumers of one group, {} partitions; seed {}",
            options.rest_consumers, options.kafka_consumers, options.partitions, options.seed
        );
        println!("  {:>9}  records, {delivered} of them delivered, {missing} lost", options.records);
        println!("  {repeated:>9}  records delivered more than once ({again} deliveries too many)");
        println!(
            "  {:>9}  committed in the end; not to the end: {uncommitted:?}",
            self.ledger.committed_records()
        );
        println!("  {:>9.1}  seconds, {:.0} records/s", self.seconds, delivered as f64 / self.seconds);
        println!(
            "  {:>9}  kills; ready again after {:.0} ms (median), {:.0} ms (most)",
            self.tally.of(KILLS),
            percentile(&self.restarts_ms, 0.5),
            percentile(&self.restarts_ms, 1.0)
        );
        println!("  connections to each gateway: REST {:?}, Kafka {:?}", given[0], given[1]);
        print!("{}", self.tally);
        println!("  {faults:>9}  faults");
        self.ledger.faults().iter().for_each(|fault| println!("    {fault}"));
        println!("{}", if is_kept { "PASS" } else { "FAIL" });
        ensure!(is_kept, "a promise was not kept");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn a_run_in_which_nothing_happened_proves_nothing() {
        let unproven = |arguments: &[&str], happened: &[&str]| {
            let tally = Tally::default();
            happened.iter().for_each(|what| tally.count(*what));
            let arguments = [&["proof"], arguments].concat();
            Arguments::try_parse_from(arguments).unwrap_or_else(|e| panic!("{e}")).options.unproven(&tally)
        };
        let all = [KILLS, CUT_OFF, rest_life::RECORDS, kafka_life::RECORDS];
        assert_eq!(unproven(&[], &all), [""; 0]);
        for missing in all {
            let happened = all.into_iter().filter(|what| *what != missing).collect::<Vec<_>>();
            assert_eq!(unproven(&[], &happened), [format!("there were no {missing}")]);
        }
        let without = ["--kill-every-ms", "0", "--kafka-consumers", "0", "--cut-off", "0"];
        assert_eq!(unproven(&without, &[rest_life::RECORDS]), [""; 0]);
    }
}

//! The same requests to our gateway and to a bridge over Apache Kafka, in pairs.

use std::{collections::BTreeMap, time::Duration};

use anyhow::ensure;
use clap::Args;

use super::{
    load::Load,
    measure,
    peers::{Installed, Kind},
    system::{PARTITIONS, System},
};
use crate::bench::figures::{head, median, mib, row};

#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Of each window: one flat out and one at the fixed rate, for each number of records.
    #[arg(long, default_value_t = 8.0)]
    seconds: f64,
    /// Runs of each side, in turns of ABBA.
    #[arg(long, default_value_t = 4)]
    pairs: usize,
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Records in a request, one number after the other.
    #[arg(long, value_delimiter = ',', default_values = ["1", "10", "100"])]
    records: Vec<usize>,
    /// Seconds of load on each side before anything is measured.
    #[arg(long, default_value_t = 60.0)]
    warm_seconds: f64,
    /// Short windows, two pairs, little warming: to see that it works.
    #[arg(long)]
    quick: bool,
    #[command(flatten)]
    installed: Installed,
}

type Figures = BTreeMap<What, f64>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Records,
    GatewayCpu,
    AllCpu,
    P50,
    P99,
    AtRateGatewayCpu,
    AtRateAllCpu,
    AtRateP50,
    AtRateP99,
    Resident,
}

/// Of what the slower one did flat out.
const RATE_PART: f64 = 0.4;
const SETTLE: Duration = Duration::from_secs(4);

/// # Errors
/// Something does not start, or a request is not answered as it must be.
pub async fn run(options: &Options) -> anyhow::Result<()> {
    let mut options = options.clone();
    if options.quick {
        (options.seconds, options.pairs, options.warm_seconds) = (3.0, 2, 20.0);
    }
    let kinds = options.installed.kinds();
    ensure!(!kinds.is_empty(), "neither --strimzi nor --karapace is given");
    let touched = tokio::task::spawn_blocking(|| crate::touch_memory(8.0)).await?;
    eprintln!("touched {touched} GiB of memory first");
    let ours = System::ours().await;
    eprintln!("Kafka starts");
    let kafka = options.installed.start_kafka().await?;
    println!(
        "Values of 100 bytes, no keys, {PARTITIONS} partitions of one replica, acks=all, no compression, {} connections. \
         Flat out each sends as soon as it has its answer; at the fixed rate times count from when a request was to be \
         sent. CPU in seconds for a million records. Whoever is not measured is idle. Their producers' linger.ms: {}.",
        options.connections, options.installed.their_linger_ms
    );
    for kind in kinds {
        eprintln!("{} starts", kind.name());
        let theirs = System::theirs(&kafka, options.installed.start_bridge(kind, &kafka).await?);
        against(&options, kind, &ours, &theirs).await?;
    }
    Ok(())
}

async fn against(options: &Options, kind: Kind, ours: &System, theirs: &System) -> anyhow::Result<()> {
    let mut rates = BTreeMap::new();
    for (name, system) in [("Anabranch", ours), (kind.name(), theirs)] {
        for records in &options.records {
            eprintln!("{name} is warmed with {records} a request");
            warm(options, system, *records).await?;
        }
        for records in &options.records {
            let within = Duration::from_secs_f64(options.seconds / 2.0);
            let window = measure(system, &load(options, system, *records), SETTLE, within).await?;
            let reached = window.records_a_second;
            eprintln!("{name} with {records} a request, warm: {reached:.0} records/s");
            let rate = rates.entry(*records).or_insert(f64::INFINITY);
            *rate = reached.min(*rate);
        }
    }
    let mut runs: BTreeMap<usize, (Vec<Figures>, Vec<Figures>)> = BTreeMap::new();
    let mut foreign = Vec::new();
    for pair in 0..options.pairs {
        let mut order = [("Anabranch", ours, true), (kind.name(), theirs, false)];
        if pair % 2 == 1 {
            order.reverse();
        }
        for (name, system, is_ours) in order {
            for (records, reached) in &rates {
                eprintln!("pair {} of {}: {name}, {records} a request", pair + 1, options.pairs);
                let (figures, others) = turn(options, system, *records, reached * RATE_PART).await?;
                foreign.push(others);
                let (our, their) = runs.entry(*records).or_default();
                if is_ours { our } else { their }.push(figures);
            }
        }
    }
    for records in rates.keys() {
        for system in [ours, theirs] {
            system.delete(&load(options, system, *records).topic).await?;
        }
    }
    println!("\n### Beside {}\n", kind.name());
    head(&["records a request", "what", "Anabranch", kind.name(), "times better", "all pairs"]);
    for (records, (our, their)) in &runs {
        report(*records, rates[records] * RATE_PART, our, their);
    }
    println!("\nCores that others had meanwhile: {:.2} (median).", median(&foreign));
    Ok(())
}

fn load(options: &Options, system: &System, records: usize) -> Load {
    Load {
        address: system.address.clone(),
        topic: format!("by-{records}"),
        records,
        connections: options.connections,
        rate: None,
    }
}

/// Flat out for a part of the time that the system is to be warmed for.
async fn warm(options: &Options, system: &System, records: usize) -> anyhow::Result<()> {
    let load = load(options, system, records);
    system.create(&load, PARTITIONS).await?;
    let seconds = options.warm_seconds / options.records.len() as f64;
    measure(system, &load, Duration::ZERO, Duration::from_secs_f64(seconds)).await?;
    Ok(())
}

/// Flat out, then at so many records a second. Also the cores that others had.
async fn turn(
    options: &Options,
    system: &System,
    records: usize,
    records_a_second: f64,
) -> anyhow::Result<(Figures, f64)> {
    let within = Duration::from_secs_f64(options.seconds);
    let flat_out = load(options, system, records);
    let window = measure(system, &flat_out, SETTLE, within).await?;
    let resident = system.resident_bytes();
    let at_rate = Load { rate: Some(records_a_second / records as f64), ..flat_out.clone() };
    let paced = measure(system, &at_rate, SETTLE, within).await?;
    if paced.records_a_second < records_a_second * 0.95 {
        eprintln!("only {:.0} records/s at {records_a_second:.0}", paced.records_a_second);
    }
    let figures = [
        (What::Records, window.records_a_second),
        (What::GatewayCpu, window.gateway_cpu),
        (What::AllCpu, window.all_cpu),
        (What::P50, window.p50_ms),
        (What::P99, window.p99_ms),
        (What::AtRateGatewayCpu, paced.gateway_cpu),
        (What::AtRateAllCpu, paced.all_cpu),
        (What::AtRateP50, paced.p50_ms),
        (What::AtRateP99, paced.p99_ms),
        (What::Resident, mib(resident)),
    ];
    Ok((figures.into(), (window.foreign_cores + paced.foreign_cores) / 2.0))
}

fn report(records: usize, rate: f64, ours: &[Figures], theirs: &[Figures]) {
    for what in ours.first().into_iter().flat_map(|figures| figures.keys()) {
        let of = |runs: &[Figures]| -> Vec<f64> { runs.iter().map(|run| run[what]).collect() };
        let (ours, theirs) = (of(ours), of(theirs));
        let better = |(ours, theirs): (&f64, &f64)| match what {
            What::Records => ours / theirs,
            _ => theirs / ours,
        };
        let times: Vec<f64> = ours.iter().zip(&theirs).map(better).collect();
        let digits = if matches!(what, What::Records | What::Resident) { 0 } else { 2 };
        let all: Vec<String> = times.iter().map(|times| format!("{times:.1}")).collect();
        row(&[
            records.to_string(),
            what.name(rate),
            format!("{:.digits$}", median(&ours)),
            format!("{:.digits$}", median(&theirs)),
            format!("{:.1}", median(&times)),
            all.join(" "),
        ]);
    }
}

impl What {
    fn name(self, rate: f64) -> String {
        let at_rate = |what: &str| format!("at {rate:.0} records/s: {what}");
        match self {
            Self::Records => "flat out: records/s".to_owned(),
            Self::GatewayCpu => "flat out: CPU, gateway".to_owned(),
            Self::AllCpu => "flat out: CPU, gateway and broker".to_owned(),
            Self::P50 => "flat out: p50, ms".to_owned(),
            Self::P99 => "flat out: p99, ms".to_owned(),
            Self::AtRateGatewayCpu => at_rate("CPU, gateway"),
            Self::AtRateAllCpu => at_rate("CPU, gateway and broker"),
            Self::AtRateP50 => at_rate("p50, ms"),
            Self::AtRateP99 => at_rate("p99, ms"),
            Self::Resident => "resident memory of the gateway, MiB".to_owned(),
        }
    }
}

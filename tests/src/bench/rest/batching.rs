//! How many records of different requests go to a partition in one batch, though nothing waits for company.

use std::time::Duration;

use clap::Args;

use super::{load::Load, measure, system::System};
use crate::bench::figures::{head, row};

#[derive(Clone, Debug, Args)]
pub struct Options {
    #[arg(long, default_value_t = 8.0)]
    seconds: f64,
    /// One number after the other.
    #[arg(long, value_delimiter = ',', default_values = ["1", "32", "256"])]
    connections: Vec<usize>,
    #[arg(long, default_value_t = 1)]
    partitions: i32,
    /// In a request.
    #[arg(long, default_value_t = 1)]
    records: usize,
    /// Runs of each.
    #[arg(long, default_value_t = 3)]
    runs: usize,
}

const BATCHES: &str = "anabranch_gateway_batches_total";
const SETTLE: Duration = Duration::from_secs(2);

/// # Errors
/// The cluster does not start, or a request is not answered as it must be.
pub async fn run(options: &Options) -> anyhow::Result<()> {
    let system = System::ours().await;
    println!(
        "{} records a request, {} partitions; CPU in seconds for a million records.\n",
        options.records, options.partitions
    );
    head(&[
        "connections",
        "records/s",
        "records a batch",
        "p50, ms",
        "p99, ms",
        "CPU, gateway",
        "CPU, gateway and broker",
    ]);
    for run in 0..options.runs {
        for connections in &options.connections {
            let load = Load {
                address: system.address.clone(),
                topic: format!("batching-{connections}-{run}"),
                records: options.records,
                connections: *connections,
                rate: None,
            };
            system.create(&load, options.partitions).await?;
            // Both count from the same moment on, a few requests apart.
            let watch = async {
                tokio::time::sleep(SETTLE).await;
                let before = system.counter(BATCHES).await?;
                tokio::time::sleep(Duration::from_secs_f64(options.seconds)).await;
                anyhow::Ok(system.counter(BATCHES).await? - before)
            };
            let within = Duration::from_secs_f64(options.seconds);
            let (window, batches) = tokio::try_join!(measure(&system, &load, SETTLE, within), watch)?;
            system.delete(&load.topic).await?;
            row(&[
                connections.to_string(),
                format!("{:.0}", window.records_a_second),
                format!("{:.1}", window.records_a_second * options.seconds / batches),
                format!("{:.2}", window.p50_ms),
                format!("{:.2}", window.p99_ms),
                format!("{:.1}", window.gateway_cpu),
                format!("{:.1}", window.all_cpu),
            ]);
        }
    }
    Ok(())
}

//! Produce over REST, ours beside other bridges over Apache Kafka. `scripts/rest-bench.sh` runs it.
//!
//! ```text
//!  compare ─┬─ system: ours or theirs ── peers: Kafka, Strimzi's bridge, Karapace as processes
//!  batching ┘                         └─ load: HTTP/1.1 kept alive, every answer looked at
//! ```

pub mod batching;
pub mod compare;
mod load;
mod peers;
mod system;

use std::time::Duration;

use self::{
    load::{Answered, Load},
    system::System,
};
use super::{figures::percentile, meter::Meter};

/// What a window came to.
#[derive(Clone, Copy, Debug)]
struct Window {
    records_a_second: f64,
    /// CPU-seconds for a million records.
    gateway_cpu: f64,
    all_cpu: f64,
    p50_ms: f64,
    p99_ms: f64,
    foreign_cores: f64,
}

/// Lets the load run for a while, and then measures it for as long as is said.
async fn measure(system: &System, load: &Load, settle: Duration, within: Duration) -> anyhow::Result<Window> {
    let mut running = load.start();
    running.window(settle).await?;
    let meter = Meter::begin(system.pids.clone());
    let Answered { records, times_ms } = running.window(within).await?;
    let used = meter.end();
    running.stop().await?;
    let millions = records as f64 / 1e6;
    Ok(Window {
        records_a_second: records as f64 / used.seconds,
        gateway_cpu: used.cpu("gateway") / millions,
        all_cpu: used.cpu("") / millions,
        p50_ms: percentile(&times_ms, 0.5),
        p99_ms: percentile(&times_ms, 0.99),
        foreign_cores: used.foreign_cores,
    })
}

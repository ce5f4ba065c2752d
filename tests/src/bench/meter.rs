use std::{collections::BTreeMap, time::Instant};

use crate::cpu_seconds;

/// The CPU time of a cluster's processes from a moment on.
pub struct Meter {
    pids: BTreeMap<String, u32>,
    cpu: BTreeMap<String, f64>,
    own: f64,
    machine: f64,
    begun: Instant,
}

/// What was used since.
pub struct Used {
    pub seconds: f64,
    /// CPU-seconds, user and system, by the name of the process.
    cpu: BTreeMap<String, f64>,
    /// Cores that neither the cluster nor this process had.
    pub foreign_cores: f64,
}

impl Meter {
    pub fn begin(pids: BTreeMap<String, u32>) -> Self {
        let cpu = of_all(&pids);
        Self { pids, cpu, own: cpu_seconds(std::process::id()), machine: machine(), begun: Instant::now() }
    }

    pub fn end(&self) -> Used {
        let seconds = self.begun.elapsed().as_secs_f64();
        let mut cpu = of_all(&self.pids);
        cpu.iter_mut().for_each(|(name, used)| *used -= self.cpu[name]);
        let ours = cpu.values().sum::<f64>() + cpu_seconds(std::process::id()) - self.own;
        let foreign_cores = ((machine() - self.machine - ours) / seconds).max(0.0);
        Used { seconds, cpu, foreign_cores }
    }
}

impl Used {
    /// Of all processes whose names begin so.
    pub fn cpu(&self, prefix: &str) -> f64 {
        self.cpu.iter().filter(|(name, _)| name.starts_with(prefix)).map(|(_, used)| used).sum()
    }

    /// Cores that were busy with them.
    pub fn cores(&self, prefix: &str) -> f64 {
        self.cpu(prefix) / self.seconds
    }
}

fn of_all(pids: &BTreeMap<String, u32>) -> BTreeMap<String, f64> {
    pids.iter().map(|(name, pid)| (name.clone(), cpu_seconds(*pid))).collect()
}

/// What all of this machine's cores have spent on anything, and what was stolen from them, in seconds.
fn machine() -> f64 {
    const TICKS_A_SECOND: f64 = 100.0;
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = text.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let fields: Vec<f64> = fields.filter_map(|f| f.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; guests are in user already.
    [0, 1, 2, 5, 6, 7].iter().filter_map(|n| fields.get(*n)).sum::<f64>() / TICKS_A_SECOND
}

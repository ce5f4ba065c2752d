//! Faults on real processes, and what clients saw of them. `scripts/faults.sh --help` says how to run them.
//!
//! ```text
//!  run.rs ─┬─ site ── network, disk: processes, each in a namespace of its own        (sandbox: where all of it lies)
//!          ├─ strike ── arena, damage: what is done, to whom, and its mending          (fault: the names)
//!          ├─ workload ── librdkafka, rest: producers and readers ─▶ history, value
//!          ├─ groups ─▶ positions: members that come and go through both paths, and what they committed
//!          ├─ watcher ── admin: high watermarks, the final read ─▶ high_watermarks
//!          └─ checker, replicas: pure; what is wrong ─▶ report
//!  failover, many_partitions ── load; replication_cost: measurements on the same site
//! ```

pub(crate) mod admin;
mod arena;
mod checker;
mod damage;
mod disk;
mod failover;
mod fault;
mod groups;
mod high_watermarks;
mod history;
mod librdkafka;
pub(crate) mod load;
mod many_partitions;
mod network;
mod options;
mod positions;
mod replicas;
mod replication_cost;
mod report;
mod rest;
mod run;
mod sandbox;
mod site;
mod strike;
mod value;
mod watcher;
mod workload;

use std::path::{Path, PathBuf};

use anyhow::Context;

pub use options::Options;
pub use sandbox::enter as enter_sandbox;

use fault::{Fault, names};
use report::{Results, RunResult, build, commit, table};

/// Does what the options want; whether all of it went well.
///
/// # Errors
/// It could not be done.
pub async fn carry_out(options: &Options) -> anyhow::Result<bool> {
    if let Some(kills) = options.failover {
        return failover::measure(options, kills).await.map(|()| true);
    }
    if let Some(partitions) = options.many_partitions {
        return many_partitions::measure(options, partitions).await.map(|()| true);
    }
    if options.replication_cost {
        return replication_cost::measure(options).await.map(|()| true);
    }
    all_runs(options).await
}

/// Names the faults and the pairs.
pub fn list() -> String {
    let faults = Fault::ALL.map(|f| format!("{:28} {}\n", f.name(), f.describe())).concat();
    let pairs = Fault::PAIRS.map(|pair| format!("{}\n", names(&pair))).concat();
    format!("{faults}\npairs:\n{pairs}")
}

async fn all_runs(options: &Options) -> anyhow::Result<bool> {
    let runs = if options.needs_sandbox() { options.runs()? } else { vec![Vec::new()] };
    let out = options.resume.as_deref().unwrap_or(&options.out);
    let mut results = Results::open(out)?;
    let (commit, dirty) = commit();
    let code = (commit, dirty, if options.needs_sandbox() { build() } else { String::new() });
    let mut done: Vec<RunResult> = Vec::new();
    for (number, faults) in runs.iter().enumerate() {
        let seed = options.seed.unwrap_or_else(|| fastrand::u64(..));
        let planned = run::planned(options, faults, seed, &code);
        if options.resume.is_some() && results.has(&planned) {
            println!("{}: done already", planned.faults);
            continue;
        }
        println!(
            "{} of {}: {} for {} s, seed {seed}",
            number + 1,
            runs.len(),
            planned.faults,
            options.seconds
        );
        let result = one_run(options, faults, planned, out).await?;
        println!("  {}", result.verdict);
        results.append(result.clone())?;
        done.push(result);
    }
    println!("\n{}", table(&done));
    Ok(done.iter().all(RunResult::passed))
}

async fn one_run(
    options: &Options,
    faults: &[Fault],
    planned: RunResult,
    out: &Path,
) -> anyhow::Result<RunResult> {
    let folder = tempfile::Builder::new().prefix("anabranch-faults-").tempdir()?;
    let name = format!("{}-{:016x}", planned.faults.replace(',', "+"), planned.seed);
    let ran = match options.needs_sandbox() {
        true => run::run(options, faults, folder.path(), planned).await,
        false => run::run_against(options, folder.path(), planned).await,
    };
    let failed = !ran.as_ref().is_ok_and(RunResult::passed);
    let mut kept = None;
    if failed || options.keep {
        kept = Some(keep_in(out, folder.path(), name.trim_start_matches('-'))?);
    }
    Ok(RunResult { kept, ..ran? })
}

/// Keeps what a run left under this name.
fn keep_in(out: &Path, folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let to = std::path::absolute(out)?.join(name);
    keep(folder, &to).with_context(|| format!("keeping {}", to.display()))?;
    println!("  kept in {}", to.display());
    Ok(to)
}

/// Copies what a run left. A small disk is no longer mounted by then, so only the other replicas of it are there.
fn keep(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)?.flatten() {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            keep(&path, &target)?;
        } else {
            std::fs::copy(&path, &target)?;
        }
    }
    Ok(())
}

//! The storage node as a process of its own.

use std::{process::ExitCode, time::Duration};

use anyhow::Context;
use clap::Command;
use settings::{LogFormat, Sources};
use storage_node::{StorageNodeConfig, StorageNodeError};
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let command =
        Command::new("storage-node").version(env!("CARGO_PKG_VERSION")).about("Anabranch's storage node");
    let keys = ["log.", "storage.", "controller.seeds"];
    let pre_stop = Command::new(PRE_STOP).about(
        "Ask the storage node on this host to stop, and wait until it may: for a preStop hook, before SIGTERM",
    );
    let command = settings::flags(command, &keys).subcommand(settings::flags(pre_stop, &keys));
    let matches = command.get_matches();
    let done = match matches.subcommand() {
        Some((_, matches)) => pre_stop_now(matches),
        None => run(&matches),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("storage-node: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// After it was let go, how long SIGTERM is waited for.
const SIGNAL_MAX: Duration = Duration::from_secs(30);
/// A process that has not ended so long after it was told to ends itself.
const SHUTDOWN_MAX: Duration = Duration::from_secs(60);
const PRE_STOP: &str = "pre-stop";
/// The node says something every few seconds.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Has the node ask whether it may stop, and prints what it waits for.
fn pre_stop_now(matches: &clap::ArgMatches) -> anyhow::Result<()> {
    let settings = settings::load(&Sources::new(matches, std::env::vars()))?;
    let listen = &settings.storage.http.listen;
    let last = telemetry::ask(listen, "POST", "/stop", SILENCE_MAX, |line| println!("{line}"))?;
    anyhow::ensure!(last == storage_node::MAY_STOP, "the node ended without a word");
    Ok(())
}

fn run(matches: &clap::ArgMatches) -> anyhow::Result<()> {
    let settings = settings::load(&Sources::new(matches, std::env::vars()))?;
    settings.storage.check(&settings.controller.seeds)?;
    if matches.get_flag("check-config") {
        println!("the configuration is valid");
        return Ok(());
    }
    telemetry::init_logs(&settings.log.level, settings.log.format == LogFormat::Json)?;
    // Appends write to the page cache on the workers; two more keep the rest going while a full cache makes some wait.
    let workers = std::thread::available_parallelism().map_or(2, usize::from) + 2;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()
        .context("no runtime")?;
    runtime.block_on(async {
        let interrupted = CancellationToken::new();
        let signal = tokio::spawn({
            let interrupted = interrupted.clone();
            async move {
                let waited = telemetry::terminated().await;
                interrupted.cancel();
                waited
            }
        });
        let handle = loop {
            let (kafka, _) = telemetry::bind(&settings.storage.kafka.listen, "--storage.kafka.listen").await?;
            let (http, _) = telemetry::bind(&settings.storage.http.listen, "--storage.http.listen").await?;
            let config = StorageNodeConfig::from(&settings);
            match storage_node::start(config, kafka, http, interrupted.clone()).await {
                Err(StorageNodeError::Stopped) => return Ok(()),
                // Its folder is empty now: it begins as a new node.
                Err(error @ StorageNodeError::Retired) => tracing::warn!(%error, "beginning anew"),
                started => break started?,
            }
        };
        tracing::info!(node = settings.storage.node_id, kafka = %handle.kafka_address(), "storage node started");
        // Whoever asks whether it may stop stops it next; if nobody does, it ends by itself.
        let let_go = async {
            handle.may_stop().await;
            tokio::time::sleep(SIGNAL_MAX).await;
        };
        let refused = tokio::select! {
            () = interrupted.cancelled() => None,
            () = let_go => None,
            refused = handle.refused() => Some(refused),
        };
        tracing::info!("shutting down");
        if tokio::time::timeout(SHUTDOWN_MAX, handle.shutdown()).await.is_err() {
            tracing::error!("the shutdown takes too long, ending without it");
            std::process::exit(1);
        }
        if !interrupted.is_cancelled() && refused.is_none() {
            return Ok(());
        }
        match refused {
            Some(refused) => Err(refused.into()),
            None => Ok(signal.await??),
        }
    })
}

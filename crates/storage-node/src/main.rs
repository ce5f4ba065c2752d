//! The storage node as a process of its own.

use std::process::ExitCode;

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
    let matches = settings::flags(command, &["log.", "storage.", "controller.seeds"]).get_matches();
    match run(&matches) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("storage-node: {error:#}");
            ExitCode::FAILURE
        }
    }
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
        let (kafka, _) = telemetry::bind(&settings.storage.kafka.listen, "--storage.kafka.listen").await?;
        let (http, _) = telemetry::bind(&settings.storage.http.listen, "--storage.http.listen").await?;
        let interrupted = CancellationToken::new();
        let signal = tokio::spawn({
            let interrupted = interrupted.clone();
            async move {
                let waited = telemetry::terminated().await;
                interrupted.cancel();
                waited
            }
        });
        let started = storage_node::start(StorageNodeConfig::from(&settings), kafka, http, interrupted.clone()).await;
        let handle = match started {
            Err(StorageNodeError::Stopped) => return Ok(()),
            started => started?,
        };
        tracing::info!(node = settings.storage.node_id, kafka = %handle.kafka_address(), "storage node started");
        let refused = tokio::select! {
            () = interrupted.cancelled() => None,
            refused = handle.refused() => Some(refused),
        };
        tracing::info!("shutting down");
        handle.shutdown().await;
        match refused {
            Some(refused) => Err(refused.into()),
            None => Ok(signal.await??),
        }
    })
}

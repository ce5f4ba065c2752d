//! The controller as a process of its own.

use std::process::ExitCode;

use anyhow::Context;
use clap::Command;
use controller::ControllerConfig;
use settings::{LogFormat, Sources};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let command = Command::new("controller")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Anabranch's metadata controller");
    let matches = settings::flags(command, &["log.", "controller."]).get_matches();
    match run(&matches) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("controller: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(matches: &clap::ArgMatches) -> anyhow::Result<()> {
    let settings = settings::load(&Sources::new(matches, std::env::vars()))?;
    settings.controller.check()?;
    if matches.get_flag("check-config") {
        println!("the configuration is valid");
        return Ok(());
    }
    telemetry::init_logs(&settings.log.level, settings.log.format == LogFormat::Json)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(async {
        let controller = &settings.controller;
        let (rpc, _) = telemetry::bind(&controller.rpc.listen, "--controller.rpc.listen").await?;
        let (http, _) = telemetry::bind(&controller.http.listen, "--controller.http.listen").await?;
        let handle = controller::start(ControllerConfig::from(controller), rpc, http).await?;
        tracing::info!(rpc = %handle.rpc_address(), "controller started");
        telemetry::terminated().await?;
        tracing::info!("shutting down");
        handle.shutdown().await;
        Ok(())
    })
}

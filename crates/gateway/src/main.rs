//! The gateway's binary.

use std::process::ExitCode;

use clap::Command;
use gateway::GatewayConfig;
use settings::{LogFormat, Settings, Sources};

/// Untouched memory costs nothing with it, which matters to decoders that reserve what a length on the wire claims.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gateway: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let command = Command::new("gateway").about("Anabranch's gateway").version(env!("CARGO_PKG_VERSION"));
    let command = settings::flags(command, &["log.", "controller.seeds", "gateway."]);
    let matches = command.get_matches();
    let settings = settings::load(&Sources::new(&matches, std::env::vars()))?;
    settings.gateway.check(&settings.controller.seeds)?;
    if matches.get_flag("check-config") {
        println!("the configuration is valid");
        return Ok(());
    }
    telemetry::init_logs(&settings.log.level, settings.log.format == LogFormat::Json)?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(serve(settings))
}

async fn serve(settings: Settings) -> anyhow::Result<()> {
    let listen = &settings.gateway;
    let (rest, _) = telemetry::bind(&listen.rest.listen, "--gateway.rest.listen").await?;
    let (kafka, _) = telemetry::bind(&listen.kafka.listen, "--gateway.kafka.listen").await?;
    let gateway = gateway::start(GatewayConfig::from(&settings), rest, kafka).await?;
    telemetry::terminated().await?;
    gateway.shutdown().await;
    Ok(())
}

mod banner;
mod folder;
mod ports;
mod ready;
mod services;
mod watermarks;

use std::{process::ExitCode, time::Instant};

use ports::Ports;
use services::Services;
use settings::{LogFormat, Settings, Sources};
use tokio_util::sync::CancellationToken;

use crate::cli::DevArgs;

/// What a process exits with that was told twice to end.
const IMPATIENT: u8 = 130;
const LOG_LEVEL_VARIABLE: &str = "ANABRANCH_LOG_LEVEL";
/// Stdout is for reading here, so logs say only what needs attention.
const LOG_LEVEL: &str = "warn";

/// Runs everything until a signal ends it.
pub(crate) async fn run(args: &DevArgs) -> anyhow::Result<ExitCode> {
    let began = Instant::now();
    let settings = settings(args, std::env::vars().collect())?;
    telemetry::init_logs(&settings.log.level, settings.log.format == LogFormat::Json)?;
    let nodes = folder::nodes_of(&args.data_dir, args.nodes)?;
    let ports = Ports::plan(nodes, args.port_offset)?;
    let listeners = ports.bind().await?;

    let stop = CancellationToken::new();
    let signals = tokio::spawn(stop_on_signal(stop.clone()));
    let started = Services::start(&settings, &args.data_dir, &ports, listeners, stop.clone()).await?;
    let Some(services) = started else {
        return Ok(ExitCode::SUCCESS);
    };
    let program = std::env::args().next().unwrap_or_else(|| "anabranch".to_owned());
    tokio::select! {
        cluster = ready::wait(&services) => {
            print!("{}", banner::banner(&program, &ports, &args.data_dir, &cluster, began.elapsed()));
            stop.cancelled().await;
        }
        () = stop.cancelled() => {}
    }
    tokio::select! {
        () = services.shutdown() => Ok(ExitCode::SUCCESS),
        // The second signal: data that was acknowledged is safe without a clean end.
        _ = async { signals.await.ok(); telemetry::terminated().await } => Ok(ExitCode::from(IMPATIENT)),
    }
}

async fn stop_on_signal(stop: CancellationToken) {
    if telemetry::terminated().await.is_ok() {
        stop.cancel();
    }
}

/// The settings of all services, from the environment; what differs between them is not set here.
fn settings(args: &DevArgs, environment: Vec<(String, String)>) -> anyhow::Result<Settings> {
    let level = match (&args.log, environment.iter().any(|(name, _)| name == LOG_LEVEL_VARIABLE)) {
        (Some(level), _) => Some(level.as_str()),
        (None, true) => None,
        (None, false) => Some(LOG_LEVEL),
    };
    let flags = level.map(|level| ("log.level".to_owned(), level.to_owned()));
    let sources = Sources { file: None, environment, flags: flags.into_iter().collect() };
    Ok(settings::load(&sources)?)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn level(line: &str, environment: &[(&str, &str)]) -> String {
        let Command::Dev(args) = Cli::parse_from(line.split(' ')).command else {
            panic!("not dev");
        };
        let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        settings(&args, environment).unwrap().log.level
    }

    #[test]
    fn only_warnings_are_logged_unless_somebody_asks() {
        assert_eq!(level("anabranch dev", &[]), "warn");
        assert_eq!(level("anabranch dev", &[(LOG_LEVEL_VARIABLE, "info")]), "info");
        assert_eq!(level("anabranch dev --log debug", &[(LOG_LEVEL_VARIABLE, "info")]), "debug");
    }
}

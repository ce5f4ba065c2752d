//! What the REST interface promises, proved. See `--help`, and scripts/rest-proof.sh.

use clap::Parser;
use tests::rest_proof::{consumers, slow_clients};

/// Proves what the REST interface promises, on real processes of its own, on loopback.
#[derive(Parser)]
#[command(name = "rest-proof")]
enum Command {
    /// A group of REST and Kafka consumers behind two gateways, of which one is killed each second: nothing is lost.
    Consumers(consumers::Options),
    /// Clients that send or read too slowly, many at once: others are served, and memory stays bounded.
    SlowClients(slow_clients::Options),
}

fn main() -> anyhow::Result<std::process::ExitCode> {
    let command = Command::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let proved = runtime.block_on(async {
        let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        // Dropping the work ends the processes and removes what they wrote.
        tokio::select! {
            proved = prove(&command) => proved,
            _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
            _ = terminated.recv() => Err(anyhow::anyhow!("terminated")),
        }
    });
    // Clients may still be waiting for answers.
    runtime.shutdown_background();
    Ok(match proved {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rest-proof: {error:#}");
            std::process::ExitCode::FAILURE
        }
    })
}

async fn prove(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Consumers(options) => consumers::prove(options).await,
        Command::SlowClients(options) => slow_clients::prove(options).await,
    }
}

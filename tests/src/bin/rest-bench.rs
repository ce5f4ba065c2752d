//! Produce over REST, ours beside others. See `--help`, and scripts/rest-bench.sh.

use clap::Parser;
use tests::bench::rest::{batching, compare};

/// Measures produce over REST on real processes of its own, on loopback.
#[derive(Parser)]
#[command(name = "rest-bench")]
enum Command {
    /// Our gateway beside bridges over Apache Kafka.
    Compare(compare::Options),
    /// How many records go in a batch.
    Batching(batching::Options),
}

fn main() -> anyhow::Result<std::process::ExitCode> {
    let command = Command::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let measured = runtime.block_on(async {
        let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        // Dropping the work ends the processes and removes what they wrote.
        tokio::select! {
            measured = measure(&command) => measured,
            _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
            _ = terminated.recv() => Err(anyhow::anyhow!("terminated")),
        }
    });
    // Threads of a load that was broken off may still be waiting for answers.
    runtime.shutdown_background();
    Ok(match measured {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rest-bench: {error:#}");
            std::process::ExitCode::FAILURE
        }
    })
}

async fn measure(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Compare(options) => compare::run(options).await,
        Command::Batching(options) => batching::run(options).await,
    }
}

//! What groups and the gateway cost. See `--help`, and scripts/groups-bench.sh.

use clap::Parser;
use tests::bench::{connections, gateway_overhead, many_groups, member, rebalance};

/// Measures groups and the gateway on real processes of its own, on loopback.
#[derive(Parser)]
#[command(name = "groups-bench")]
enum Command {
    /// How long records stay away when members of a group join, leave and die.
    Rebalance(rebalance::Options),
    /// What many groups cost their coordinators.
    ManyGroups(many_groups::Options),
    /// What idle Kafka connections cost the gateway, and a storage node.
    Connections(connections::Options),
    /// The same load direct and through the gateway.
    GatewayOverhead(gateway_overhead::Options),
    /// A member of a group, which `rebalance` starts.
    #[command(hide = true)]
    Member(member::Options),
}

fn main() -> anyhow::Result<std::process::ExitCode> {
    let command = Command::parse();
    if let Command::Member(options) = &command {
        return member::run(options).map(|()| std::process::ExitCode::SUCCESS);
    }
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
            eprintln!("groups-bench: {error:#}");
            std::process::ExitCode::FAILURE
        }
    })
}

async fn measure(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Rebalance(options) => rebalance::measure(options).await,
        Command::ManyGroups(options) => many_groups::measure(options).await,
        Command::Connections(options) => connections::measure(options).await,
        Command::GatewayOverhead(options) => gateway_overhead::measure(options).await,
        Command::Member(_) => Ok(()),
    }
}

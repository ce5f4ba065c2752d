//! Storage nodes join and leave under load, and nothing is lost. See `--help`, and scripts/scale-proof.sh.

use clap::Parser;
use tests::scale_proof::{Options, prove};

fn main() -> anyhow::Result<std::process::ExitCode> {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let proved = runtime.block_on(async {
        let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        // Dropping the work ends the processes and removes what they wrote.
        tokio::select! {
            proved = prove(&options) => proved,
            _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
            _ = terminated.recv() => Err(anyhow::anyhow!("terminated")),
        }
    });
    runtime.shutdown_background();
    Ok(match proved {
        Ok(()) => {
            println!("PASS");
            std::process::ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("scale-proof: FAIL: {error:#}");
            std::process::ExitCode::FAILURE
        }
    })
}

//! Breaks real processes while clients write and read, and checks what is left. See `--help`.

use clap::Parser;
use tests::faults::{Options, carry_out, enter_sandbox, list};

fn main() -> anyhow::Result<std::process::ExitCode> {
    let options = Options::parse();
    if options.list {
        print!("{}", list());
        return Ok(std::process::ExitCode::SUCCESS);
    }
    if options.needs_sandbox() {
        // Before any thread is there: what it enters is for the whole process.
        enter_sandbox()?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let well = runtime.block_on(async {
        let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        // Dropping the work ends the processes and removes what they wrote.
        tokio::select! {
            well = carry_out(&options) => well,
            _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
            _ = terminated.recv() => Err(anyhow::anyhow!("terminated")),
        }
    });
    // Clients' threads may still be waiting for nodes that are gone.
    runtime.shutdown_background();
    Ok(match well {
        Ok(true) => std::process::ExitCode::SUCCESS,
        Ok(false) => std::process::ExitCode::FAILURE,
        Err(error) => {
            eprintln!("faults: {error:#}");
            std::process::ExitCode::FAILURE
        }
    })
}

#![doc = include_str!("../README.md")]

mod layers;

use std::process::{Command, ExitCode};

use anyhow::Context;

fn main() -> anyhow::Result<ExitCode> {
    match std::env::args().nth(1).as_deref() {
        Some("layers") => {
            let output = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()))
                .args(["metadata", "--format-version", "1", "--no-deps", "--locked"])
                .output()
                .context("cargo metadata")?;
            let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
            let faults = layers::faults(&layers::dependencies(&metadata));
            faults.iter().for_each(|fault| eprintln!("layers: {fault}"));
            Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        other => anyhow::bail!("usage: xtask layers (not {})", other.unwrap_or("nothing")),
    }
}

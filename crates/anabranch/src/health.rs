use std::{process::ExitCode, time::Duration};

use anyhow::Context;

const SILENCE_MAX: Duration = Duration::from_secs(3);

/// For checks in images that have neither a shell nor curl.
pub(crate) fn run(url: &str) -> anyhow::Result<ExitCode> {
    let rest = url.strip_prefix("http://").context("not an http:// URL")?;
    let (address, path) = rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash));
    match telemetry::ask(address, "GET", path, SILENCE_MAX, |line| println!("{line}")) {
        Ok(_) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            eprintln!("anabranch: {error}");
            Ok(ExitCode::FAILURE)
        }
    }
}

use std::io;

use tracing_subscriber::EnvFilter;

/// The log settings make no sense.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    #[error("log.level '{filter}': {reason}")]
    Filter { filter: String, reason: String },
    #[error("logs were set up already")]
    Twice,
}

/// Sends this process's logs to stderr, as text or as one JSON object a line.
pub fn init_logs(filter: &str, json: bool) -> Result<(), LogsError> {
    let parsed = EnvFilter::try_new(filter)
        .map_err(|e| LogsError::Filter { filter: filter.to_owned(), reason: e.to_string() })?;
    let builder = tracing_subscriber::fmt().with_env_filter(parsed).with_writer(io::stderr);
    let installed = match json {
        true => builder.json().try_init(),
        false => builder.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).try_init(),
    };
    installed.map_err(|_| LogsError::Twice)
}

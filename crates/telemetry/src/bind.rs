use std::{io, net::SocketAddr};

use tokio::net::TcpListener;

/// A listener could not be opened. The text says what moves it.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("port in use: {address} ({flag} moves it)")]
    InUse { address: String, flag: String },
    #[error("cannot listen on {address} ({flag}): {source}")]
    Other { address: String, flag: String, source: io::Error },
}

/// Listens on `host:port`; `flag` names the setting that the address came from.
pub async fn bind(address: &str, flag: &str) -> Result<(TcpListener, SocketAddr), BindError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { address: address.to_owned(), flag: flag.to_owned() },
        _ => BindError::Other { address: address.to_owned(), flag: flag.to_owned(), source },
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

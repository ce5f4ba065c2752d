//! Asking a service on this host over its own HTTP port, without a client library: for probes and hooks in images that have
//! neither a shell nor curl.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs},
    time::Duration,
};

/// A service on this host could not be asked, or did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error("{address} cannot be asked: {source}")]
    Unreachable { address: String, source: io::Error },
    #[error("{method} {path} at {address} answered {status}")]
    Refused { method: String, path: String, address: String, status: String },
}

const CONNECT_MAX: Duration = Duration::from_secs(2);

/// Sends one request (HTTP/1.0, RFC 1945: the answer ends with the connection) and hands each line of the answer's body over as it
/// comes; the last line. `listen` is the `host:port` that the service listens on, a wildcard included. `silence_max`: how
/// long nothing may come.
///
/// # Errors
/// Nobody answers, or the status is not 200.
pub fn ask(
    listen: &str,
    method: &str,
    path: &str,
    silence_max: Duration,
    mut each: impl FnMut(&str),
) -> Result<String, AskError> {
    let unreachable = |source| AskError::Unreachable { address: listen.to_owned(), source };
    let address = reachable(listen).map_err(unreachable)?;
    let mut stream = TcpStream::connect_timeout(&address, CONNECT_MAX).map_err(unreachable)?;
    stream.set_read_timeout(Some(silence_max)).map_err(unreachable)?;
    let request = format!("{method} {path} HTTP/1.0\r\nHost: {listen}\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(unreachable)?;
    let mut lines = BufReader::new(stream).lines();
    let begun = lines.next().transpose().map_err(unreachable)?.unwrap_or_default();
    let status = begun.split_once(' ').map_or("nothing", |(_, status)| status).to_owned();
    let mut last = String::new();
    for line in lines.by_ref() {
        // An empty line ends the header.
        if line.map_err(unreachable)?.is_empty() {
            break;
        }
    }
    for line in lines {
        last = line.map_err(unreachable)?;
        each(&last);
    }
    match status.starts_with("200 ") {
        true => Ok(last),
        false => {
            let (method, path, address) = (method.to_owned(), path.to_owned(), listen.to_owned());
            Err(AskError::Refused { method, path, address, status })
        }
    }
}

/// Where a service that listens there is reached from its own host.
fn reachable(listen: &str) -> io::Result<SocketAddr> {
    let mut address = listen
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address"))?;
    if address.ip().is_unspecified() {
        match address {
            SocketAddr::V4(_) => address.set_ip(Ipv4Addr::LOCALHOST.into()),
            SocketAddr::V6(_) => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        }
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use axum::{Router, http::StatusCode, routing::post};
    use tokio::net::TcpListener;

    use super::*;

    async fn served() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let routes = Router::new()
            .route("/stop", post(async || "one\ntwo\n"))
            .route("/no", post(async || (StatusCode::FORBIDDEN, "never\n")));
        tokio::spawn(crate::serve_http(listener, routes, std::future::pending()));
        format!("0.0.0.0:{port}")
    }

    async fn asked(listen: String, path: &'static str) -> (Result<String, AskError>, Vec<String>) {
        let asking = move || {
            let mut lines = Vec::new();
            let answer =
                ask(&listen, "POST", path, Duration::from_secs(5), |line| lines.push(line.to_owned()));
            (answer, lines)
        };
        tokio::task::spawn_blocking(asking).await.unwrap()
    }

    #[tokio::test]
    async fn an_answer_comes_line_by_line() {
        let (answer, lines) = asked(served().await, "/stop").await;
        assert_eq!((answer.unwrap().as_str(), lines), ("two", vec!["one".to_owned(), "two".to_owned()]));
    }

    #[tokio::test]
    async fn what_was_refused_is_an_error_that_names_it() {
        let listen = served().await;
        let (answer, lines) = asked(listen.clone(), "/no").await;
        assert_eq!(answer.unwrap_err().to_string(), format!("POST /no at {listen} answered 403 Forbidden"));
        assert_eq!(lines, ["never"]);
    }

    #[tokio::test]
    async fn nobody_there_is_an_error() {
        let (answer, _) = asked("127.0.0.1:1".to_owned(), "/stop").await;
        assert!(matches!(answer, Err(AskError::Unreachable { .. })));
    }
}

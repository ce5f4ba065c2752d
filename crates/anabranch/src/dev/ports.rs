use std::net::{Ipv4Addr, SocketAddr};

use telemetry::BindError;
use tokio::net::TcpListener;

const CONTROLLER_RPC: u16 = 7300;
const CONTROLLER_HTTP: u16 = 7400;
const NODE_KAFKA: u16 = 9092;
const NODE_HTTP: u16 = 9600;
const GATEWAY_REST: u16 = 8082;
const GATEWAY_KAFKA: u16 = 9192;
const FLAG: &str = "--port-offset";

/// Where everything listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ports {
    pub(super) controller_rpc: SocketAddr,
    pub(super) controller_http: SocketAddr,
    pub(super) rest: SocketAddr,
    /// The gateway as a broker.
    pub(super) kafka: SocketAddr,
    /// Kafka and HTTP of each storage node.
    pub(super) nodes: Vec<(SocketAddr, SocketAddr)>,
}

/// All listeners, each open.
pub(super) struct Listeners {
    pub(super) controller_rpc: TcpListener,
    pub(super) controller_http: TcpListener,
    pub(super) rest: TcpListener,
    pub(super) kafka: TcpListener,
    pub(super) nodes: Vec<(TcpListener, TcpListener)>,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{FLAG} {offset} moves port {port} past 65535")]
pub(super) struct PortError {
    port: u16,
    offset: u16,
}

impl Ports {
    /// The default ports, all moved by an offset.
    pub(super) fn plan(nodes: u16, offset: u16) -> Result<Self, PortError> {
        let at = |port: u16| match port.checked_add(offset) {
            Some(moved) => Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, moved))),
            None => Err(PortError { port, offset }),
        };
        let node = |i: u16| Ok((at(NODE_KAFKA + i)?, at(NODE_HTTP + i)?));
        Ok(Self {
            controller_rpc: at(CONTROLLER_RPC)?,
            controller_http: at(CONTROLLER_HTTP)?,
            rest: at(GATEWAY_REST)?,
            kafka: at(GATEWAY_KAFKA)?,
            nodes: (0..nodes).map(node).collect::<Result<_, _>>()?,
        })
    }

    /// Opens all of them: when one is taken, nothing has started.
    pub(super) async fn bind(&self) -> Result<Listeners, BindError> {
        let mut nodes = Vec::with_capacity(self.nodes.len());
        for (kafka, http) in &self.nodes {
            nodes.push((open(kafka).await?, open(http).await?));
        }
        Ok(Listeners {
            controller_rpc: open(&self.controller_rpc).await?,
            controller_http: open(&self.controller_http).await?,
            rest: open(&self.rest).await?,
            kafka: open(&self.kafka).await?,
            nodes,
        })
    }
}

async fn open(address: &SocketAddr) -> Result<TcpListener, BindError> {
    let (listener, _) = telemetry::bind(&address.to_string(), FLAG).await?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_count_up_and_the_offset_moves_everything() {
        let ports = Ports::plan(3, 100).unwrap();
        assert_eq!(ports.controller_rpc.to_string(), "127.0.0.1:7400");
        assert_eq!(ports.controller_http.to_string(), "127.0.0.1:7500");
        assert_eq!(ports.rest.to_string(), "127.0.0.1:8182");
        assert_eq!(ports.kafka.to_string(), "127.0.0.1:9292");
        let second = (ports.nodes[2].0.port(), ports.nodes[2].1.port());
        assert_eq!((ports.nodes.len(), second), (3, (9194, 9702)));
    }

    #[test]
    fn an_offset_too_large_is_refused() {
        assert_eq!(
            Ports::plan(1, 60_000).unwrap_err().to_string(),
            "--port-offset 60000 moves port 7300 past 65535"
        );
        assert!(Ports::plan(1, 55_935).is_ok());
        assert!(Ports::plan(2, 55_935).unwrap_err().port == 9601);
    }

    #[tokio::test]
    async fn a_port_in_use_names_what_moves_it() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        assert_eq!(
            open(&address).await.unwrap_err().to_string(),
            format!("port in use: {address} (--port-offset moves it)")
        );
    }
}

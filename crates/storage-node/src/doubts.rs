use std::{
    collections::{HashMap, HashSet},
    io,
    time::Duration,
};

use domain::{NodeEpoch, NodeId};
use futures_util::future::join_all;
use metadata::Image;
use parking_lot::Mutex;
use tokio::{net::TcpStream, time::Instant};

/// Nodes that the metadata call alive and that do not listen any more: their process died, and the controller has not said
/// so yet. A client whose connection just broke asks who leads, and takes whatever it is told for the truth: librdkafka,
/// named the dead node once more, looks again only after a second. So it is told that there is no leader yet.
#[derive(Default)]
pub(crate) struct Doubts {
    known: Mutex<HashMap<Incarnation, Known>>,
}

/// A node's process, by its registration.
type Incarnation = (NodeId, NodeEpoch);

#[derive(Clone, Copy)]
struct Known {
    asked: Instant,
    /// Since when the node has refused connections.
    refused: Option<Instant>,
}

/// An answer about a node serves everybody who asks within this time.
const ASKED_AGAIN: Duration = Duration::from_millis(100);
/// What was not asked about for so long is forgotten.
const KEPT: Duration = Duration::from_secs(10);
/// A node that does not even refuse by then may be alive: silence is the controller's to judge.
const PROBE_MAX: Duration = Duration::from_millis(20);
/// Of so many nodes at most in one request: more are not worth the connections.
const PROBES_MAX: usize = 8;

impl Doubts {
    /// Those of the nodes that refuse connections, and since when.
    pub(crate) async fn of(
        &self,
        image: &Image,
        nodes: impl IntoIterator<Item = NodeId>,
    ) -> HashMap<NodeId, Instant> {
        let nodes: HashSet<NodeId> = nodes.into_iter().collect();
        let probes = nodes.into_iter().take(PROBES_MAX).filter_map(|id| {
            let node = image.nodes.get(&id)?;
            let (incarnation, address) = ((id, node.epoch), node.kafka.to_string());
            Some(async move { (id, self.refused(incarnation, &address).await) })
        });
        let found = join_all(probes).await;
        found.into_iter().filter_map(|(node, since)| Some((node, since?))).collect()
    }

    async fn refused(&self, node: Incarnation, address: &str) -> Option<Instant> {
        let known = self.known.lock().get(&node).copied();
        if let Some(known) = known.filter(|k| k.asked.elapsed() < ASKED_AGAIN) {
            return known.refused;
        }
        let connected = tokio::time::timeout(PROBE_MAX, TcpStream::connect(address)).await;
        let refuses = matches!(connected, Ok(Err(e)) if e.kind() == io::ErrorKind::ConnectionRefused);
        let asked = Instant::now();
        let refused = refuses.then(|| known.and_then(|k| k.refused).unwrap_or(asked));
        let mut all = self.known.lock();
        all.retain(|_, known| known.asked.elapsed() < KEPT);
        all.insert(node, Known { asked, refused });
        refused
    }
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, sync::Arc};

    use metadata::{Endpoint, Node, NodeState};
    use tokio::net::TcpListener;

    use super::*;

    fn image(address: SocketAddr) -> Image {
        let endpoint = Endpoint { host: address.ip().to_string(), port: address.port() };
        let node = Node {
            id: NodeId(1),
            epoch: NodeEpoch(0),
            state: NodeState::Active,
            kafka: endpoint.clone(),
            http: endpoint,
            rack: None,
            directory: domain::DirectoryId(uuid::Uuid::from_u128(1)),
        };
        let mut image = Image::default();
        image.nodes.insert(NodeId(1), Arc::new(node));
        image
    }

    #[tokio::test]
    async fn only_a_node_that_refuses_connections_is_doubted() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let image = image(listener.local_addr().unwrap());
        let doubted = Doubts::default().of(&image, [NodeId(1), NodeId(2)]).await;
        assert!(doubted.is_empty(), "{doubted:?}");
        drop(listener);
        let doubts = Doubts::default();
        let doubted = doubts.of(&image, [NodeId(1), NodeId(2)]).await;
        assert_eq!(doubted.keys().copied().collect::<Vec<_>>(), [NodeId(1)]);
        tokio::time::sleep(ASKED_AGAIN).await;
        assert_eq!(doubts.of(&image, [NodeId(1)]).await, doubted, "since the first time");
    }
}

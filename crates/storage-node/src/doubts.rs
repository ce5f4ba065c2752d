use std::{
    collections::{HashMap, HashSet},
    io,
    sync::Arc,
    time::Duration,
};

use domain::{NodeEpoch, NodeId};
use futures_util::future::join_all;
use metadata::Image;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};
use wire::{StrBytes, messages::ApiVersionsRequest};

/// Nodes that the metadata call alive and that do not listen any more: their process died, and the controller has not said
/// so yet. A client whose connection just broke asks who leads, and takes whatever it is told for the truth: librdkafka,
/// named the dead node once more, looks again only after a second.
pub(crate) struct Doubts {
    probe_max: Duration,
    /// With when each was asked about last.
    known: Mutex<HashMap<Incarnation, (Instant, Arc<Known>)>>,
}

/// A node's process, by its registration.
type Incarnation = (NodeId, NodeEpoch);

/// What the last probe found; held while one is under way.
type Known = tokio::sync::Mutex<Option<Probe>>;

struct Probe {
    began: Instant,
    /// Since when the node has refused connections.
    refused: Option<Instant>,
}

/// That a node refuses serves everybody who asks within this time; that it answers only those who asked before the probe
/// began, as it may die the moment after.
const REFUSED_FOR: Duration = Duration::from_millis(100);
/// A node that is dead is fenced before this.
const BELIEVED_FOR: Duration = Duration::from_secs(4);
/// What was not asked about for so long is forgotten.
const KEPT: Duration = Duration::from_secs(10);
/// A node that does not even refuse by then may be alive: silence is the controller's to judge.
const PROBE_MAX: Duration = Duration::from_millis(25);
const PAUSE: Duration = Duration::from_millis(1);
/// Of so many nodes at most in one request: more are not worth the connections.
const PROBES_MAX: usize = 8;

impl Default for Doubts {
    fn default() -> Self {
        Self { probe_max: PROBE_MAX, known: Mutex::default() }
    }
}

impl Doubts {
    /// Those of the nodes that refuse connections, and since when. Not for ever: whom the controller goes on calling alive
    /// may be out of this node's reach alone, and clients are better off knowing it.
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
        let believed = |since: &Instant| since.elapsed() < BELIEVED_FOR;
        found.into_iter().filter_map(|(node, since)| Some((node, since.filter(believed)?))).collect()
    }

    async fn refused(&self, node: Incarnation, address: &str) -> Option<Instant> {
        let asked = Instant::now();
        let known = {
            let mut all = self.known.lock();
            all.retain(|_, (at, _)| at.elapsed() < KEPT);
            let known = all.entry(node).or_insert_with(|| (asked, Arc::default()));
            known.0 = asked;
            known.1.clone()
        };
        // A crowd that asks at once waits for the probe under way and shares the next.
        let mut last = known.lock().await;
        let serves = |p: &&Probe| p.began >= asked || p.refused.is_some() && p.began.elapsed() < REFUSED_FOR;
        if let Some(probe) = last.as_ref().filter(serves) {
            return probe.refused;
        }
        let began = Instant::now();
        let refuses = tokio::time::timeout(self.probe_max, refuses(address)).await.unwrap_or(false);
        let since = last.as_ref().and_then(|p| p.refused).unwrap_or_else(Instant::now);
        let refused = refuses.then_some(since);
        *last = Some(Probe { began, refused });
        refused
    }
}

/// Whether connections to the address are refused. A dead process's sockets go one after the other, the oldest last: for
/// some milliseconds after its clients were cut off it seems to listen, but answers nothing.
async fn refuses(address: &str) -> bool {
    loop {
        match TcpStream::connect(address).await {
            Err(error) => return error.kind() == io::ErrorKind::ConnectionRefused,
            Ok(stream) => match answers(stream).await {
                Ok(true) => return false,
                Ok(false) | Err(_) => tokio::time::sleep(PAUSE).await,
            },
        }
    }
}

async fn answers(mut stream: TcpStream) -> io::Result<bool> {
    let request = wire::encode_request(&ApiVersionsRequest::default(), 0, 0, &StrBytes::default());
    stream.write_all(&request.map_err(io::Error::other)?).await?;
    Ok(stream.read(&mut [0; 4]).await? > 0)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

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
            draining: false,
            scaled_in: false,
            directory: domain::DirectoryId(uuid::Uuid::from_u128(1)),
        };
        let mut image = Image::default();
        image.nodes.insert(NodeId(1), Arc::new(node));
        image
    }

    #[tokio::test]
    async fn a_node_that_answers_or_is_silent_is_not_doubted() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let image = image(listener.local_addr().unwrap());
        let doubts = Doubts::default();
        assert!(doubts.of(&image, [NodeId(1), NodeId(2)]).await.is_empty(), "it does not even accept");
        let serving = serve(listener);
        assert!(doubts.of(&image, [NodeId(1)]).await.is_empty());
        serving.abort();
    }

    fn serve(listener: TcpListener) -> tokio::task::JoinHandle<()> {
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.write_all(&[0; 4]).await;
            }
        })
    }

    /// Somebody asked just before it died.
    #[tokio::test]
    async fn that_a_node_answered_says_nothing_to_those_who_ask_later() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let image = image(listener.local_addr().unwrap());
        let doubts = Doubts::default();
        let serving = serve(listener);
        assert!(doubts.of(&image, [NodeId(1)]).await.is_empty());
        serving.abort();
        // With it goes the listener.
        let _ = serving.await;
        assert_eq!(doubts.of(&image, [NodeId(1)]).await.len(), 1);
    }

    /// Clients are cut off before the listener is closed: the first of them to ask still found it, and was sent back.
    #[tokio::test]
    async fn a_process_that_is_being_torn_down_is_doubted() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let image = image(listener.local_addr().unwrap());
        // This machine may be slow.
        let doubts = Doubts { probe_max: Duration::from_secs(10), ..Doubts::default() };
        let asked = doubts.of(&image, [NodeId(1)]);
        let torn_down = async {
            // It is accepted and not answered, and by the next attempt nobody listens.
            drop((listener.accept().await.unwrap(), listener));
        };
        let (doubted, ()) = tokio::join!(asked, torn_down);
        assert_eq!(doubted.keys().copied().collect::<Vec<_>>(), [NodeId(1)]);
        let first = Instant::now();
        // Until it is asked anew.
        while first.elapsed() <= REFUSED_FOR {
            assert_eq!(doubts.of(&image, [NodeId(1)]).await, doubted, "since the first time");
            tokio::task::yield_now().await;
        }
        assert_eq!(doubts.of(&image, [NodeId(1)]).await, doubted, "since the first time");
    }

    /// Behind an address that only clients reach.
    #[tokio::test]
    async fn a_node_that_goes_on_being_called_alive_is_not_doubted_for_ever() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let image = image(listener.local_addr().unwrap());
        drop(listener);
        let doubts = Doubts::default();
        assert_eq!(doubts.of(&image, [NodeId(1)]).await.len(), 1);
        let long_ago = Instant::now().checked_sub(BELIEVED_FOR).unwrap();
        let known = doubts.known.lock().values().next().unwrap().1.clone();
        known.lock().await.as_mut().unwrap().refused = Some(long_ago);
        assert!(doubts.of(&image, [NodeId(1)]).await.is_empty());
    }
}

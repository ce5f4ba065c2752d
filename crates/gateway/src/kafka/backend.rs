use std::time::Duration;

use group::OFFSETS_TOPIC;
use rpc::WatchedImage;
use tokio_util::sync::CancellationToken;
use wire::messages::FindCoordinatorRequest;

use super::{coordinator::seat, text, upstream::Upstream};

/// What stands behind the gateway: who leads and coordinates what, and connections that all clients share, whether they
/// speak Kafka's protocol or REST.
pub(crate) struct Backend {
    pub(crate) image: WatchedImage,
    pub(crate) upstream: Upstream,
    /// Whoever waits for long lets go when this is cancelled.
    pub(crate) stopping: CancellationToken,
}

/// The newest version that asks for one key: any node makes the internal topic when it hears of a group.
const ONE_KEY: i16 = 3;
/// How long the internal topic is waited for.
const TOPIC_MAX: Duration = Duration::from_secs(5);

impl Backend {
    pub(crate) fn new(image: WatchedImage, stopping: CancellationToken) -> Self {
        Self { image, upstream: Upstream::new(), stopping }
    }

    /// The topic that groups live in is made when the first one is looked for.
    pub(crate) async fn make_offsets_topic(&self, group: &str) {
        let image = self.image.load();
        if image.topics.contains_key(OFFSETS_TOPIC) {
            return;
        }
        let request = FindCoordinatorRequest::default().with_key(text(group));
        let making = async {
            for node in image.active_nodes() {
                let address = node.kafka.to_string();
                match self.upstream.call(&address, request.clone(), ONE_KEY, TOPIC_MAX).await {
                    Ok(_) => break,
                    Err(error) => tracing::warn!(%error, "a node did not make the topic of groups"),
                }
            }
            self.image.wait_for(|image| seat(image, group).is_some()).await;
        };
        let _ = tokio::time::timeout(TOPIC_MAX, making).await;
    }
}

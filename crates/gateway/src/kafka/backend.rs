use rpc::WatchedImage;
use tokio_util::sync::CancellationToken;

use super::upstream::Upstream;

/// What stands behind the gateway: who leads and coordinates what, and connections that all clients share, whether they
/// speak Kafka's protocol or REST.
pub(crate) struct Backend {
    pub(crate) image: WatchedImage,
    pub(crate) upstream: Upstream,
    /// Whoever waits for long lets go when this is cancelled.
    pub(crate) stopping: CancellationToken,
}

impl Backend {
    pub(crate) fn new(image: WatchedImage, stopping: CancellationToken) -> Self {
        Self { image, upstream: Upstream::new(), stopping }
    }
}

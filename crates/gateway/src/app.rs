use std::{sync::Arc, time::Duration};

use metadata::Image;
use rpc::{ControllerClient, WatchedImage};
use settings::LimitSettings;
use tokio_util::sync::CancellationToken;

use crate::{
    ApiError,
    consumers::Coordinators,
    kafka::Backend,
    leader::Nodes,
    memory::Memory,
    producer::{Choice, Producer},
};

/// What every request works with. Nothing of it outlives the process or matters to another gateway.
pub(crate) struct App {
    pub(crate) image: WatchedImage,
    pub(crate) controller: ControllerClient,
    pub(crate) nodes: Nodes,
    pub(crate) backend: Arc<Backend>,
    pub(crate) coordinators: Coordinators,
    pub(crate) producer: Producer,
    pub(crate) choice: Choice,
    pub(crate) limits: LimitSettings,
    pub(crate) memory: Memory,
    /// What links begin with: `http://host:port`, as clients reach it.
    pub(crate) base_url: String,
    /// Whoever waits for long lets go when this is cancelled.
    pub(crate) stopping: CancellationToken,
}

/// How long the controller may take for a change of metadata.
pub(crate) const CONTROLLER_MAX: Duration = Duration::from_secs(15);
/// How long an answer waits for this gateway to see a change that was made.
const SETTLE_MAX: Duration = Duration::from_secs(5);

impl App {
    /// The metadata, once there is some.
    pub(crate) fn metadata(&self) -> Result<Arc<Image>, ApiError> {
        let image = self.image.load();
        match image.cluster_id {
            Some(_) => Ok(image),
            None => {
                Err(ApiError::overloaded("the gateway has no metadata yet: no controller answered so far"))
            }
        }
    }

    /// The metadata with a change that was made, so that a client's next request here sees it.
    pub(crate) async fn settled(&self, version: u64) -> Arc<Image> {
        self.image.at_version(version, SETTLE_MAX).await
    }
}

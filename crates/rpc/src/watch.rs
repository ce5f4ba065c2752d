use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use domain::ClusterId;
use metadata::{Delta, Image};
use tokio::sync::watch;
use tonic::Status;

use crate::{ControllerClient, client::node_service, convert::decode_delta, pb};

/// The newest image that a [`MetadataWatch`] has, for any number of readers. Reading takes no lock.
#[derive(Clone)]
pub struct WatchedImage {
    image: Arc<ArcSwap<Image>>,
    version: watch::Receiver<u64>,
}

/// Keeps a [`WatchedImage`] up to date for as long as it runs.
pub struct MetadataWatch {
    client: ControllerClient,
    image: Arc<ArcSwap<Image>>,
    version: watch::Sender<u64>,
}

/// Changes a [`WatchedImage`].
pub struct SetImage {
    image: Arc<ArcSwap<Image>>,
    version: watch::Sender<u64>,
}

impl SetImage {
    pub fn set(&self, image: Image) {
        let version = image.version;
        self.image.store(Arc::new(image));
        self.version.send_replace(version);
    }
}

/// Before the next controller is tried.
const PAUSE: Duration = Duration::from_millis(100);

impl MetadataWatch {
    pub fn new(client: ControllerClient) -> (Self, WatchedImage) {
        let image = Arc::new(ArcSwap::from_pointee(Image::default()));
        let (sender, receiver) = watch::channel(0);
        let watched = WatchedImage { image: image.clone(), version: receiver };
        (Self { client, image, version: sender }, watched)
    }

    /// Follows the controllers until dropped. `on_delta` sees each image with what led to it, before readers do.
    pub async fn run(self, mut on_delta: impl FnMut(&Arc<Image>, &Delta)) {
        loop {
            if let Err(status) = self.follow(&mut on_delta).await {
                tracing::debug!(%status, "metadata watch ended, trying the next controller");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn follow(&self, on_delta: &mut impl FnMut(&Arc<Image>, &Delta)) -> Result<(), Status> {
        let (_, channel) = self.client.any_channel()?;
        let now = self.image.load_full();
        let request = pb::WatchMetadataRequest {
            from: now.version,
            cluster_id: now.cluster_id.map(|ClusterId(id)| id.as_bytes().to_vec().into()),
        };
        let mut events = node_service(channel).watch_metadata(request).await?.into_inner();
        while let Some(event) = events.message().await? {
            let delta = decode_delta(&event).map_err(Status::from)?;
            let mut image = Image::clone(&self.image.load());
            image.adopt(&delta);
            let image = Arc::new(image);
            on_delta(&image, &delta);
            self.image.store(image);
            self.version.send_replace(delta.version);
        }
        Ok(())
    }
}

impl WatchedImage {
    pub fn load(&self) -> Arc<Image> {
        self.image.load_full()
    }

    /// An image that never changes, for tests and for tools.
    pub fn fixed(image: Image) -> Self {
        Self::settable(image).1
    }

    /// An image that is changed by whoever has the other half, for the same.
    pub fn settable(image: Image) -> (SetImage, Self) {
        let (sender, version) = watch::channel(image.version);
        let image = Arc::new(ArcSwap::from_pointee(image));
        (SetImage { image: image.clone(), version: sender }, Self { image, version })
    }

    /// Waits for the first image of a named cluster.
    pub async fn ready(&self) -> Arc<Image> {
        self.wait_for(|image| image.cluster_id.is_some()).await
    }

    /// Waits until an image satisfies the condition; forever, when none ever does.
    pub async fn wait_for(&self, condition: impl Fn(&Image) -> bool) -> Arc<Image> {
        let mut version = self.version.clone();
        loop {
            version.borrow_and_update();
            let image = self.load();
            if condition(&image) {
                return image;
            }
            if version.changed().await.is_err() {
                // Nobody updates it any more: the process is shutting down.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits for an image at least this new, or for the time to pass; the newest image either way.
    pub async fn at_version(&self, version: u64, within: Duration) -> Arc<Image> {
        let waited = tokio::time::timeout(within, self.wait_for(|image| image.version >= version)).await;
        waited.unwrap_or_else(|_| self.load())
    }

    /// Changes whenever the image does.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.version.clone()
    }
}

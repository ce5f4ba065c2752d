use std::{
    sync::atomic::AtomicBool,
    time::{Duration, Instant},
};

use kube::{Api, Client, Config};
use tokio::sync::watch;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use crate::{
    ApiError, KubernetesConfig, KubernetesError, Notice, Seen, Stop,
    confirm::FreshRead,
    events::{Notices, Poster},
    follow::Follower,
    zone::Zones,
};

/// What the controller knows of Kubernetes, and asks it and tells it. Dropping it ends its tasks.
pub struct Kubernetes {
    seen: watch::Receiver<Seen>,
    fresh: FreshRead,
    zones: Zones,
    notices: Notices,
    tasks: TaskTracker,
    stop: DropGuard,
}

const CONNECT_MAX: Duration = Duration::from_secs(5);

impl Kubernetes {
    /// With the access that a pod has: the API server's address from `KUBERNETES_SERVICE_HOST` and `_PORT`, the service
    /// account's token and the certificate from its files, which are read again as they change. In a tokio runtime.
    ///
    /// # Errors
    /// This is not a pod, or one without a token.
    pub fn in_cluster(config: KubernetesConfig) -> Result<Self, KubernetesError> {
        let mut access = Config::incluster()?;
        access.connect_timeout = Some(CONNECT_MAX);
        let client = Client::try_from(access).map_err(KubernetesError::Client)?;
        Ok(Self::start(config, client))
    }

    /// Begins to watch, in a tokio runtime.
    pub fn start(config: KubernetesConfig, client: Client) -> Self {
        let (seen, watched) = watch::channel(Seen::nothing(Instant::now()));
        let sets = Api::namespaced(client.clone(), &config.namespace);
        let name = config.stateful_set.clone();
        let follower = Follower { sets: sets.clone(), name: name.clone(), seen: seen.clone(), lost: false };
        let (notices, poster) = Poster::new(config, &client, watched.clone());
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        tasks.spawn(stop.clone().run_until_cancelled_owned(follower.run()));
        tasks.spawn(stop.clone().run_until_cancelled_owned(poster.run()));
        tasks.close();
        let fresh = FreshRead { sets, name, seen, in_doubt: AtomicBool::new(false) };
        Self {
            seen: watched,
            fresh,
            zones: Zones::new(Api::all(client)),
            notices,
            tasks,
            stop: stop.drop_guard(),
        }
    }

    /// What the watch shows, which may lag behind: good enough to wake up by, not to act on.
    pub fn seen(&self) -> watch::Receiver<Seen> {
        self.seen.clone()
    }

    /// Why the pod of this ordinal stops, asked of the API server now. To be asked before a drain begins and before each of
    /// its steps. `Unknown` within 2 s if the API server gives no answer, or one that is older than what was seen.
    pub async fn confirm(&self, ordinal: u32) -> Stop {
        self.fresh.confirm(ordinal).await
    }

    /// The zone of a machine (a Kubernetes Node), from its label `topology.kubernetes.io/zone`; `None` without that label.
    ///
    /// # Errors
    /// The API server did not answer, has no such Node or does not let it be read: ask again later.
    pub async fn zone_of(&self, node: &str) -> Result<Option<String>, ApiError> {
        self.zones.zone_of(node).await
    }

    /// Posts an Event if it can, and does not wait for it. What repeats itself is left out.
    pub fn tell(&self, notice: Notice) {
        self.notices.tell(notice);
    }

    /// Ends the watch, and waits for that. Events that were not posted yet never are.
    pub async fn shutdown(self) {
        drop(self.stop);
        self.tasks.wait().await;
    }
}

use std::time::Duration;

use kubernetes::{Kubernetes, KubernetesConfig, Seen, SetSeen};

use crate::server::ApiServer;

/// An API server with so many replicas, and a controller that looks at it.
pub(crate) async fn cluster(replicas: u32) -> (ApiServer, Kubernetes) {
    let server = ApiServer::start(replicas).await;
    let kubernetes = watching(&server);
    seen_until(&kubernetes, "the watch is open", |seen| seen.unwatched_since.is_none()).await;
    (server, kubernetes)
}

pub(crate) fn watching(server: &ApiServer) -> Kubernetes {
    Kubernetes::start(config(), server.client())
}

pub(crate) fn config() -> KubernetesConfig {
    KubernetesConfig {
        namespace: "prod".to_owned(),
        stateful_set: "storage-node".to_owned(),
        pod: "controller-1".to_owned(),
    }
}

pub(crate) async fn seen_until(
    kubernetes: &Kubernetes,
    what: &str,
    condition: impl Fn(&Seen) -> bool,
) -> Seen {
    let mut seen = kubernetes.seen();
    let waited = tokio::time::timeout(Duration::from_secs(20), seen.wait_for(condition)).await;
    waited.unwrap_or_else(|_| panic!("waited in vain until {what}")).unwrap().clone()
}

/// `spec.replicas` of what was seen.
pub(crate) fn replicas(seen: &Seen) -> Option<u32> {
    match &seen.set {
        SetSeen::Present(set) => Some(set.replicas),
        SetSeen::Never | SetSeen::Absent => None,
    }
}

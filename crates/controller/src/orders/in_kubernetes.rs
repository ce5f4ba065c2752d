use std::sync::Arc;

use domain::NodeId;
use kubernetes::{About, Kubernetes, KubernetesConfig, Reason};
use settings::KubernetesSettings;

use super::{Notice, Orders, Stop};
use crate::ControllerError;

/// The StatefulSet of the storage nodes, whose ordinals are the nodes' ids.
struct InKubernetes(Kubernetes);

pub(super) fn orders(settings: &KubernetesSettings) -> Result<Arc<dyn Orders>, ControllerError> {
    let config = KubernetesConfig {
        namespace: settings.namespace.clone(),
        stateful_set: settings.stateful_set.clone(),
        pod: settings.pod.clone(),
    };
    let kubernetes =
        Kubernetes::in_cluster(config).map_err(|e| ControllerError::Kubernetes(e.to_string()))?;
    Ok(Arc::new(InKubernetes(kubernetes)))
}

fn ordinal(node: NodeId) -> Option<u32> {
    u32::try_from(node.0).ok()
}

#[tonic::async_trait]
impl Orders for InKubernetes {
    async fn why_it_stops(&self, node: NodeId) -> Stop {
        let Some(ordinal) = ordinal(node) else { return Stop::Unknown };
        match self.0.confirm(ordinal).await {
            kubernetes::Stop::Restart => Stop::Restart,
            kubernetes::Stop::ScaleIn { .. } => Stop::ScaleIn,
            kubernetes::Stop::Unknown => Stop::Unknown,
        }
    }

    async fn zone_of(&self, machine: &str) -> Result<Option<String>, String> {
        self.0.zone_of(machine).await.map_err(|error| error.to_string())
    }

    fn tell(&self, node: NodeId, notice: Notice) {
        let (reason, note) = match notice {
            Notice::DrainStarted(what) => {
                (Reason::DrainStarted, format!("node {node} leaves for good: {what}"))
            }
            Notice::DrainRefused(why) => (
                Reason::DrainRefused,
                format!("node {node} is not drained, it stops with its replicas and can come back: {why}"),
            ),
            Notice::DrainCancelled => (
                Reason::DrainCancelled,
                format!("there is a place for node {node} again: it keeps what it has"),
            ),
            Notice::Drained => (Reason::Drained, format!("node {node} has given everything away and left")),
        };
        let notice = |about| kubernetes::Notice { about, reason, note: note.clone() };
        self.0.tell(notice(About::StatefulSet));
        if let Some(ordinal) = ordinal(node) {
            self.0.tell(notice(About::Pod { ordinal }));
        }
    }
}

#[cfg(feature = "kubernetes")]
mod in_kubernetes;

use std::sync::Arc;

use domain::NodeId;
use settings::KubernetesSettings;

use crate::ControllerError;

/// Why a node is being stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It comes back.
    Restart,
    /// There is no place for it any more.
    ScaleIn,
    Unknown,
}

/// What whoever stops nodes is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// With what has to move.
    DrainStarted(String),
    /// With the reason.
    DrainRefused(String),
    DrainCancelled,
    Drained,
}

/// Whoever starts and stops storage nodes: it knows why one stops, and where it runs.
#[tonic::async_trait]
pub(crate) trait Orders: Send + Sync {
    /// Asked anew each time, of nobody who could remember something old.
    async fn why_it_stops(&self, node: NodeId) -> Stop;

    /// The zone that a machine is in; `None` if it is in none.
    ///
    /// # Errors
    /// It cannot be told now.
    async fn zone_of(&self, machine: &str) -> Result<Option<String>, String>;

    /// Passes the notice on, if it can, and does not wait for it.
    fn tell(&self, node: NodeId, notice: Notice);
}

/// Whoever is to be asked, as configured.
///
/// # Errors
/// It is to be Kubernetes, and this process does not run in one, or was built without.
pub(crate) fn of(settings: &KubernetesSettings) -> Result<Option<Arc<dyn Orders>>, ControllerError> {
    if !settings.enabled {
        return Ok(None);
    }
    #[cfg(feature = "kubernetes")]
    return in_kubernetes::orders(settings).map(Some);
    #[cfg(not(feature = "kubernetes"))]
    Err(ControllerError::Kubernetes("this controller was built without the feature 'kubernetes'".to_owned()))
}

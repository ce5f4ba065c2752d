use domain::NodeId;
use tokio::sync::watch;

/// What all partitions of a node share.
pub(crate) struct Home {
    pub(crate) node: NodeId,
    failed: watch::Sender<Option<String>>,
}

impl Home {
    pub(crate) fn new(node: NodeId) -> Self {
        Self { node, failed: watch::channel(None).0 }
    }

    /// The disk refused to sync, or to be changed half way: nobody knows what is on it. The node ends, and what it says
    /// of its disk at the next start keeps it out of every ISR until it has caught up (KIP-966).
    pub(crate) fn fail(&self, reason: String) {
        self.failed.send_if_modified(|failed| {
            let first = failed.is_none();
            failed.get_or_insert(reason);
            first
        });
    }

    pub(crate) fn failed(&self) -> watch::Receiver<Option<String>> {
        self.failed.subscribe()
    }
}

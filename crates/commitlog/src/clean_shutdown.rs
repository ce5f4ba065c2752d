//! `.kafka_cleanshutdown`: says that everything was flushed and closed, and by which incarnation.

use domain::NodeEpoch;

pub(crate) const FILE_NAME: &str = ".kafka_cleanshutdown";

/// The mark of a clean shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanShutdown {
    /// The registration under which the node ran; proof of an intact disk together with it (KIP-966).
    pub node_epoch: NodeEpoch,
}

impl CleanShutdown {
    pub(crate) fn encode(self) -> String {
        format!("{{\"version\":0,\"brokerEpoch\":{}}}", self.node_epoch)
    }

    /// `None` if the mark says nothing that is understood; then the shutdown does not count as clean.
    pub(crate) fn decode(content: &[u8]) -> Option<Self> {
        let json: serde_json::Value = serde_json::from_slice(content).ok()?;
        let version = json.get("version")?.as_i64()?;
        let epoch = json.get("brokerEpoch")?.as_i64()?;
        (version == 0).then_some(Self { node_epoch: NodeEpoch(epoch) })
    }
}

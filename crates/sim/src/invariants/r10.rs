//! A registration keeps its place in ISR and ELR only with an intact disk.

use domain::NodeId;
use metadata::Image;

use super::{Checked, hold};

/// A node registered; `spoiled` says that its disk lost something since it registered before.
pub(crate) fn registered(image: &Image, node: NodeId, spoiled: bool) -> Checked {
    if !spoiled {
        return Ok(());
    }
    let keeps = |p: &&metadata::Partition| p.isr.contains(&node) || p.elr.contains(&node);
    let kept = image.topics.values().flat_map(|t| t.partitions.iter()).find(keeps);
    hold("R10", kept.is_none(), || {
        let places = kept.map(|p| (&p.isr, &p.elr));
        format!(
            "node {node} registered with a disk that lost something and keeps its place in (ISR, ELR) {places:?}"
        )
    })
}

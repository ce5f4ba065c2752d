use std::collections::BTreeMap;

use domain::NodeId;

use super::MoveLimits;
use crate::Partition;

/// The replicas that nodes copy at the same time, each from its partition's leader.
#[derive(Clone, Debug, Default)]
pub(super) struct Traffic {
    copies: BTreeMap<(NodeId, Way), Copies>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    In,
    Out,
}

#[derive(Clone, Copy, Debug, Default)]
struct Copies {
    moves: usize,
    bytes: u64,
}

impl Traffic {
    pub(super) fn copy(&mut self, partition: &Partition, to: NodeId, bytes: u64) {
        let one = Copies { moves: 1, bytes };
        self.add((to, Way::In), one);
        if let Some(leader) = partition.leader {
            self.add((leader, Way::Out), one);
        }
    }

    pub(super) fn join(&mut self, other: Traffic) {
        other.copies.into_iter().for_each(|(at, copies)| self.add(at, copies));
    }

    fn add(&mut self, at: (NodeId, Way), more: Copies) {
        let copies = self.copies.entry(at).or_default();
        copies.moves = copies.moves.saturating_add(more.moves);
        copies.bytes = copies.bytes.saturating_add(more.bytes);
    }

    /// Whether there is room for it. A node that copies nothing is given whatever it is, or that would never begin.
    pub(super) fn admits(&self, other: &Traffic, limits: &MoveLimits) -> bool {
        let fits = |(at, more): (&(NodeId, Way), &Copies)| {
            let now = self.copies.get(at).copied().unwrap_or_default();
            let few = now.moves.saturating_add(more.moves) <= limits.moves_per_node_max;
            now.moves == 0 || few && now.bytes.saturating_add(more.bytes) <= limits.bytes_per_node_max
        };
        limits.moves_per_node_max > 0 && other.copies.iter().all(fits)
    }
}

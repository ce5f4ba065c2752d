use std::collections::BTreeSet;

use domain::{NodeId, PartitionIndex, TopicName};

use super::{
    Usage,
    layout::Layout,
    part::Part,
    site::{Site, SiteId},
};
use crate::{Changes, Image, NodeState, Partition};

impl Image {
    /// Reassignments under way that lead nowhere, to be cancelled (`Command::Reassign` with `None`): to a node that is fenced
    /// and among those that are `away` for long, that is to be emptied, or that is gone; and away from a node that would have
    /// to be filled again, as when it is not to be emptied any more. Nothing while rebalancing is paused, nor what cannot be
    /// cancelled because the data is only where it was moved to.
    pub fn dead_ends(&self, away: &BTreeSet<NodeId>) -> Vec<(TopicName, PartitionIndex)> {
        let is_moving = |p: &Partition| p.is_reassigning();
        if self.rebalance.paused || !self.topics.values().any(|t| t.partitions.iter().any(is_moving)) {
            return Vec::new();
        }
        let mut layout = Layout::new(self, &Usage::default(), None);
        let mut dead = Vec::new();
        for id in layout.part_ids() {
            let part = layout.part(id);
            if !part.partition.is_reassigning() {
                continue;
            }
            let change = Undo::new(&layout, part);
            let leads_nowhere = part.partition.adding.iter().any(|n| self.takes_nothing(*n, away));
            if (leads_nowhere || change.is_better(&layout, part)) && self.can_cancel(part) {
                dead.push((part.topic.name.clone(), part.number));
                change.count(&mut layout);
            }
        }
        dead
    }

    fn takes_nothing(&self, node: NodeId, away: &BTreeSet<NodeId>) -> bool {
        self.nodes
            .get(&node)
            .is_none_or(|n| n.draining || n.state == NodeState::Fenced && away.contains(&node))
    }

    /// Asks the command itself.
    fn can_cancel(&self, part: &Part) -> bool {
        let change = (part.topic.name.clone(), part.number, None);
        let mut image = self.clone();
        image.reassign(&[change], &mut Changes::default());
        image.partition(part.topic.name.as_str(), part.number).is_some_and(|p| !p.is_reassigning())
    }
}

/// What comes of it when a reassignment is cancelled.
struct Undo {
    /// They keep their replica.
    stay: Vec<SiteId>,
    /// They get none.
    go: Vec<SiteId>,
}

impl Undo {
    fn new(layout: &Layout, part: &Part) -> Self {
        let sites = |nodes: &[NodeId]| {
            let is_named = |site: &SiteId| nodes.contains(&layout.site(*site).node);
            layout.site_ids().filter(is_named).collect()
        };
        Self { stay: sites(&part.partition.removing), go: sites(&part.partition.adding) }
    }

    /// In more racks, or in no fewer and from where there is more than the average, and two more than there, to where there
    /// is less. No move that a plan makes is like that, unless what it was made for is over.
    fn is_better(&self, layout: &Layout, part: &Part) -> bool {
        let is_placeable = |site: &SiteId| layout.site(*site).placeable;
        if self.stay.len() != self.go.len() || !self.stay.iter().chain(&self.go).all(is_placeable) {
            return false;
        }
        let kept = part.sites.iter().copied().filter(|site| !self.go.contains(site));
        let racks = layout.rack_count(part.sites.iter().copied());
        let racks_before = layout.rack_count(kept.chain(self.stay.iter().copied()));
        let replicas = |site: &SiteId| layout.site(*site).replicas;
        let most = self.stay.iter().map(replicas).max().unwrap_or(0);
        let fewest = self.go.iter().map(replicas).min().unwrap_or(0);
        let all: usize = layout.placeable.iter().map(replicas).sum();
        let floor = all / layout.placeable.len().max(1);
        racks_before > racks || racks_before == racks && most < floor && fewest >= most.saturating_add(2)
    }

    fn count(&self, layout: &mut Layout) {
        let less = |site: &mut Site| site.replicas = site.replicas.saturating_sub(1);
        self.go.iter().for_each(|site| less(&mut layout.sites[site.0]));
        self.stay.iter().for_each(|site| layout.sites[site.0].replicas += 1);
    }
}

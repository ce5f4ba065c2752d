use std::collections::{BTreeMap, BTreeSet};

use domain::{NodeId, PartitionIndex, TopicName};

use super::{
    Usage, layout::Layout, part::Part, racks::spread_racks, replicas::even_replicas, site::SiteId,
    vacate::vacate,
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
        let layout = Layout::new(self, &Usage::default(), None);
        let mut missing = Missing { layout: &layout, planned: None };
        let mut dead = Vec::new();
        for id in layout.part_ids() {
            let part = layout.part(id);
            if !part.partition.is_reassigning() {
                continue;
            }
            let leads_nowhere = part.partition.adding.iter().any(|n| self.takes_nothing(*n, away));
            let is_dead = leads_nowhere || Undo::new(&layout, part).is_better(&layout, part, &mut missing);
            if is_dead && self.can_cancel(part) {
                dead.push((part.topic.name.clone(), part.number));
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

    /// In more racks, or in no fewer and where replicas would be moved to next.
    fn is_better(&self, layout: &Layout, part: &Part, missing: &mut Missing) -> bool {
        let is_placeable = |site: &SiteId| layout.site(*site).placeable;
        if self.stay.len() != self.go.len() || !self.stay.iter().chain(&self.go).all(is_placeable) {
            return false;
        }
        let kept = part.sites.iter().copied().filter(|site| !self.go.contains(site));
        let racks = layout.rack_count(part.sites.iter().copied());
        let racks_before = layout.rack_count(kept.chain(self.stay.iter().copied()));
        racks_before > racks || racks_before == racks && self.is_levelling(layout) && missing.take(&self.stay)
    }

    /// To each of them from one that has at least two more.
    fn is_levelling(&self, layout: &Layout) -> bool {
        let replicas = |site: &SiteId| layout.site(*site).replicas;
        let most = self.stay.iter().map(replicas).max().unwrap_or(0);
        self.go.iter().all(|site| replicas(site) >= most.saturating_add(2))
    }
}

/// How many replicas each site is given next, as far as none is kept there instead. Only asked where that seems so, as it takes
/// a plan.
struct Missing<'l, 'a> {
    layout: &'l Layout<'a>,
    planned: Option<BTreeMap<SiteId, usize>>,
}

impl Missing<'_, '_> {
    /// One replica for each of them, if they all miss one.
    fn take(&mut self, sites: &[SiteId]) -> bool {
        let layout = self.layout;
        let planned = self.planned.get_or_insert_with(|| planned(layout));
        let misses = |site: &SiteId| planned.get(site).is_some_and(|count| *count > 0);
        if !sites.iter().all(misses) {
            return false;
        }
        sites.iter().for_each(|site| _ = planned.entry(*site).and_modify(|count| *count -= 1));
        true
    }
}

fn planned(layout: &Layout) -> BTreeMap<SiteId, usize> {
    let mut after = layout.clone();
    vacate(&mut after);
    spread_racks(&mut after);
    even_replicas(&mut after);
    let more = |site: SiteId| after.site(site).replicas.saturating_sub(layout.site(site).replicas);
    layout.site_ids().map(|site| (site, more(site))).collect()
}

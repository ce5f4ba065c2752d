use std::collections::{BTreeMap, BTreeSet};

use domain::NodeId;

use super::{
    Usage, Why,
    part::{Facts, Part, PartId, TopicPlace},
    site::{RackId, Site, SiteId},
};
use crate::{Image, Node, NodeState, Topic};

/// Where replicas are, and where the plan puts them. Reassignments under way count as done.
#[derive(Clone, Debug)]
pub(super) struct Layout<'a> {
    pub(super) sites: Vec<Site>,
    pub(super) parts: Vec<Part<'a>>,
    facts: Vec<Facts>,
    /// The sites that take replicas.
    pub(super) placeable: Vec<SiteId>,
    /// The racks that these are in.
    racks: BTreeSet<RackId>,
    /// By site: the parts that can leave it.
    held: Vec<Vec<PartId>>,
    /// By topic and site: the replicas there.
    in_topic: Vec<usize>,
    departures: usize,
}

impl<'a> Layout<'a> {
    /// `leaving` counts as draining.
    pub(super) fn new(image: &'a Image, usage: &Usage, leaving: Option<NodeId>) -> Self {
        let mut racks = BTreeMap::new();
        let mut sites: Vec<Site> = Vec::with_capacity(image.nodes.len());
        let mut places: BTreeMap<NodeId, SiteId> = BTreeMap::new();
        for node in image.nodes.values() {
            let new = RackId(sites.len());
            let rack = node.rack.as_ref().map_or(new, |rack| *racks.entry(rack).or_insert(new));
            places.insert(node.id, SiteId(sites.len()));
            sites.push(Site { room_bytes: room_bytes(usage, node.id), ..site(node, rack, leaving) });
        }
        let mut parts = Vec::with_capacity(image.partition_count());
        let mut facts = Vec::with_capacity(parts.capacity());
        for (topic_place, topic) in (0..).map(TopicPlace).zip(image.topics.values()) {
            for (number, partition) in topic.numbered() {
                let mut place = |node: &NodeId| {
                    *places.entry(*node).or_insert_with(|| {
                        // Nobody knows it, so nobody touches what it may have.
                        sites.push(stranger(*node, RackId(sites.len())));
                        SiteId(sites.len() - 1)
                    })
                };
                let stays = |n: &&NodeId| !partition.removing.contains(n);
                let bytes = usage.size(topic.id, number);
                let replicas = partition.replicas.iter().filter(stays).map(&mut place).collect();
                for adding in partition.adding.iter().map(&mut place).collect::<Vec<_>>() {
                    take_room(&mut sites[adding.0], bytes);
                }
                let topic: &Topic = topic;
                let (before, left) = (None, Vec::new());
                parts.push(Part { topic, number, partition, sites: replicas, before, left });
                facts.push(Facts { topic: topic_place, bytes, is_moving: false });
            }
        }
        Self::of(sites, parts, facts, image.topics.len())
    }

    fn of(sites: Vec<Site>, parts: Vec<Part<'a>>, facts: Vec<Facts>, topics: usize) -> Self {
        let placeable: Vec<SiteId> = (0..sites.len()).map(SiteId).filter(|s| sites[s.0].placeable).collect();
        let racks = placeable.iter().map(|s| sites[s.0].rack).collect();
        let held = vec![Vec::new(); sites.len()];
        let in_topic = vec![0; topics.saturating_mul(sites.len())];
        let mut layout = Self { sites, parts, facts, placeable, racks, held, in_topic, departures: 0 };
        for id in (0..layout.parts.len()).map(PartId) {
            for place in 0..layout.parts[id.0].sites.len() {
                layout.arrive(id, layout.parts[id.0].sites[place]);
            }
        }
        layout
    }

    pub(super) fn part(&self, id: PartId) -> &Part<'a> {
        &self.parts[id.0]
    }

    pub(super) fn part_mut(&mut self, id: PartId) -> &mut Part<'a> {
        &mut self.parts[id.0]
    }

    pub(super) fn facts(&self, id: PartId) -> Facts {
        self.facts[id.0]
    }

    pub(super) fn part_ids(&self) -> impl Iterator<Item = PartId> + use<> {
        (0..self.parts.len()).map(PartId)
    }

    pub(super) fn site_ids(&self) -> impl Iterator<Item = SiteId> + use<> {
        (0..self.sites.len()).map(SiteId)
    }

    pub(super) fn site(&self, id: SiteId) -> &Site {
        &self.sites[id.0]
    }

    /// The parts that can leave the site.
    pub(super) fn held(&self, site: SiteId) -> impl Iterator<Item = PartId> {
        self.held[site.0].iter().copied()
    }

    /// How many replicas of the part's topic the site has.
    pub(super) fn in_topic(&self, part: PartId, site: SiteId) -> usize {
        self.in_topic[self.topic_slot(part, site)]
    }

    fn topic_slot(&self, part: PartId, site: SiteId) -> usize {
        self.facts(part).topic.0 * self.sites.len() + site.0
    }

    /// Whether the part may leave one site for the other without being in fewer racks.
    pub(super) fn may_move(&self, id: PartId, from: SiteId, to: SiteId) -> bool {
        let part = self.part(id);
        !part.sites.contains(&to) && self.keeps_racks(part, from, to) && self.has_room(id, to)
    }

    fn keeps_racks(&self, part: &Part, from: SiteId, to: SiteId) -> bool {
        let (leaves, enters) = (self.site(from).rack, self.site(to).rack);
        let others = || part.sites.iter().filter(|s| **s != from).map(|s| self.site(*s).rack);
        leaves == enters || others().all(|rack| rack != enters) || others().any(|rack| rack == leaves)
    }

    pub(super) fn has_room(&self, id: PartId, to: SiteId) -> bool {
        let fits = self.site(to).room_bytes.is_none_or(|room| self.facts(id).bytes <= room);
        fits || self.part(id).sites_today().contains(&to)
    }

    /// In how many racks these are.
    pub(super) fn rack_count(&self, sites: impl Iterator<Item = SiteId> + Clone) -> usize {
        let rack = |site: SiteId| self.site(site).rack;
        let is_first = |(place, site): &(usize, SiteId)| {
            sites.clone().take(*place).all(|earlier| rack(earlier) != rack(*site))
        };
        sites.clone().enumerate().filter(is_first).count()
    }

    /// In how many racks the part could be with the replicas on kept sites as they are.
    pub(super) fn rack_count_possible(&self, part: &Part) -> usize {
        let kept = || part.sites.iter().copied().filter(|s| self.site(*s).is_kept());
        let kept_racks = self.rack_count(kept());
        let used: BTreeSet<RackId> =
            kept().map(|s| self.site(s).rack).filter(|r| self.racks.contains(r)).collect();
        let (free, others) = (self.racks.len() - used.len(), part.sites.len() - kept().count());
        kept_racks + free.min(others)
    }

    /// Moves a replica in the plan.
    pub(super) fn shift(&mut self, id: PartId, from: SiteId, to: SiteId, why: Why) {
        let (bytes, today) = (self.facts(id).bytes, self.part(id).sites_today());
        let (undone, new) = (!today.contains(&from), !today.contains(&to));
        if undone {
            let room = &mut self.sites[from.0].room_bytes;
            *room = room.map(|room| room.saturating_add(bytes));
        }
        if new {
            take_room(&mut self.sites[to.0], bytes);
        }
        self.leave(id, from);
        self.arrive(id, to);
        self.departures += 1;
        let number = self.departures;
        self.facts[id.0].is_moving = true;
        self.part_mut(id).replace(from, to, why, number);
    }

    /// Takes what was planned for how things are.
    pub(super) fn settle(&mut self) {
        for part in &mut self.parts {
            (part.before, part.left) = (None, Vec::new());
        }
    }

    fn arrive(&mut self, id: PartId, to: SiteId) {
        let slot = self.topic_slot(id, to);
        self.in_topic[slot] += 1;
        let (bytes, movable) = (self.facts(id).bytes, self.part(id).is_movable());
        let site = &mut self.sites[to.0];
        site.replicas += 1;
        site.bytes = site.bytes.saturating_add(bytes);
        if movable {
            self.held[to.0].push(id);
        }
    }

    fn leave(&mut self, id: PartId, from: SiteId) {
        let slot = self.topic_slot(id, from);
        self.in_topic[slot] = self.in_topic[slot].saturating_sub(1);
        let bytes = self.facts(id).bytes;
        let site = &mut self.sites[from.0];
        site.replicas = site.replicas.saturating_sub(1);
        site.bytes = site.bytes.saturating_sub(bytes);
        if let Some(place) = self.held[from.0].iter().position(|held| *held == id) {
            self.held[from.0].swap_remove(place);
        }
    }
}

fn site(node: &Node, rack: RackId, leaving: Option<NodeId>) -> Site {
    let draining = node.draining || leaving == Some(node.id);
    let placeable = node.state == NodeState::Active && !draining;
    Site { node: node.id, rack, placeable, draining, room_bytes: None, replicas: 0, bytes: 0 }
}

fn stranger(node: NodeId, rack: RackId) -> Site {
    Site { node, rack, placeable: false, draining: false, room_bytes: None, replicas: 0, bytes: 0 }
}

fn room_bytes(usage: &Usage, node: NodeId) -> Option<u64> {
    usage.disks.get(&node).map(|disk| disk.room_bytes())
}

fn take_room(site: &mut Site, bytes: u64) {
    site.room_bytes = site.room_bytes.map(|room| room.saturating_sub(bytes));
}

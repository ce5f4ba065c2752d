use std::collections::BTreeSet;

use domain::NodeId;

use super::{
    Usage,
    layout::Layout,
    part::{Part, PartId},
    site::SiteId,
    usage::RESERVE_PERCENT,
};
use crate::{Image, Refusal, RefusalKind};

/// What it takes to empty a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DrainCost {
    pub replicas: u64,
    /// As far as they are known.
    pub bytes: u64,
}

impl Image {
    /// What it would take to drain the node. Refused with `CannotDrain` if the nodes that stay cannot hold a partition's
    /// replicas, in fewer racks than now unless `ignore_racks`, or have no room for the bytes on their disks; with
    /// `UnknownNode` if it never registered.
    pub fn check_drain(&self, node: NodeId, usage: &Usage, ignore_racks: bool) -> Result<DrainCost, Refusal> {
        if !self.nodes.contains_key(&node) {
            return Err(Refusal::new(RefusalKind::UnknownNode, format!("node {node} never registered")));
        }
        let layout = Layout::new(self, usage, Some(node));
        let has = |id: &PartId| layout.part(*id).sites.iter().any(|s| layout.site(*s).node == node);
        let mut cost = DrainCost::default();
        for id in layout.part_ids().filter(has) {
            let part = layout.part(id);
            check_nodes(&layout, part)?;
            if !ignore_racks {
                check_racks(&layout, part)?;
            }
            cost.replicas += 1;
            cost.bytes = cost.bytes.saturating_add(layout.facts(id).bytes);
        }
        check_room(&layout)?;
        Ok(cost)
    }
}

fn refuse(message: String) -> Result<(), Refusal> {
    Err(Refusal::new(RefusalKind::CannotDrain, message))
}

fn check_nodes(layout: &Layout, part: &Part) -> Result<(), Refusal> {
    let kept = part.sites.iter().filter(|s| layout.site(**s).is_kept());
    let left: BTreeSet<SiteId> = layout.placeable.iter().chain(kept).copied().collect();
    if left.len() >= part.sites.len() {
        return Ok(());
    }
    let (topic, replicas, left) = (&part.topic.name, part.sites.len(), left.len());
    let (replicas, left) = (counted(replicas, "replica"), counted(left, "node"));
    refuse(format!("topic '{topic}' has {replicas} a partition, {left} would be left"))
}

fn check_racks(layout: &Layout, part: &Part) -> Result<(), Refusal> {
    let (now, then) = (layout.rack_count(part.sites.iter().copied()), layout.rack_count_possible(part));
    if then >= now {
        return Ok(());
    }
    let (topic, number, racks) = (&part.topic.name, part.number, counted(then, "rack"));
    refuse(format!("partition {topic}-{number} would have replicas in {racks} instead of {now}"))
}

/// What other nodes still have to give away needs room, too.
fn check_room(layout: &Layout) -> Result<(), Refusal> {
    let sum = |bytes: u64, more: u64| bytes.saturating_add(more);
    let needed = layout.sites.iter().filter(|s| s.draining).map(|s| s.bytes).fold(0, sum);
    let rooms: Option<Vec<u64>> = layout.placeable.iter().map(|s| layout.site(*s).room_bytes).collect();
    // A node that never told of its disk may have room for everything.
    let Some(room) = rooms.map(|rooms| rooms.into_iter().fold(0, sum)).filter(|room| *room < needed) else {
        return Ok(());
    };
    refuse(format!(
        "{needed} bytes would have to move, the disks of the other nodes have room for {room} beyond a reserve of \
         {RESERVE_PERCENT} %"
    ))
}

fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

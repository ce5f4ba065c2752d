use std::cmp::Reverse;

use super::{
    Stuck, StuckReason, Why,
    layout::Layout,
    part::PartId,
    site::{Site, SiteId},
};

/// Gives the replicas on draining sites to others: to as many racks as possible, then to the sites that have the fewest.
pub(super) fn vacate(layout: &mut Layout) -> Vec<Stuck> {
    let mut stuck = Vec::new();
    if !layout.sites.iter().any(|s| s.draining && s.replicas > 0) {
        return stuck;
    }
    for id in layout.part_ids() {
        let leaving = |site: &SiteId| layout.site(*site).draining;
        let leaving: Vec<SiteId> = layout.part(id).sites.iter().copied().filter(leaving).collect();
        for from in leaving {
            match destination(layout, id, from) {
                Ok(Some(to)) => layout.shift(id, from, to, Why::Drain),
                Ok(None) => {}
                Err(reason) => stuck.push(why_stuck(layout, id, from, reason)),
            }
        }
    }
    stuck
}

/// `None`: the partition is being reassigned, and its turn comes when that is done.
fn destination(layout: &Layout, id: PartId, from: SiteId) -> Result<Option<SiteId>, StuckReason> {
    let part = layout.part(id);
    if part.partition.is_reassigning() {
        return Ok(None);
    }
    if !part.is_movable() {
        return Err(StuckReason::NoLeader);
    }
    let free = || layout.placeable.iter().copied().filter(|to| !part.sites.contains(to));
    let rank = |to: &SiteId| {
        let site = layout.site(*to);
        let others = || part.sites.iter().copied().filter(|s| *s != from);
        let racks = layout.rack_count(others().chain([*to]));
        let rack_mates = others().filter(|s| layout.site(*s).rack == site.rack).count();
        (Reverse(racks), site.replicas, rack_mates, layout.in_topic(id, *to), site.bytes, *to)
    };
    match free().filter(|to| layout.has_room(id, *to)).min_by_key(rank) {
        Some(to) => Ok(Some(to)),
        None if free().next().is_some() => Err(StuckReason::NoRoom { bytes: layout.facts(id).bytes }),
        None => Err(StuckReason::NoNode),
    }
}

fn why_stuck(layout: &Layout, id: PartId, from: SiteId, reason: StuckReason) -> Stuck {
    let (part, Site { node, .. }) = (layout.part(id), layout.site(from));
    Stuck {
        topic: part.topic.name.clone(),
        topic_id: part.topic.id,
        partition: part.number,
        node: *node,
        reason,
    }
}

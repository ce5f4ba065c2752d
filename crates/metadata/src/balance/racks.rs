use std::cmp::Reverse;

use super::{Why, layout::Layout, part::PartId, site::SiteId};

/// Takes replicas out of racks that have several of their partition, into those that have none.
pub(super) fn spread_racks(layout: &mut Layout) {
    for id in layout.part_ids() {
        while let Some((from, to)) = better(layout, id) {
            layout.shift(id, from, to, Why::Racks);
        }
    }
}

fn better(layout: &Layout, id: PartId) -> Option<(SiteId, SiteId)> {
    let part = layout.part(id);
    let sites = || part.sites.iter().copied();
    let racks = layout.rack_count(sites());
    if racks == part.sites.len() || !part.is_movable() || racks >= layout.rack_count_possible(part) {
        return None;
    }
    let rack_mates =
        |site: SiteId| sites().filter(|s| layout.site(*s).rack == layout.site(site).rack).count();
    let is_spare = |site: &SiteId| layout.site(*site).placeable && rack_mates(*site) > 1;
    let from = sites()
        .filter(is_spare)
        .max_by_key(|s| (part.is_new_at(*s), layout.site(*s).replicas, Reverse(*s)))?;
    let is_better = |to: &SiteId| rack_mates(*to) == 0 && layout.has_room(id, *to);
    let rank =
        |to: &SiteId| (layout.site(*to).replicas, layout.in_topic(id, *to), layout.site(*to).bytes, *to);
    let to = layout.placeable.iter().copied().filter(is_better).min_by_key(rank)?;
    Some((from, to))
}

use std::cmp::Reverse;

use super::{
    Why,
    even_out::{Exchange, even_out},
    layout::Layout,
    part::PartId,
    site::SiteId,
};

/// Gives each site as many replicas as the others, as far as racks allow. First those that the plan moves anyway, which
/// costs nothing more.
pub(super) fn even_replicas(layout: &mut Layout) {
    let sites = layout.placeable.clone();
    if layout.parts.iter().any(|part| part.is_changed()) {
        even_out(&sites, &mut Replicas { layout, only_new: true });
    }
    even_out(&sites, &mut Replicas { layout, only_new: false });
}

struct Replicas<'l, 'a> {
    layout: &'l mut Layout<'a>,
    only_new: bool,
}

impl Replicas<'_, '_> {
    fn fits(&self, id: PartId, from: SiteId, to: SiteId) -> bool {
        (!self.only_new || self.layout.part(id).is_new_at(from)) && self.layout.may_move(id, from, to)
    }
}

impl Exchange for Replicas<'_, '_> {
    fn load(&self, site: SiteId) -> usize {
        self.layout.site(site).replicas
    }

    fn any(&self, from: SiteId, to: SiteId) -> bool {
        self.layout.held(from).any(|id| self.fits(id, from, to))
    }

    /// What moves anyway; then of the topic that there is most of on the one and least of on the other, so that a node does not
    /// get all of one topic; then what brings their bytes nearest to each other.
    fn best(&self, from: SiteId, to: SiteId) -> Option<PartId> {
        let bytes = |site| self.layout.site(site).bytes;
        let ideal = bytes(from).saturating_sub(bytes(to)) / 2;
        let rank = |id: PartId| {
            let facts = self.layout.facts(id);
            let is_new = facts.is_moving && self.layout.part(id).is_new_at(from);
            let (here, there) = (self.layout.in_topic(id, from), self.layout.in_topic(id, to));
            let (more, less) = (Reverse(here.saturating_sub(there)), there.saturating_sub(here));
            (!is_new, facts.is_moving, more, less, facts.bytes.abs_diff(ideal), id)
        };
        let mut best = None;
        for id in self.layout.held(from) {
            // Whether it may is asked last: that takes longest.
            let rank = rank(id);
            if best.is_none_or(|best| rank < best) && self.fits(id, from, to) {
                best = Some(rank);
            }
        }
        best.map(|(.., id)| id)
    }

    fn shift(&mut self, part: PartId, from: SiteId, to: SiteId) {
        self.layout.shift(part, from, to, Why::Replicas);
    }
}

use std::cmp::Reverse;

use super::{
    even_out::{Exchange, even_out},
    layout::Layout,
    part::PartId,
    site::SiteId,
};

/// Lets each site that has replicas be the preferred leader of as many partitions as the others: rather of those that move
/// anyway, then of topics that it leads less of.
pub(super) fn even_leaders(layout: &mut Layout) {
    let bears = |site: &SiteId| layout.site(*site).replicas > 0;
    let sites: Vec<SiteId> = layout.placeable.iter().copied().filter(bears).collect();
    let mut leaders = Leaders::new(layout);
    even_out(&sites, &mut leaders);
}

struct Leaders<'l, 'a> {
    layout: &'l mut Layout<'a>,
    /// By site: how many partitions it is the preferred leader of.
    loads: Vec<usize>,
    /// By site: those of them that can have another one.
    led: Vec<Vec<PartId>>,
    /// By topic and site, how many of that topic.
    in_topic: Vec<usize>,
}

impl<'l, 'a> Leaders<'l, 'a> {
    fn new(layout: &'l mut Layout<'a>) -> Self {
        let sites = layout.sites.len();
        let topics = layout.part_ids().last().map_or(0, |last| layout.facts(last).topic.0 + 1);
        let in_topic = vec![0; topics.saturating_mul(sites)];
        let mut leaders = Self { layout, loads: vec![0; sites], led: vec![Vec::new(); sites], in_topic };
        for id in leaders.layout.part_ids() {
            if let Some(first) = leaders.layout.part(id).sites.first().copied() {
                leaders.count_in(id, first);
            }
        }
        leaders
    }

    fn slot(&self, part: PartId, site: SiteId) -> usize {
        self.layout.facts(part).topic.0 * self.loads.len() + site.0
    }

    fn count_in(&mut self, part: PartId, site: SiteId) {
        let slot = self.slot(part, site);
        self.in_topic[slot] += 1;
        self.loads[site.0] += 1;
        if self.layout.part(part).is_movable() {
            self.led[site.0].push(part);
        }
    }

    fn count_out(&mut self, part: PartId, site: SiteId) {
        let slot = self.slot(part, site);
        self.in_topic[slot] = self.in_topic[slot].saturating_sub(1);
        self.loads[site.0] = self.loads[site.0].saturating_sub(1);
        self.led[site.0].retain(|led| *led != part);
    }

    fn fitting(&self, from: SiteId, to: SiteId) -> impl Iterator<Item = PartId> {
        let can_lead = move |id: &PartId| self.layout.part(*id).sites.contains(&to);
        self.led[from.0].iter().copied().filter(can_lead)
    }
}

impl Exchange for Leaders<'_, '_> {
    fn load(&self, site: SiteId) -> usize {
        self.loads[site.0]
    }

    fn any(&self, from: SiteId, to: SiteId) -> bool {
        self.fitting(from, to).next().is_some()
    }

    fn best(&self, from: SiteId, to: SiteId) -> Option<PartId> {
        let rank = |id: &PartId| {
            let (here, there) = (self.in_topic[self.slot(*id, from)], self.in_topic[self.slot(*id, to)]);
            let more = Reverse(here.saturating_sub(there));
            (!self.layout.facts(*id).is_moving, more, there.saturating_sub(here), *id)
        };
        self.fitting(from, to).min_by_key(rank)
    }

    fn shift(&mut self, part: PartId, from: SiteId, to: SiteId) {
        self.layout.part_mut(part).lead_by(to);
        self.count_out(part, from);
        self.count_in(part, to);
    }
}

use std::{
    cmp::Reverse,
    collections::{BTreeMap, VecDeque},
    mem::take,
};

use super::{pairs::Pairs, part::PartId, site::SiteId};

/// Sites that bear loads, and parts that take a load of one from a site to another.
pub(super) trait Exchange {
    fn load(&self, site: SiteId) -> usize;
    /// Whether any part can go from one to the other.
    fn any(&self, from: SiteId, to: SiteId) -> bool;
    /// The part that goes best.
    fn best(&self, from: SiteId, to: SiteId) -> Option<PartId>;
    fn shift(&mut self, part: PartId, from: SiteId, to: SiteId);
}

/// From one site to the next.
type Link = (SiteId, SiteId);

/// Shifts loads from the sites that have the most to those that have the fewest, over others where no part can go directly, until
/// no two sites that parts can go between differ by more than one. Each chain of shifts lowers the sum of the squares of the
/// loads, so this ends. (Where each part's sites are the base of a matroid, as with racks, no smaller sum can be reached:
/// shortest augmenting paths, as in matroid intersection.)
pub(super) fn even_out(sites: &[SiteId], exchange: &mut impl Exchange) {
    let width = sites.iter().map(|s| s.0 + 1).max().unwrap_or(0);
    let mut search = Search { sites, blocked: Pairs::new(width), closed: vec![false; width] };
    let mut is_fresh = true;
    loop {
        match search.chain(exchange) {
            Some(chain) => is_fresh &= !search.follow(&chain, exchange),
            None if is_fresh => return,
            None => {
                // What was blocked may not be any more.
                search.blocked.clear();
                is_fresh = true;
            }
        }
    }
}

struct Search<'a> {
    sites: &'a [SiteId],
    blocked: Pairs,
    /// Nothing with a much lower load can be reached from there.
    closed: Vec<bool>,
}

impl Search<'_> {
    /// The shortest way from a site to one that has at least two less.
    fn chain(&mut self, exchange: &impl Exchange) -> Option<Vec<Link>> {
        let mut sites = self.sites.to_vec();
        sites.sort_by_key(|s| (Reverse(exchange.load(*s)), *s));
        let least = exchange.load(*sites.last()?);
        self.closed.fill(false);
        for from in &sites {
            if exchange.load(*from) < least.saturating_add(2) {
                return None;
            }
            if !self.closed[from.0]
                && let Some(chain) = self.chain_from(*from, &sites, exchange)
            {
                return Some(chain);
            }
        }
        None
    }

    /// What is closed was reached from a site with a load no lower, and in vain.
    fn chain_from(&mut self, start: SiteId, sites: &[SiteId], exchange: &impl Exchange) -> Option<Vec<Link>> {
        let goal = exchange.load(start).checked_sub(2)?;
        self.closed[start.0] = true;
        let mut open: Vec<SiteId> = sites.iter().rev().copied().filter(|s| !self.closed[s.0]).collect();
        let mut came_from: BTreeMap<SiteId, SiteId> = BTreeMap::new();
        let mut reached = VecDeque::from([start]);
        while let Some(at) = reached.pop_front() {
            for to in take(&mut open) {
                if !self.is_link(at, to, exchange) {
                    open.push(to);
                    continue;
                }
                came_from.insert(to, at);
                if exchange.load(to) <= goal {
                    return Some(way(&came_from, to));
                }
                self.closed[to.0] = true;
                reached.push_back(to);
            }
        }
        None
    }

    fn is_link(&mut self, from: SiteId, to: SiteId, exchange: &impl Exchange) -> bool {
        if self.blocked.contains(from, to) {
            return false;
        }
        let any = exchange.any(from, to);
        if !any {
            self.blocked.mark(from, to);
        }
        any
    }

    /// Shifts along the chain, from its end so that no site has more in between; all of it or nothing.
    fn follow(&mut self, chain: &[Link], exchange: &mut impl Exchange) -> bool {
        let mut done = Vec::with_capacity(chain.len());
        for (from, to) in chain {
            let Some(part) = exchange.best(*from, *to) else {
                self.blocked.mark(*from, *to);
                done.iter().rev().for_each(|(part, from, to)| exchange.shift(*part, *to, *from));
                return false;
            };
            exchange.shift(part, *from, *to);
            done.push((part, *from, *to));
        }
        true
    }
}

/// The links that lead to the site, the last one first.
fn way(came_from: &BTreeMap<SiteId, SiteId>, to: SiteId) -> Vec<Link> {
    let mut links = Vec::new();
    let mut at = to;
    while let Some(from) = came_from.get(&at) {
        links.push((*from, at));
        at = *from;
    }
    links
}

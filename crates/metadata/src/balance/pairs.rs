use super::site::SiteId;

/// Pairs of sites between which nothing can move.
pub(super) struct Pairs {
    sites: usize,
    marked: Vec<bool>,
}

impl Pairs {
    pub(super) fn new(sites: usize) -> Self {
        Self { sites, marked: vec![false; sites.saturating_mul(sites)] }
    }

    pub(super) fn contains(&self, from: SiteId, to: SiteId) -> bool {
        self.marked[from.0 * self.sites + to.0]
    }

    pub(super) fn mark(&mut self, from: SiteId, to: SiteId) {
        self.marked[from.0 * self.sites + to.0] = true;
    }

    pub(super) fn clear(&mut self) {
        self.marked.fill(false);
    }

    /// Forgets the pairs that the site is in.
    pub(super) fn forget(&mut self, site: SiteId) {
        for other in (0..self.sites).map(SiteId) {
            self.marked[site.0 * self.sites + other.0] = false;
            self.marked[other.0 * self.sites + site.0] = false;
        }
    }
}

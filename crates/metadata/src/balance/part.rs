use domain::PartitionIndex;

use super::{Why, site::SiteId};
use crate::{Partition, Topic};

/// A partition, by its place in the layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PartId(pub(super) usize);

/// A topic, by its place in the layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TopicPlace(pub(super) usize);

/// A partition with its replicas where the plan puts them.
#[derive(Clone, Debug)]
pub(super) struct Part<'a> {
    pub(super) topic: &'a Topic,
    pub(super) number: PartitionIndex,
    pub(super) partition: &'a Partition,
    pub(super) sites: Vec<SiteId>,
    /// Where they were, once that is another place or order.
    pub(super) before: Option<Vec<SiteId>>,
    /// Those of `before` that lose their replica.
    pub(super) left: Vec<Departure>,
}

/// What is asked of parts by the million, close together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub(super) topic: TopicPlace,
    /// Of one replica.
    pub(super) bytes: u64,
    /// A replica of it moves, in this round of planning or in one before.
    pub(super) is_moving: bool,
}

/// A replica that leaves where it was.
#[derive(Clone, Copy, Debug)]
pub(super) struct Departure {
    pub(super) site: SiteId,
    pub(super) why: Why,
    /// Among all departures.
    pub(super) number: usize,
}

impl Part<'_> {
    /// What is under way is finished first, and without a leader there is nobody to copy from.
    pub(super) fn is_movable(&self) -> bool {
        !self.partition.is_reassigning() && self.partition.leader.is_some()
    }

    pub(super) fn is_changed(&self) -> bool {
        self.before.is_some()
    }

    /// The plan put its replica there: that it goes elsewhere instead costs nothing more.
    pub(super) fn is_new_at(&self, site: SiteId) -> bool {
        self.before.as_ref().is_some_and(|before| !before.contains(&site))
    }

    /// Where its replicas are today.
    pub(super) fn sites_today(&self) -> &[SiteId] {
        self.before.as_deref().unwrap_or(&self.sites)
    }

    /// Another replica in the place of one.
    pub(super) fn replace(&mut self, from: SiteId, to: SiteId, why: Why, number: usize) {
        let before = self.before.get_or_insert_with(|| self.sites.clone());
        self.sites.iter_mut().filter(|site| **site == from).for_each(|site| *site = to);
        if before.contains(&from) {
            self.left.push(Departure { site: from, why, number });
        }
        self.left.retain(|departure| departure.site != to);
        if self.left.is_empty() {
            // All are back.
            self.sites = self.before.take().unwrap_or_default();
        }
    }

    /// Another preferred leader; the others keep their order.
    pub(super) fn lead_by(&mut self, site: SiteId) {
        let Some(place) = self.sites.iter().position(|s| *s == site) else { return };
        let before = self.before.get_or_insert_with(|| self.sites.clone());
        self.sites[..=place].rotate_right(1);
        if *before == self.sites {
            self.before = None;
        }
    }
}

use std::collections::BTreeMap;

use domain::TopicId;

use crate::Topics;

/// The topics that any group of this coordinator has offsets of, so that a change of the metadata need not ask every
/// group.
///
/// A name alone is not enough: a topic may be deleted and another one made under its name at any time, also while the
/// log takes no tombstones, or while no coordinator is there to see it. So every committed offset says of which it is.
#[derive(Debug, Default)]
pub(crate) struct TopicIndex {
    seen: BTreeMap<String, BTreeMap<CommittedId, Seen>>,
    /// Whether the metadata here is not behind the log that was loaded. Until then a topic that this node never saw is
    /// not a deleted one.
    is_current: bool,
    /// Whether the log was read to its end: what is committed from then on was checked against the metadata here.
    is_loaded: bool,
}

/// The id that committed offsets have; none in records of before Kafka 4.1, and in those with an expiry of their own.
pub(crate) type CommittedId = Option<TopicId>;

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    offsets: usize,
    /// As which topic this node knows, or knew, it.
    here: Option<TopicId>,
}

impl Seen {
    /// Looks what topic has the name `now`.
    fn look(&mut self, committed: CommittedId, now: Option<TopicId>) {
        if self.here.is_none() && (committed.is_none() || committed == now) {
            self.here = now;
        }
    }

    fn is_gone(&self, now: Option<TopicId>, is_current: bool) -> bool {
        match self.here {
            Some(here) => now != Some(here),
            None => is_current,
        }
    }
}

impl TopicIndex {
    /// An offset of `topic` was there or not, and is or is not.
    pub(crate) fn replaced(&mut self, topic: &str, old: Option<CommittedId>, new: Option<CommittedId>) {
        if old == new {
            return;
        }
        if let Some(id) = new {
            let seen = self.seen.entry(topic.to_owned()).or_default().entry(id).or_default();
            seen.offsets += 1;
            seen.here = seen.here.or(id.filter(|_| self.is_loaded));
        }
        let Some((id, ids)) = old.and_then(|id| Some((id, self.seen.get_mut(topic)?))) else { return };
        let Some(seen) = ids.get_mut(&id) else { return };
        seen.offsets = seen.offsets.saturating_sub(1);
        if seen.offsets == 0 {
            ids.remove(&id);
        }
        if ids.is_empty() {
            self.seen.remove(topic);
        }
    }

    /// Looks at the metadata; the topics that are gone, or others under the same name by now. They are named again until
    /// no group has offsets of them.
    pub(crate) fn look(&mut self, topics: &dyn Topics) -> Vec<(String, CommittedId)> {
        let mut gone = Vec::new();
        for (topic, ids) in &mut self.seen {
            let now = topics.by_name(topic).map(|(id, _)| id);
            for (id, seen) in ids {
                seen.look(*id, now);
                if seen.is_gone(now, self.is_current) {
                    gone.push((topic.clone(), *id));
                }
            }
        }
        gone
    }

    /// Whether offsets that were committed under this id are of a topic that is there no more.
    pub(crate) fn is_gone(&self, topic: &str, id: CommittedId, topics: &dyn Topics) -> bool {
        let Some(mut seen) = self.seen.get(topic).and_then(|ids| ids.get(&id)).copied() else { return false };
        let now = topics.by_name(topic).map(|(id, _)| id);
        seen.look(id, now);
        seen.is_gone(now, self.is_current)
    }

    /// The log was read to its end.
    pub(crate) fn loaded(&mut self, topics: &dyn Topics) {
        self.is_loaded = true;
        self.look(topics);
    }

    /// From now on the metadata holds all topics that any offset here was committed under, but for those that are deleted.
    pub(crate) fn is_current_now(&mut self) {
        self.is_current = true;
    }
}

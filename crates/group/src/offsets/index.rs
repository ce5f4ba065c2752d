use std::collections::BTreeMap;

use domain::TopicId;

use crate::Topics;

/// The topics that any group of this coordinator has offsets of, so that a change of the metadata need not ask every
/// group.
#[derive(Debug, Default)]
pub(crate) struct TopicIndex(BTreeMap<String, Seen>);

#[derive(Debug, Default)]
struct Seen {
    groups: usize,
    /// Under which id this node knows the topic. A node's metadata may be behind the log that it loads: a topic that it
    /// never saw is not a deleted one.
    id: Option<TopicId>,
}

impl TopicIndex {
    pub(crate) fn gained(&mut self, topic: &str) {
        match self.0.get_mut(topic) {
            Some(seen) => seen.groups += 1,
            None => drop(self.0.insert(topic.to_owned(), Seen { groups: 1, id: None })),
        }
    }

    pub(crate) fn lost(&mut self, topic: &str) {
        let Some(seen) = self.0.get_mut(topic) else { return };
        seen.groups = seen.groups.saturating_sub(1);
        if seen.groups == 0 {
            self.0.remove(topic);
        }
    }

    /// Looks at the metadata; the topics that were there before and are gone, or others under the same name. They are
    /// named again until no group has offsets of them.
    pub(crate) fn look(&mut self, topics: &dyn Topics) -> Vec<String> {
        let mut gone = Vec::new();
        self.0.retain(|_, seen| seen.groups > 0);
        for (topic, seen) in &mut self.0 {
            let now = topics.by_name(topic).map(|(id, _)| id);
            match seen.id {
                None => seen.id = now,
                Some(id) if now == Some(id) => {}
                Some(_) => gone.push(topic.clone()),
            }
        }
        gone
    }

    /// A commit was checked against this topic.
    pub(crate) fn saw(&mut self, topic: &str, id: TopicId) {
        // Its record comes a moment later, or never.
        self.0.entry(topic.to_owned()).or_default().id.get_or_insert(id);
    }
}

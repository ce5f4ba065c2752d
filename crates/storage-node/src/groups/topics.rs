use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use domain::{TopicId, TopicName};
use group::OFFSETS_TOPIC;
use metadata::{Delta, Image, Topic};
use parking_lot::Mutex;

/// Counts the changes that matter to groups: topics that come, go and grow, and not who leads what.
#[derive(Default)]
pub(super) struct KnownTopics {
    version: AtomicU64,
    known: Mutex<BTreeMap<TopicName, (TopicId, usize)>>,
}

impl KnownTopics {
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::SeqCst)
    }

    pub(super) fn follow(&self, image: &Image, delta: &Delta) {
        let mut known = self.known.lock();
        let size = |topic: &Topic| (topic.id, topic.partitions.len());
        let mut changed = false;
        if delta.snapshot {
            let all = image.topics.values().map(|t| (t.name.clone(), size(t))).collect();
            changed = *known != all;
            *known = all;
        } else {
            for (id, name) in &delta.deleted {
                if known.get(name).is_some_and(|(had, _)| had == id) {
                    known.remove(name);
                    changed = true;
                }
            }
            for topic in delta.topics.iter().filter_map(|t| image.topics.get(&t.name)) {
                changed |= known.insert(topic.name.clone(), size(topic)) != Some(size(topic));
            }
        }
        if changed {
            self.version.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// The topics of one image, as the groups see them.
pub(super) struct ImageTopics {
    pub(super) image: Arc<Image>,
    pub(super) version: u64,
}

impl group::Topics for ImageTopics {
    fn by_name(&self, name: &str) -> Option<(TopicId, i32)> {
        let topic = self.image.topics.get(name)?;
        Some((topic.id, i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX)))
    }

    fn by_id(&self, id: TopicId) -> Option<(TopicName, i32)> {
        let topic = self.image.topic_by_id(id)?;
        Some((topic.name.clone(), i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX)))
    }

    fn names(&self) -> Vec<TopicName> {
        self.image.topics.keys().filter(|name| name.as_str() != OFFSETS_TOPIC).cloned().collect()
    }

    fn version(&self) -> u64 {
        self.version
    }
}

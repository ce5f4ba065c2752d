//! How far groups have read.

mod commit;
mod delete;
mod expire;
mod fetch;
mod index;

pub(crate) use self::{
    commit::asks_for_retention,
    fetch::fetch,
    index::{CommittedId, TopicIndex},
};

use std::collections::BTreeMap;

use domain::{PartitionIndex, TopicId};
use wire::WireTopicName;

use crate::{CommittedOffset, Topics};

/// The committed offsets of one group, by topic. No topic in it is without partitions.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Offsets(BTreeMap<String, BTreeMap<PartitionIndex, CommittedOffset>>);

impl Offsets {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.values().map(BTreeMap::len).sum()
    }

    pub(crate) fn has_topic(&self, topic: &str) -> bool {
        self.0.contains_key(topic)
    }

    pub(crate) fn get(&self, topic: &str, partition: PartitionIndex) -> Option<&CommittedOffset> {
        self.0.get(topic)?.get(&partition)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &BTreeMap<PartitionIndex, CommittedOffset>)> {
        self.0.iter()
    }

    pub(crate) fn partitions(&self, topic: &str) -> impl Iterator<Item = (PartitionIndex, &CommittedOffset)> {
        self.0.get(topic).into_iter().flatten().map(|(partition, committed)| (*partition, committed))
    }

    pub(crate) fn replay(
        &mut self,
        topic: String,
        partition: PartitionIndex,
        value: Option<CommittedOffset>,
    ) {
        match value {
            Some(value) => drop(self.0.entry(topic).or_default().insert(partition, value)),
            None => {
                let Some(partitions) = self.0.get_mut(&topic) else { return };
                partitions.remove(&partition);
                if partitions.is_empty() {
                    self.0.remove(&topic);
                }
            }
        }
    }
}

/// Topics are named, or in the newest versions have their id instead.
fn name_of(name: &WireTopicName, id: uuid::Uuid, topics: &dyn Topics) -> Option<String> {
    match name.is_empty() && !id.is_nil() {
        true => topics.by_id(TopicId(id)).map(|(name, _)| name.as_str().to_owned()),
        false => Some(name.to_string()),
    }
}

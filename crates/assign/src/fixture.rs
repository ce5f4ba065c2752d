//! Groups and assignments in few words, for tests.

use std::collections::BTreeMap;

use domain::{PartitionIndex, TopicId};

use crate::{Partitions, Subscription};

pub(crate) fn topic(number: u128) -> TopicId {
    TopicId(uuid::Uuid::from_u128(number))
}

pub(crate) fn topics<const N: usize>(counts: [(u128, i32); N]) -> BTreeMap<TopicId, i32> {
    counts.into_iter().map(|(number, count)| (topic(number), count)).collect()
}

pub(crate) fn partitions<const N: usize>(topics: [(u128, &[i32]); N]) -> Partitions {
    topics
        .into_iter()
        .map(|(number, indexes)| {
            (topic(number), indexes.iter().map(|index| PartitionIndex(*index)).collect())
        })
        .collect()
}

/// Members without a past, each with the topics that it subscribes to.
pub(crate) fn members<const N: usize>(members: [(&str, &[u128]); N]) -> BTreeMap<String, Subscription> {
    members
        .into_iter()
        .map(|(id, topics)| {
            let topics = topics.iter().map(|number| topic(*number)).collect();
            (id.to_owned(), Subscription { topics, ..Subscription::default() })
        })
        .collect()
}

use std::collections::{BTreeMap, HashMap};

use ::metadata::Image;
use domain::TopicId;
use wire::{
    ResponseError, WireTopicName,
    messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic},
};

use crate::kafka::{topic_of, unknown, way, wire_name};

/// A partition as a client names it: what it is called and its number.
pub(super) type Key = (WireTopicName, i32);

/// What a client wants, by who has it.
pub(super) struct Plan {
    pub(super) by_leader: BTreeMap<String, Vec<FetchTopic>>,
    /// What nobody can be asked for.
    pub(super) refused: HashMap<Key, ResponseError>,
    /// Names of topics that the client asked for by id.
    pub(super) names: HashMap<TopicId, WireTopicName>,
}

impl Plan {
    pub(super) fn new(image: &Image, request: &FetchRequest) -> Self {
        let mut plan = Self { by_leader: BTreeMap::new(), refused: HashMap::new(), names: HashMap::new() };
        for asked in &request.topics {
            let topic = topic_of(image, &asked.topic, asked.topic_id);
            let name = topic.map_or_else(|| asked.topic.clone(), |topic| wire_name(&topic.name));
            if !asked.topic_id.is_nil() {
                plan.names.insert(TopicId(asked.topic_id), name.clone());
            }
            for partition in &asked.partitions {
                let number = partition.partition;
                let way = topic.ok_or_else(|| unknown(asked.topic_id)).and_then(|t| way(image, t, number));
                match way {
                    Ok((_, route)) => plan.add(route.address, &name, partition),
                    Err(code) => {
                        plan.refused.insert((name.clone(), number), code);
                    }
                }
            }
        }
        plan
    }

    fn add(&mut self, leader: String, name: &WireTopicName, partition: &FetchPartition) {
        let topics = self.by_leader.entry(leader).or_default();
        if topics.last().is_none_or(|last| last.topic != *name) {
            topics.push(FetchTopic::default().with_topic(name.clone()));
        }
        // Only what a consumer may say; a client is no replica.
        let partition = FetchPartition::default()
            .with_partition(partition.partition)
            .with_current_leader_epoch(partition.current_leader_epoch)
            .with_fetch_offset(partition.fetch_offset)
            .with_last_fetched_epoch(partition.last_fetched_epoch)
            .with_partition_max_bytes(partition.partition_max_bytes);
        if let Some(last) = topics.last_mut() {
            last.partitions.push(partition);
        }
    }
}

/// Whether both ask for the same partitions from the same offsets, in whatever order: clients take turns with who is first.
pub(super) fn same(a: &[FetchTopic], b: &[FetchTopic]) -> bool {
    let sorted = |topics: &[FetchTopic]| {
        let mut all: Vec<_> = topics.iter().flat_map(|t| t.partitions.iter().map(|p| wanted(t, p))).collect();
        all.sort_unstable();
        all
    };
    let count = |topics: &[FetchTopic]| topics.iter().map(|t| t.partitions.len()).sum::<usize>();
    a == b || (count(a) == count(b) && sorted(a) == sorted(b))
}

fn wanted(topic: &FetchTopic, partition: &FetchPartition) -> (WireTopicName, i32, i64, i32, i32, i32) {
    (
        topic.topic.clone(),
        partition.partition,
        partition.fetch_offset,
        partition.current_leader_epoch,
        partition.last_fetched_epoch,
        partition.partition_max_bytes,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fixture, kafka::text};

    fn partition(number: i32, offset: i64) -> FetchPartition {
        FetchPartition::default().with_partition(number).with_fetch_offset(offset)
    }

    fn topic(name: &str, partitions: Vec<FetchPartition>) -> FetchTopic {
        FetchTopic::default().with_topic(WireTopicName(text(name))).with_partitions(partitions)
    }

    #[test]
    fn each_leader_is_asked_for_its_own() {
        let image = fixture::image();
        let orders = (0..4).map(|n| partition(n, 7)).collect();
        let request = FetchRequest::default()
            .with_topics(vec![topic("orders", orders), topic("gone", vec![partition(0, 0)])]);
        let plan = Plan::new(&image, &request);
        assert_eq!(plan.by_leader.len(), 2);
        let asked = plan.by_leader.values().flatten().flat_map(|t| &t.partitions);
        let mut numbers: Vec<i32> = asked.map(|p| p.partition).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [0, 1, 2, 3]);
        let gone = (WireTopicName(text("gone")), 0);
        assert_eq!(plan.refused.get(&gone), Some(&ResponseError::UnknownTopicOrPartition));
    }

    #[test]
    fn the_order_of_partitions_does_not_matter_but_offsets_do() {
        let one = [topic("a", vec![partition(0, 5), partition(1, 6)])];
        let turned = [topic("a", vec![partition(1, 6), partition(0, 5)])];
        assert!(same(&one, &turned));
        assert!(!same(&one, &[topic("a", vec![partition(0, 5), partition(1, 7)])]));
        assert!(!same(&one, &[topic("a", vec![partition(0, 5)])]));
        assert!(!same(&one, &[topic("b", vec![partition(0, 5), partition(1, 6)])]));
    }
}

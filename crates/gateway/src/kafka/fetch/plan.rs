use std::collections::{BTreeMap, HashMap};

use ::metadata::Image;
use domain::TopicId;
use wire::{
    ResponseError, WireTopicName,
    messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic},
};

use crate::kafka::{topic_of, unknown, way, wire_name};

/// A partition of one incarnation of a topic, by its number.
pub(super) type Key = (TopicId, i32);

/// What a client wants, by who has it. Leaders are asked by topic id: one that knows a newer topic of the same name, or not
/// this one yet, says so instead of answering for another topic.
pub(super) struct Plan {
    pub(super) by_leader: BTreeMap<String, Vec<FetchTopic>>,
    /// What the request's topics are, in its order.
    pub(super) topics: Vec<Planned>,
}

/// One topic of a request.
pub(super) struct Planned {
    pub(super) name: WireTopicName,
    /// `None`: there is no such topic.
    pub(super) id: Option<TopicId>,
    /// The partitions that nobody can be asked for.
    pub(super) refused: HashMap<i32, ResponseError>,
}

impl Plan {
    pub(super) fn new(image: &Image, request: &FetchRequest) -> Self {
        let mut plan = Self { by_leader: BTreeMap::new(), topics: Vec::with_capacity(request.topics.len()) };
        for asked in &request.topics {
            let topic = topic_of(image, &asked.topic, asked.topic_id);
            let name = topic.map_or_else(|| asked.topic.clone(), |topic| wire_name(&topic.name));
            let mut refused = HashMap::new();
            for partition in &asked.partitions {
                let number = partition.partition;
                let way = topic.ok_or_else(|| unknown(asked.topic_id)).and_then(|t| way(image, t, number));
                match way {
                    Ok((target, route)) => plan.add(route.address, target.topic, partition),
                    Err(code) => {
                        refused.insert(number, code);
                    }
                }
            }
            plan.topics.push(Planned { name, id: topic.map(|topic| topic.id), refused });
        }
        plan
    }

    /// Whether there is something in the request that nobody can be asked for.
    pub(super) fn has_refusals(&self) -> bool {
        self.topics.iter().any(|topic| !topic.refused.is_empty())
    }

    fn add(&mut self, leader: String, topic: TopicId, partition: &FetchPartition) {
        let topics = self.by_leader.entry(leader).or_default();
        if topics.last().is_none_or(|last| last.topic_id != topic.0) {
            topics.push(FetchTopic::default().with_topic_id(topic.0));
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

fn wanted(topic: &FetchTopic, partition: &FetchPartition) -> (Key, i64, i32, i32, i32) {
    (
        (TopicId(topic.topic_id), partition.partition),
        partition.fetch_offset,
        partition.current_leader_epoch,
        partition.last_fetched_epoch,
        partition.partition_max_bytes,
    )
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

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
        assert_eq!(plan.topics[1].refused.get(&0), Some(&ResponseError::UnknownTopicOrPartition));
        assert!(plan.has_refusals());
    }

    #[test]
    fn the_order_of_partitions_does_not_matter_but_offsets_and_incarnations_do() {
        let of = |id: u128, partitions: Vec<FetchPartition>| {
            [FetchTopic::default().with_topic_id(Uuid::from_u128(id)).with_partitions(partitions)]
        };
        let one = of(1, vec![partition(0, 5), partition(1, 6)]);
        assert!(same(&one, &of(1, vec![partition(1, 6), partition(0, 5)])));
        assert!(!same(&one, &of(1, vec![partition(0, 5), partition(1, 7)])));
        assert!(!same(&one, &of(1, vec![partition(0, 5)])));
        assert!(!same(&one, &of(2, vec![partition(0, 5), partition(1, 6)])));
    }
}

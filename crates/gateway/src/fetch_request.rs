use std::time::Duration;

use domain::{LeaderEpoch, Offset, PartitionIndex, TopicId, TopicName};
use wire::{
    StrBytes, WireTopicName,
    messages::{
        FetchRequest,
        fetch_request::{FetchPartition, FetchTopic},
    },
};

/// A partition to fetch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part<'a> {
    pub(crate) topic: TopicId,
    pub(crate) name: &'a TopicName,
    pub(crate) partition: PartitionIndex,
    /// In which the leader that is asked leads it.
    pub(crate) leader_epoch: LeaderEpoch,
    pub(crate) offset: Offset,
}

/// A consumer's request for these, in this order, which is that in which a leader fills its answer.
pub(crate) fn fetch_request<'a>(
    parts: impl IntoIterator<Item = Part<'a>>,
    wait: Duration,
    bytes_min: i32,
    bytes_max: usize,
) -> FetchRequest {
    let bytes_max = i32::try_from(bytes_max).unwrap_or(i32::MAX);
    let mut topics: Vec<FetchTopic> = Vec::new();
    for part in parts {
        let partition = FetchPartition::default()
            .with_partition(part.partition.0)
            .with_current_leader_epoch(part.leader_epoch.0)
            .with_fetch_offset(part.offset.0)
            .with_partition_max_bytes(bytes_max);
        match topics.last_mut().filter(|topic| topic.topic_id == part.topic.0) {
            Some(topic) => topic.partitions.push(partition),
            // Old versions name the topic, new ones its id.
            None => topics.push(
                FetchTopic::default()
                    .with_topic(WireTopicName(StrBytes::from_string(part.name.to_string())))
                    .with_topic_id(part.topic.0)
                    .with_partitions(vec![partition]),
            ),
        }
    }
    FetchRequest::default()
        .with_max_wait_ms(i32::try_from(wait.as_millis()).unwrap_or(i32::MAX))
        .with_min_bytes(bytes_min.max(1))
        .with_max_bytes(bytes_max)
        .with_topics(topics)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn partitions_keep_their_order_and_share_a_topic_while_it_stays_the_same() {
        let name = TopicName::new("t").unwrap();
        let part = |topic, partition| Part {
            topic: TopicId(Uuid::from_u128(topic)),
            name: &name,
            partition: PartitionIndex(partition),
            leader_epoch: LeaderEpoch(0),
            offset: Offset(0),
        };
        let request = fetch_request([part(1, 5), part(1, 2), part(2, 0), part(1, 7)], Duration::ZERO, 0, 9);
        let of = |topic: &FetchTopic| topic.partitions.iter().map(|p| p.partition).collect::<Vec<_>>();
        assert_eq!(request.topics.iter().map(of).collect::<Vec<_>>(), [vec![5, 2], vec![0], vec![7]]);
        assert_eq!((request.min_bytes, request.max_bytes), (1, 9));
    }
}

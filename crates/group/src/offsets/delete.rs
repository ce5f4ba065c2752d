use domain::PartitionIndex;
use wire::{
    ResponseError,
    messages::{
        OffsetDeleteRequest, OffsetDeleteResponse,
        offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic},
    },
};

use super::CommittedId;
use crate::{Entry, group::Group, turn::Turn};

impl Group {
    /// Forgets single offsets, of topics that no member subscribes to.
    pub(crate) fn delete_offsets(
        &self,
        turn: &mut Turn<'_>,
        request: &OffsetDeleteRequest,
    ) -> OffsetDeleteResponse {
        let subscribed = match self.subscribed(turn) {
            Ok(subscribed) => subscribed,
            Err(error) => return OffsetDeleteResponse::default().with_error_code(error.code()),
        };
        let topics = request.topics.iter().map(|topic| {
            let name = topic.name.as_str();
            let refused = match subscribed.contains(name) {
                true => Some(ResponseError::GroupSubscribedToTopic),
                false if turn.topics.by_name(name).is_none() && !self.offsets.has_topic(name) => {
                    Some(ResponseError::UnknownTopicOrPartition)
                }
                false => None,
            };
            let partitions = topic.partitions.iter().map(|partition| {
                if refused.is_none() {
                    self.forget(turn, name, PartitionIndex(partition.partition_index));
                }
                OffsetDeleteResponsePartition::default()
                    .with_partition_index(partition.partition_index)
                    .with_error_code(refused.map_or(0, |error| error.code()))
            });
            OffsetDeleteResponseTopic::default()
                .with_name(topic.name.clone())
                .with_partitions(partitions.collect())
        });
        OffsetDeleteResponse::default().with_topics(topics.collect())
    }

    pub(crate) fn forget(&self, turn: &mut Turn<'_>, topic: &str, partition: PartitionIndex) {
        if self.offsets.get(topic, partition).is_some() {
            let (group, topic) = (turn.group.to_owned(), topic.to_owned());
            turn.record(Entry::OffsetCommit { group, topic, partition, value: None });
        }
    }

    /// Forgets what was committed while the topic had this id.
    pub(crate) fn forget_topic(&self, turn: &mut Turn<'_>, topic: &str, id: CommittedId) {
        let of_it = self.offsets.partitions(topic).filter(|(_, committed)| committed.topic_id == id);
        of_it.for_each(|(partition, _)| self.forget(turn, topic, partition));
    }

    /// Forgets all offsets, and the group with them.
    pub(crate) fn forget_all(&self, turn: &mut Turn<'_>) {
        for (topic, partitions) in self.offsets.iter() {
            partitions.keys().for_each(|partition| self.forget(turn, topic, *partition));
        }
        self.forget_group(turn);
    }
}

use wire::{
    BrokerId, ResponseError,
    messages::{
        OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
        offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic},
        offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult},
    },
};

use super::{by_leader::ByLeader, split::ByTopic};

const UNDEFINED: i32 = -1;

impl ByLeader for OffsetForLeaderEpochRequest {
    type Asked = OffsetForLeaderPartition;
    type Answered = EpochEndOffset;

    fn take_apart(&mut self) -> ByTopic<Self::Asked> {
        // A client has no replica id, whatever it says.
        self.replica_id = BrokerId(-1);
        std::mem::take(&mut self.topics).into_iter().map(|t| (t.topic, t.partitions)).collect()
    }

    fn about(&self, topics: ByTopic<Self::Asked>) -> Self {
        let topic =
            |(name, partitions)| OffsetForLeaderTopic::default().with_topic(name).with_partitions(partitions);
        self.clone().with_topics(topics.into_iter().map(topic).collect())
    }

    fn answers(response: OffsetForLeaderEpochResponse) -> ByTopic<Self::Answered> {
        response.topics.into_iter().map(|t| (t.topic, t.partitions)).collect()
    }

    fn response(topics: ByTopic<Self::Answered>) -> OffsetForLeaderEpochResponse {
        let topic = |(name, partitions)| {
            OffsetForLeaderTopicResult::default().with_topic(name).with_partitions(partitions)
        };
        OffsetForLeaderEpochResponse::default().with_topics(topics.into_iter().map(topic).collect())
    }

    fn number(asked: &Self::Asked) -> i32 {
        asked.partition
    }

    fn answered(answered: &Self::Answered) -> (i32, i16) {
        (answered.partition, answered.error_code)
    }

    fn refused(asked: &Self::Asked, code: ResponseError) -> Self::Answered {
        EpochEndOffset::default()
            .with_partition(asked.partition)
            .with_error_code(code.code())
            .with_leader_epoch(UNDEFINED)
            .with_end_offset(UNDEFINED.into())
    }
}

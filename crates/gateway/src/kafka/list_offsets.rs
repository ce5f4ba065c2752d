use wire::{
    BrokerId, ResponseError,
    messages::{
        ListOffsetsRequest, ListOffsetsResponse,
        list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
        list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse},
    },
};

use super::{by_leader::ByLeader, split::ByTopic};

const NONE: i64 = -1;

impl ByLeader for ListOffsetsRequest {
    type Asked = ListOffsetsPartition;
    type Answered = ListOffsetsPartitionResponse;

    fn take_apart(&mut self) -> ByTopic<Self::Asked> {
        // A client has no replica id, whatever it says.
        self.replica_id = BrokerId(-1);
        std::mem::take(&mut self.topics).into_iter().map(|t| (t.name, t.partitions)).collect()
    }

    fn about(&self, topics: ByTopic<Self::Asked>) -> Self {
        let topic =
            |(name, partitions)| ListOffsetsTopic::default().with_name(name).with_partitions(partitions);
        self.clone().with_topics(topics.into_iter().map(topic).collect())
    }

    fn answers(response: ListOffsetsResponse) -> ByTopic<Self::Answered> {
        response.topics.into_iter().map(|t| (t.name, t.partitions)).collect()
    }

    fn response(topics: ByTopic<Self::Answered>) -> ListOffsetsResponse {
        let topic = |(name, partitions)| {
            ListOffsetsTopicResponse::default().with_name(name).with_partitions(partitions)
        };
        ListOffsetsResponse::default().with_topics(topics.into_iter().map(topic).collect())
    }

    fn number(asked: &Self::Asked) -> i32 {
        asked.partition_index
    }

    fn answered(answered: &Self::Answered) -> (i32, i16) {
        (answered.partition_index, answered.error_code)
    }

    fn refused(asked: &Self::Asked, code: ResponseError) -> Self::Answered {
        ListOffsetsPartitionResponse::default()
            .with_partition_index(asked.partition_index)
            .with_error_code(code.code())
            .with_timestamp(NONE)
            .with_offset(NONE)
    }
}

use std::time::Duration;

use wire::{
    ResponseError,
    messages::{
        DeleteRecordsRequest, DeleteRecordsResponse,
        delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
        delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult},
    },
};

use super::{admin::patience, by_leader::ByLeader, split::ByTopic};

const UNKNOWN: i64 = -1;

/// It changes something, but twice is the same as once.
impl ByLeader for DeleteRecordsRequest {
    type Asked = DeleteRecordsPartition;
    type Answered = DeleteRecordsPartitionResult;

    fn waits(&self) -> Duration {
        patience(self.timeout_ms)
    }

    fn take_apart(&mut self) -> ByTopic<Self::Asked> {
        std::mem::take(&mut self.topics).into_iter().map(|t| (t.name, t.partitions)).collect()
    }

    fn about(&self, topics: ByTopic<Self::Asked>) -> Self {
        let topic =
            |(name, partitions)| DeleteRecordsTopic::default().with_name(name).with_partitions(partitions);
        self.clone().with_topics(topics.into_iter().map(topic).collect())
    }

    fn answers(response: DeleteRecordsResponse) -> ByTopic<Self::Answered> {
        response.topics.into_iter().map(|t| (t.name, t.partitions)).collect()
    }

    fn response(topics: ByTopic<Self::Answered>) -> DeleteRecordsResponse {
        let topic = |(name, partitions)| {
            DeleteRecordsTopicResult::default().with_name(name).with_partitions(partitions)
        };
        DeleteRecordsResponse::default().with_topics(topics.into_iter().map(topic).collect())
    }

    fn number(asked: &Self::Asked) -> i32 {
        asked.partition_index
    }

    fn answered(answered: &Self::Answered) -> (i32, i16) {
        (answered.partition_index, answered.error_code)
    }

    fn refused(asked: &Self::Asked, code: ResponseError) -> Self::Answered {
        DeleteRecordsPartitionResult::default()
            .with_partition_index(asked.partition_index)
            .with_low_watermark(UNKNOWN)
            .with_error_code(code.code())
    }
}

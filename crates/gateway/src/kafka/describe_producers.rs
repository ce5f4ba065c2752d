use wire::{
    ResponseError,
    messages::{
        DescribeProducersRequest, DescribeProducersResponse,
        describe_producers_request::TopicRequest,
        describe_producers_response::{PartitionResponse, TopicResponse},
    },
};

use super::{by_leader::ByLeader, split::ByTopic, text};

impl ByLeader for DescribeProducersRequest {
    type Asked = i32;
    type Answered = PartitionResponse;

    fn take_apart(&mut self) -> ByTopic<Self::Asked> {
        std::mem::take(&mut self.topics).into_iter().map(|t| (t.name, t.partition_indexes)).collect()
    }

    fn about(&self, topics: ByTopic<Self::Asked>) -> Self {
        let topic =
            |(name, partitions)| TopicRequest::default().with_name(name).with_partition_indexes(partitions);
        self.clone().with_topics(topics.into_iter().map(topic).collect())
    }

    fn answers(response: DescribeProducersResponse) -> ByTopic<Self::Answered> {
        response.topics.into_iter().map(|t| (t.name, t.partitions)).collect()
    }

    fn response(topics: ByTopic<Self::Answered>) -> DescribeProducersResponse {
        let topic = |(name, partitions)| TopicResponse::default().with_name(name).with_partitions(partitions);
        DescribeProducersResponse::default().with_topics(topics.into_iter().map(topic).collect())
    }

    fn number(asked: &Self::Asked) -> i32 {
        *asked
    }

    fn answered(answered: &Self::Answered) -> (i32, i16) {
        (answered.partition_index, answered.error_code)
    }

    fn refused(asked: &Self::Asked, code: ResponseError) -> Self::Answered {
        PartitionResponse::default()
            .with_partition_index(*asked)
            .with_error_code(code.code())
            .with_error_message(Some(text(code)))
    }
}

use domain::{PartitionIndex, ProducerId};
use wire::{
    ResponseError, WireTopicName,
    messages::{
        self, DescribeProducersRequest, DescribeProducersResponse,
        describe_producers_response::{PartitionResponse, ProducerState, TopicResponse},
    },
};

use crate::{
    api::{absent, text},
    broker::Broker,
};

/// There is none: no batch, no transaction, no coordinator of one.
const NONE: i32 = -1;

/// The producers that a replica's log knows (KIP-664), less the idempotency keys of REST requests, each of which has a
/// batch and is done. Any replica answers, so that an operator can compare them.
pub(crate) fn answer(broker: &Broker, request: &DescribeProducersRequest) -> DescribeProducersResponse {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partition_indexes.iter().map(|p| partition(broker, &topic.name, *p));
        TopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
    });
    DescribeProducersResponse::default().with_topics(topics.collect())
}

fn partition(broker: &Broker, topic: &WireTopicName, index: i32) -> PartitionResponse {
    let response = PartitionResponse::default().with_partition_index(index).with_error_message(None);
    let refused = |code: ResponseError, message: &str| {
        response.clone().with_error_code(code.code()).with_error_message(Some(text(message)))
    };
    let number = PartitionIndex(index);
    let Some(local) = broker.store.get(topic, number) else {
        return refused(absent(&broker.image.load(), topic, number), "this node holds no replica of it");
    };
    let producers = local.with_log(|log| {
        let producers = log.producers().iter().filter(|(id, _)| !id.is_of_key());
        producers.map(|(id, producer)| state(id, &producer)).collect()
    });
    match producers {
        Some(producers) => response.with_active_producers(producers),
        None => refused(ResponseError::KafkaStorageError, "the partition's log is offline on this node"),
    }
}

fn state(id: ProducerId, producer: &replica::ProducerState) -> ProducerState {
    let last = producer.batches().last();
    ProducerState::default()
        .with_producer_id(messages::ProducerId(id.0))
        .with_producer_epoch(i32::from(producer.epoch().0))
        .with_last_sequence(last.map_or(NONE, |batch| batch.last_sequence))
        .with_last_timestamp(last.map_or(i64::from(NONE), |batch| batch.timestamp))
        .with_coordinator_epoch(NONE)
        .with_current_txn_start_offset(NONE.into())
}

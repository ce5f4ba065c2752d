use std::sync::Arc;

use ::metadata::Image;
use domain::{Offset, PartitionIndex};
use wire::{
    ResponseError,
    messages::{
        DeleteRecordsRequest, DeleteRecordsResponse,
        delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
        delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult},
    },
};

use crate::{api::absent, broker::Broker};

/// In a request: everything that is committed. In an answer: not known.
const HIGH_WATERMARK: i64 = -1;

/// Moves the start of partitions that this node leads. Their followers are told at once and move theirs, and it is in this
/// node's checkpoint before it is answered, so that a restart does not bring back what was deleted.
pub(crate) async fn answer(
    broker: Arc<Broker>,
    request: DeleteRecordsRequest,
    _version: i16,
) -> DeleteRecordsResponse {
    let topics = tokio::task::block_in_place(|| {
        let topics: Vec<DeleteRecordsTopicResult> =
            request.topics.iter().map(|t| delete_in_topic(&broker, t)).collect();
        let moved = topics.iter().flat_map(|t| &t.partitions).any(|p| p.error_code == 0);
        if moved && let Err(error) = broker.store.write_checkpoints() {
            tracing::error!(%error, "checkpoints were not written");
        }
        topics
    });
    DeleteRecordsResponse::default().with_topics(topics)
}

fn delete_in_topic(broker: &Broker, topic: &DeleteRecordsTopic) -> DeleteRecordsTopicResult {
    let image = broker.image.load();
    let partitions = topic.partitions.iter().map(|partition| {
        let result = DeleteRecordsPartitionResult::default().with_partition_index(partition.partition_index);
        match delete(broker, &image, &topic.name, partition) {
            Ok(start) => result.with_low_watermark(start.0),
            Err(code) => result.with_low_watermark(HIGH_WATERMARK).with_error_code(code.code()),
        }
    });
    DeleteRecordsTopicResult::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
}

fn delete(
    broker: &Broker,
    image: &Image,
    topic: &str,
    asked: &DeleteRecordsPartition,
) -> Result<Offset, ResponseError> {
    let number = PartitionIndex(asked.partition_index);
    let local = broker.store.get(topic, number).ok_or_else(|| absent(image, topic, number))?;
    // What is only compacted is kept whole: the last record of each key is wanted however old it is.
    let compacted_only = |topic| !image.topic_config(topic).cleanup_policy.delete;
    if image.topics.get(topic).is_some_and(|topic| compacted_only(topic)) {
        return Err(ResponseError::PolicyViolation);
    }
    let before = (asked.offset != HIGH_WATERMARK).then_some(Offset(asked.offset));
    local.delete_before(before).map_err(|error| error.code())
}

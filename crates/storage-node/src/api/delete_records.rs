use std::{sync::Arc, time::Duration};

use ::metadata::Image;
use domain::{LeaderEpoch, Offset, PartitionIndex};
use tokio::{sync::Notify, time::Instant};
use wire::{
    ResponseError,
    messages::{
        DeleteRecordsRequest, DeleteRecordsResponse,
        delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
        delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult},
    },
};

use crate::{api::absent, broker::Broker, partition::LocalPartition};

/// How long a request may wait for followers, whatever it says.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// In a request: everything that is committed. In an answer: not known.
const HIGH_WATERMARK: i64 = -1;

/// What is deleted here, and not yet known to be everywhere.
struct Deleted {
    partition: Arc<LocalPartition>,
    epoch: LeaderEpoch,
    start: Offset,
    /// Its place in the answer.
    topic: usize,
    nth: usize,
}

/// Moves the start of partitions that this node leads. It is answered once that is in this node's checkpoint, so that a restart
/// does not bring back what was deleted, and once whoever may lead next has moved its own start as well (KIP-107).
pub(crate) async fn answer(
    broker: Arc<Broker>,
    request: DeleteRecordsRequest,
    _version: i16,
) -> DeleteRecordsResponse {
    let patience = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0)).min(WAIT_MAX);
    let deadline = Instant::now() + patience;
    let mut deleted = Vec::new();
    let mut topics = tokio::task::block_in_place(|| {
        let topics = request.topics.iter().enumerate();
        let mut topics: Vec<_> = topics.map(|(n, t)| delete_in_topic(&broker, n, t, &mut deleted)).collect();
        if !deleted.is_empty()
            && let Err(error) = broker.store.write_checkpoints()
        {
            tracing::error!(%error, "checkpoints were not written");
            for Deleted { topic, nth, .. } in deleted.drain(..) {
                refuse(&mut topics[topic].partitions[nth], ResponseError::KafkaStorageError);
            }
        }
        topics
    });
    settle(deleted, &mut topics, deadline).await;
    DeleteRecordsResponse::default().with_topics(topics)
}

/// Waits for the followers, and puts into the answer what did not come to an end.
async fn settle(mut deleted: Vec<Deleted>, topics: &mut [DeleteRecordsTopicResult], deadline: Instant) {
    let waiter = Arc::new(Notify::new());
    let mut timed_out = false;
    loop {
        deleted.iter().for_each(|d| d.partition.watch(&waiter));
        // A follower may have told it between the deletion and the watch.
        deleted.retain(|d| {
            let refused = match d.partition.low_watermark(d.epoch) {
                Ok(Some(low)) if low >= d.start => return false,
                Ok(_) if !timed_out => return true,
                Ok(_) => ResponseError::RequestTimedOut,
                Err(error) => error.code(),
            };
            refuse(&mut topics[d.topic].partitions[d.nth], refused);
            false
        });
        if deleted.is_empty() {
            return;
        }
        timed_out = tokio::time::timeout_at(deadline, waiter.notified()).await.is_err();
    }
}

fn refuse(result: &mut DeleteRecordsPartitionResult, code: ResponseError) {
    (result.low_watermark, result.error_code) = (HIGH_WATERMARK, code.code());
}

fn delete_in_topic(
    broker: &Broker,
    n: usize,
    topic: &DeleteRecordsTopic,
    deleted: &mut Vec<Deleted>,
) -> DeleteRecordsTopicResult {
    let image = broker.image.load();
    let partitions = topic.partitions.iter().enumerate().map(|(nth, asked)| {
        let result = DeleteRecordsPartitionResult::default().with_partition_index(asked.partition_index);
        match delete(broker, &image, &topic.name, asked) {
            Ok((partition, start, epoch)) => {
                deleted.push(Deleted { partition, epoch, start, topic: n, nth });
                result.with_low_watermark(start.0)
            }
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
) -> Result<(Arc<LocalPartition>, Offset, LeaderEpoch), ResponseError> {
    let number = PartitionIndex(asked.partition_index);
    let local = broker.store.get(topic, number).ok_or_else(|| absent(image, topic, number))?;
    // What is only compacted is kept whole: the last record of each key is wanted however old it is.
    let compacted_only = |topic| !image.topic_config(topic).cleanup_policy.delete;
    if image.topics.get(topic).is_some_and(|topic| compacted_only(topic)) {
        return Err(ResponseError::PolicyViolation);
    }
    let before = (asked.offset != HIGH_WATERMARK).then_some(Offset(asked.offset));
    let (start, epoch) = local.delete_before(before).map_err(|error| error.code())?;
    Ok((local, start, epoch))
}

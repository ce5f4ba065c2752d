use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use domain::{LeaderEpoch, Offset, PartitionIndex};
use futures_util::FutureExt;
use group::OFFSETS_TOPIC;
use tokio::{sync::Notify, time::Instant};
use transport::Reply;
use wire::{
    FrameError, RequestFrame, ResponseError, WireTopicName,
    messages::{
        ProduceRequest, ProduceResponse,
        produce_request::{PartitionProduceData, TopicProduceData},
        produce_response::{PartitionProduceResponse, TopicProduceResponse},
    },
};

use crate::{
    api::{text, topic_of},
    broker::Broker,
    clock::now_ms,
    errors::PartitionError,
    partition::{Commit, LocalPartition},
};

/// The acknowledgements that a producer can ask for: none, the leader's, that of all in sync.
const ACKS: [i16; 3] = [0, 1, ACKS_ALL];
const ACKS_ALL: i16 = -1;
/// However long a producer is willing to wait.
const WAIT_MAX: Duration = Duration::from_secs(300);

/// A request under way.
struct Produce<'a> {
    broker: &'a Broker,
    all: bool,
    now_ms: i64,
    waits: Vec<Wait>,
}

/// What an acknowledgement waits for.
struct Wait {
    partition: Arc<LocalPartition>,
    until: Offset,
    epoch: LeaderEpoch,
    /// Synced first, where the topic wants that.
    flush: bool,
    /// Below the high watermark, where the producer wants that.
    commit: bool,
}

/// Appends every batch, and answers once it is flushed and committed as the topic and the producer want it.
pub(crate) fn handle(broker: &Broker, frame: &RequestFrame) -> Result<Reply, FrameError> {
    let request: ProduceRequest = frame.decode_body()?;
    let refused = match (&request.transactional_id, ACKS.contains(&request.acks)) {
        (Some(_), _) => Some((ResponseError::InvalidRequest, "transactions are not supported".to_owned())),
        (None, false) => {
            let message = format!("acks {} is not one of 0, 1 and -1 (all)", request.acks);
            Some((ResponseError::InvalidRequiredAcks, message))
        }
        (None, true) => None,
    };
    let mut produce = Produce { broker, all: request.acks == ACKS_ALL, now_ms: now_ms(), waits: Vec::new() };
    let mut failed = false;
    let mut responses = Vec::with_capacity(request.topic_data.len());
    for topic in request.topic_data {
        let name = resolved(broker, &topic);
        let mut partitions = Vec::with_capacity(topic.partition_data.len());
        for data in topic.partition_data {
            let answer = match (&refused, &name) {
                (Some((code, message)), _) => refusal(data.index, *code, message),
                (None, Err(code)) => refusal(data.index, *code, "no such topic"),
                (None, Ok(name)) => produce.append(name, topic.topic_id, data),
            };
            failed |= answer.error_code != 0;
            partitions.push(answer);
        }
        responses.push(
            TopicProduceResponse::default()
                .with_name(topic.name)
                .with_topic_id(topic.topic_id)
                .with_partition_responses(partitions),
        );
    }
    if request.acks == 0 {
        if produce.waits.iter().any(|w| w.flush) {
            // Nobody waits for the sync, but nobody sees the records before it.
            let waits = produce.waits;
            tokio::task::spawn_blocking(move || flush(waits));
        }
        return Ok(if failed { Reply::Close } else { Reply::None });
    }
    let response = ProduceResponse::default().with_responses(responses);
    let (version, id) = (frame.version, frame.correlation_id);
    if produce.waits.is_empty() {
        return Ok(Reply::Now(wire::encode_response(&response, version, id)?.into()));
    }
    let patience = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0)).min(WAIT_MAX);
    let (waits, seconds) = (produce.waits, broker.traffic.commit_seconds.clone());
    let lately = broker.traffic.waits.clone();
    let settled = async move {
        let begun = Instant::now();
        let response = settle(waits, response, begun + patience).await?;
        let waited = begun.elapsed();
        seconds.record(waited);
        lately.record(waited);
        Ok(wire::encode_response(&response, version, id)?.into())
    };
    Ok(Reply::Later(settled.boxed()))
}

/// Waits for the flushes and commits, and puts what went wrong into the response.
async fn settle(
    waits: Vec<Wait>,
    mut response: ProduceResponse,
    deadline: Instant,
) -> Result<ProduceResponse, FrameError> {
    let (waits, flushed) = match waits.iter().any(|w| w.flush) {
        false => (waits, Vec::new()),
        true => tokio::task::spawn_blocking(move || flush(waits))
            .await
            .map_err(|e| FrameError::Malformed { part: "response", reason: e.to_string() })?,
    };
    for (wait, error) in flushed {
        tracing::error!(partition = %wait.partition.name, %error, "flush failed");
        amend(&mut response, &wait.partition, error.code(), &error.to_string());
    }
    let mut pending: Vec<Wait> = waits.into_iter().filter(|w| w.commit).collect();
    let waiter = Arc::new(Notify::new());
    let mut timed_out = false;
    loop {
        pending.iter().for_each(|w| w.partition.watch(&waiter));
        // A commit may have come between the append and the watch.
        pending.retain(|wait| match wait.partition.commit(wait.epoch, wait.until) {
            Ok(Commit::Done) => false,
            Ok(Commit::Pending) => true,
            Err(error) => {
                amend(&mut response, &wait.partition, error.code(), &error.to_string());
                false
            }
        });
        if pending.is_empty() {
            return Ok(response);
        }
        if timed_out {
            break;
        }
        timed_out = tokio::time::timeout_at(deadline, waiter.notified()).await.is_err();
    }
    // They are in the log: whether they stay there is not known (R8).
    for wait in pending {
        let (code, message) = match wait.partition.check_enough_in_sync() {
            Err(error) => (ResponseError::NotEnoughReplicasAfterAppend, error.to_string()),
            Ok(()) => (ResponseError::RequestTimedOut, "not all in-sync replicas have it in time".to_owned()),
        };
        amend(&mut response, &wait.partition, code, &message);
    }
    Ok(response)
}

/// Syncs what is to be synced; those whose sync failed wait no more. Blocks.
fn flush(waits: Vec<Wait>) -> (Vec<Wait>, Vec<(Wait, PartitionError)>) {
    let (mut fine, mut failed) = (Vec::with_capacity(waits.len()), Vec::new());
    for wait in waits {
        match if wait.flush { wait.partition.flush(wait.until) } else { Ok(()) } {
            Ok(()) => fine.push(wait),
            Err(error) => failed.push((wait, error)),
        }
    }
    (fine, failed)
}

/// Puts an error in the place of a partition's success.
fn amend(response: &mut ProduceResponse, partition: &LocalPartition, code: ResponseError, message: &str) {
    let of_topic = response
        .responses
        .iter_mut()
        .filter(|t| t.name.as_str() == partition.name.topic.as_str() || t.topic_id == partition.topic_id.0);
    let answers = of_topic.flat_map(|t| &mut t.partition_responses);
    for answer in answers.filter(|p| p.index == partition.name.partition.0) {
        *answer = refusal(answer.index, code, message);
    }
}

/// The topic's name, also where the request has its id.
fn resolved(broker: &Broker, topic: &TopicProduceData) -> Result<WireTopicName, ResponseError> {
    if topic.topic_id.is_nil() {
        return Ok(topic.name.clone());
    }
    let image = broker.image.load();
    let known = topic_of(&image, "", topic.topic_id);
    known.map(|t| crate::api::wire_name(&t.name)).ok_or(ResponseError::UnknownTopicId)
}

impl Produce<'_> {
    /// `id` is the topic's where the client names it by that.
    fn append(
        &mut self,
        topic: &WireTopicName,
        id: uuid::Uuid,
        data: PartitionProduceData,
    ) -> PartitionProduceResponse {
        let broker = self.broker;
        if topic.as_str() == OFFSETS_TOPIC {
            let message = "only group coordinators write to this topic";
            return refusal(data.index, ResponseError::InvalidTopicException, message);
        }
        let Some(partition) = broker.store.get(topic, PartitionIndex(data.index)) else {
            let image = broker.image.load();
            return match image.partition(topic, PartitionIndex(data.index)) {
                Some(_) => refusal(
                    data.index,
                    ResponseError::NotLeaderOrFollower,
                    "the partition is on another node",
                ),
                None => {
                    refusal(data.index, ResponseError::UnknownTopicOrPartition, "no such topic or partition")
                }
            };
        };
        if !id.is_nil() && partition.topic_id.0 != id {
            // The replicas are ahead of the metadata by which the id was found.
            return refusal(data.index, ResponseError::UnknownTopicId, "another topic has the name by now");
        }
        let records: Bytes = data.records.unwrap_or_default();
        match partition.append(&records, self.all, !broker.disk.is_low(), self.now_ms) {
            Ok(here) => {
                let appended = here.appended;
                let commit = self.all && !here.committed;
                if here.flush_first || commit {
                    let (until, epoch, flush) = (appended.last_offset.plus(1), here.epoch, here.flush_first);
                    self.waits.push(Wait { partition, until, epoch, flush, commit });
                }
                broker.traffic.produced_bytes.increment(records.len() as u64);
                broker.traffic.produced_batches.increment(1);
                PartitionProduceResponse::default()
                    .with_index(data.index)
                    .with_base_offset(appended.base_offset.0)
                    .with_log_append_time_ms(appended.log_append_time_ms)
                    .with_log_start_offset(appended.log_start_offset.0)
            }
            Err(error) => {
                if error.is_no_space() {
                    broker.disk.is_full();
                }
                if matches!(error, PartitionError::DiskLow | PartitionError::BehindRefused(_)) {
                    tracing::debug!(partition = %partition.name, %error, "append refused");
                } else if matches!(error.code(), ResponseError::KafkaStorageError) {
                    tracing::error!(partition = %partition.name, %error, "append failed");
                } else if !matches!(error.code(), ResponseError::NotLeaderOrFollower) {
                    tracing::debug!(partition = %partition.name, %error, "append refused");
                }
                refusal(data.index, error.code(), &error.to_string())
            }
        }
    }
}

fn refusal(index: i32, code: ResponseError, message: &str) -> PartitionProduceResponse {
    PartitionProduceResponse::default()
        .with_index(index)
        .with_error_code(code.code())
        .with_base_offset(-1)
        .with_error_message(Some(text(message)))
}

use std::sync::Arc;

use bytes::Bytes;
use domain::{Offset, PartitionIndex};
use futures_util::FutureExt;
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
    partition::{AppendedHere, LocalPartition},
};

/// The acknowledgements that a producer can ask for: none, the leader's, that of all in sync.
const ACKS: [i16; 3] = [0, 1, -1];

/// Appends every batch and answers. With one replica an append is a commit, so acks 1 and all are the same.
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
    let now_ms = now_ms();
    let mut failed = false;
    let mut unflushed = Vec::new();
    let mut responses = Vec::with_capacity(request.topic_data.len());
    for topic in request.topic_data {
        let name = resolved(broker, &topic);
        let mut partitions = Vec::with_capacity(topic.partition_data.len());
        for data in topic.partition_data {
            let answer = match (&refused, &name) {
                (Some((code, message)), _) => refusal(data.index, *code, message),
                (None, Err(code)) => refusal(data.index, *code, "no such topic"),
                (None, Ok(name)) => append(broker, name, data, now_ms, &mut unflushed),
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
        return Ok(if failed { Reply::Close } else { Reply::None });
    }
    let mut response = ProduceResponse::default().with_responses(responses);
    if !unflushed.is_empty() {
        let (version, id) = (frame.version, frame.correlation_id);
        let flushed = async move {
            let synced = tokio::task::spawn_blocking(move || {
                flush(&unflushed, &mut response);
                response
            });
            let response = synced
                .await
                .map_err(|e| FrameError::Malformed { part: "response", reason: e.to_string() })?;
            Ok(wire::encode_response(&response, version, id)?.into())
        };
        return Ok(Reply::Later(flushed.boxed()));
    }
    Ok(Reply::Now(wire::encode_response(&response, frame.version, frame.correlation_id)?.into()))
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

fn append(
    broker: &Broker,
    topic: &WireTopicName,
    data: PartitionProduceData,
    now_ms: i64,
    unflushed: &mut Vec<(Arc<LocalPartition>, Offset)>,
) -> PartitionProduceResponse {
    let Some(partition) = broker.store.get(topic, PartitionIndex(data.index)) else {
        let image = broker.image.load();
        return match image.partition(topic, PartitionIndex(data.index)) {
            Some(_) => {
                refusal(data.index, ResponseError::NotLeaderOrFollower, "the partition is on another node")
            }
            None => refusal(data.index, ResponseError::UnknownTopicOrPartition, "no such topic or partition"),
        };
    };
    let records: Bytes = data.records.unwrap_or_default();
    match partition.append(&records, now_ms) {
        Ok(AppendedHere { appended, flush_first }) => {
            if flush_first {
                unflushed.push((partition.clone(), appended.last_offset.plus(1)));
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
            if matches!(error.code(), ResponseError::KafkaStorageError) {
                tracing::error!(partition = %partition.name, %error, "append failed");
            } else if !matches!(error, PartitionError::NotLeader) {
                tracing::debug!(partition = %partition.name, %error, "append refused");
            }
            refusal(data.index, error.code(), &error.to_string())
        }
    }
}

/// Syncs before the acknowledgement; where that fails, there is none.
fn flush(unflushed: &[(Arc<LocalPartition>, Offset)], response: &mut ProduceResponse) {
    for (partition, until) in unflushed {
        let Err(error) = partition.flush(*until) else { continue };
        tracing::error!(partition = %partition.name, %error, "flush failed");
        let of_topic = response.responses.iter_mut().filter(|t| {
            t.name.as_str() == partition.name.topic.as_str() || t.topic_id == partition.topic_id.0
        });
        let answers = of_topic.flat_map(|t| &mut t.partition_responses);
        for answer in answers.filter(|p| p.index == partition.name.partition.0) {
            *answer = refusal(answer.index, error.code(), &error.to_string());
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

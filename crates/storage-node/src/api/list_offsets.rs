use std::sync::Arc;

use domain::PartitionIndex;
use wire::{
    WireTopicName,
    messages::{
        ListOffsetsRequest, ListOffsetsResponse,
        list_offsets_request::ListOffsetsPartition,
        list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse},
    },
};

use crate::{api::absent, broker::Broker, errors::PartitionError, partition::LocalPartition};

// Timestamps that are no times (KIP-79, 734, 405, 1005).
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const NONE: i64 = -1;
const NO_EPOCH: i32 = -1;

/// Answers have the leader epoch from this version on.
const WITH_EPOCH: i16 = 4;

pub(crate) fn answer(
    broker: &Arc<Broker>,
    request: &ListOffsetsRequest,
    version: i16,
) -> ListOffsetsResponse {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|p| partition(broker, &topic.name, p, version));
        ListOffsetsTopicResponse::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions.collect())
    });
    ListOffsetsResponse::default().with_topics(topics.collect())
}

fn partition(
    broker: &Broker,
    topic: &WireTopicName,
    asked: &ListOffsetsPartition,
    version: i16,
) -> ListOffsetsPartitionResponse {
    let number = PartitionIndex(asked.partition_index);
    let empty = ListOffsetsPartitionResponse::default()
        .with_partition_index(asked.partition_index)
        .with_timestamp(NONE)
        .with_offset(NONE);
    let Some(local) = broker.store.get(topic, number) else {
        return empty.with_error_code(absent(&broker.image.load(), topic, number).code());
    };
    match find(&local, asked) {
        Ok(Some((timestamp, offset, epoch))) => {
            let epoch = if version >= WITH_EPOCH { epoch } else { NO_EPOCH };
            empty.with_timestamp(timestamp).with_offset(offset).with_leader_epoch(epoch)
        }
        Ok(None) => empty,
        Err(error) => empty.with_error_code(error.code().code()),
    }
}

type Found = Option<(i64, i64, i32)>;

fn find(local: &LocalPartition, asked: &ListOffsetsPartition) -> Result<Found, PartitionError> {
    let current = asked.current_leader_epoch;
    match asked.timestamp {
        LATEST => {
            let (committed, epoch) = local.high_watermark(current)?;
            Ok(Some((NONE, committed.0, epoch.0)))
        }
        EARLIEST | EARLIEST_LOCAL => local.as_leader(current, |log, epoch| {
            let start = log.start_offset();
            let epoch = log.epochs().epoch_at(start).unwrap_or(epoch);
            Ok(Some((NONE, start.0, epoch.0)))
        }),
        // Nothing is tiered.
        LATEST_TIERED => local.as_leader(current, |_, _| Ok(None)),
        timestamp => {
            // A record above the high watermark is nobody's to see (R9).
            let (committed, _) = local.high_watermark(current)?;
            let found = local.as_leader(current, |log, _| match timestamp {
                MAX_TIMESTAMP => log.max_timestamp_offset(),
                timestamp => log.offset_for_timestamp(timestamp),
            })?;
            let seen = found.filter(|f| f.offset < committed);
            Ok(seen.map(|f| (f.timestamp, f.offset.0, f.leader_epoch.0)))
        }
    }
}

use domain::{LeaderEpoch, PartitionIndex};
use wire::{
    ResponseError, WireTopicName,
    messages::{
        OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
        offset_for_leader_epoch_request::OffsetForLeaderPartition,
        offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult},
    },
};

use crate::{api::absent, broker::Broker};

const UNDEFINED: i32 = -1;

/// Where leader epochs end in the leader's log, so that a consumer sees whether its position was cut off (KIP-320).
///
/// As in Kafka, the newest epoch ends at the log's end for everybody. At the high watermark, which a new leader knows
/// too low, a consumer would believe in a truncation that never was; and an offset shows nobody a record.
pub(crate) fn answer(broker: &Broker, request: &OffsetForLeaderEpochRequest) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|p| partition(broker, &topic.topic, p));
        OffsetForLeaderTopicResult::default()
            .with_topic(topic.topic.clone())
            .with_partitions(partitions.collect())
    });
    OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
}

fn partition(broker: &Broker, topic: &WireTopicName, asked: &OffsetForLeaderPartition) -> EpochEndOffset {
    let unknown = EpochEndOffset::default()
        .with_partition(asked.partition)
        .with_leader_epoch(UNDEFINED)
        .with_end_offset(UNDEFINED.into());
    let refused = |error: ResponseError| unknown.clone().with_error_code(error.code());
    let number = PartitionIndex(asked.partition);
    let Some(local) = broker.store.get(topic, number) else {
        return refused(absent(&broker.image.load(), topic, number));
    };
    let found = local.as_leader(asked.current_leader_epoch, |log, _| {
        let found = log.epochs().end_offset_for(LeaderEpoch(asked.leader_epoch), log.end_offset());
        // What was removed is known by its last record only.
        Ok(found.map(|(epoch, end)| (epoch, end.max(log.start_offset()))))
    });
    match found {
        Ok(Some((epoch, end))) => unknown.with_leader_epoch(epoch.0).with_end_offset(end.0),
        // An epoch that this log never had is no error.
        Ok(None) => unknown,
        Err(error) => refused(error.code()),
    }
}

//! OffsetFetch in its older versions, which ask for one group only, and in the newer ones (KIP-709).

use wire::{
    ResponseError,
    messages::{
        OffsetFetchRequest, OffsetFetchResponse,
        offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
        offset_fetch_response::{
            OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponseTopic,
        },
    },
};

/// From this version on a request asks for many groups (KIP-709).
const MANY_FROM: i16 = 8;
/// Before this version there is no place for an error but with the partitions.
const ERROR_FROM: i16 = 2;

/// The request in its newer form.
pub fn newer(request: OffsetFetchRequest, version: i16) -> OffsetFetchRequest {
    if version >= MANY_FROM {
        return request;
    }
    let topics = request.topics.map(|topics| {
        let newer = topics.into_iter().map(|topic| {
            OffsetFetchRequestTopics::default()
                .with_name(topic.name)
                .with_partition_indexes(topic.partition_indexes)
        });
        newer.collect()
    });
    let group = OffsetFetchRequestGroup::default()
        .with_group_id(request.group_id)
        .with_member_epoch(-1)
        .with_topics(topics);
    OffsetFetchRequest::default().with_groups(vec![group]).with_require_stable(request.require_stable)
}

/// The answer in the form of the version that was asked in.
pub fn older(answer: OffsetFetchResponse, version: i16) -> OffsetFetchResponse {
    if version >= MANY_FROM {
        return answer;
    }
    let Some(group) = answer.groups.into_iter().next() else {
        return OffsetFetchResponse::default().with_error_code(ResponseError::UnknownServerError.code());
    };
    let (error_code, topics) = (group.error_code, topics_of(group));
    match version >= ERROR_FROM {
        true => OffsetFetchResponse::default().with_error_code(error_code).with_topics(topics),
        false => OffsetFetchResponse::default().with_topics(topics),
    }
}

fn topics_of(group: OffsetFetchResponseGroup) -> Vec<OffsetFetchResponseTopic> {
    let error_code = group.error_code;
    let older = group.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.into_iter().map(|p| {
            OffsetFetchResponsePartition::default()
                .with_partition_index(p.partition_index)
                .with_committed_offset(p.committed_offset)
                .with_committed_leader_epoch(p.committed_leader_epoch)
                .with_metadata(p.metadata)
                .with_error_code(if p.error_code == 0 { error_code } else { p.error_code })
        });
        OffsetFetchResponseTopic::default().with_name(topic.name).with_partitions(partitions.collect())
    });
    older.collect()
}

/// Whether somebody else coordinates the group, or nobody does for now. librdkafka takes such an answer for the end of the
/// matter (`rd_kafka_assignment_apply_offsets`): its consumer never reads the partitions that it asked about. Where a connection
/// ends it asks again, as all clients do.
pub fn has_moved(answer: &OffsetFetchResponse) -> bool {
    answer.groups.iter().any(|group| is_elsewhere(group.error_code))
}

/// The same of one group's error code.
pub fn is_elsewhere(error_code: i16) -> bool {
    [
        ResponseError::NotCoordinator,
        ResponseError::CoordinatorNotAvailable,
        ResponseError::CoordinatorLoadInProgress,
    ]
    .iter()
    .any(|error| error.code() == error_code)
}

#[cfg(test)]
mod tests {
    use wire::{
        StrBytes,
        messages::{GroupId, TopicName, offset_fetch_request::OffsetFetchRequestTopic},
    };

    use super::*;

    #[test]
    fn an_old_request_asks_for_one_group_and_gets_its_topics_back() {
        let name = TopicName(StrBytes::from_static_str("t"));
        let topic =
            OffsetFetchRequestTopic::default().with_name(name.clone()).with_partition_indexes(vec![3]);
        let old = OffsetFetchRequest::default()
            .with_group_id(GroupId(StrBytes::from_static_str("g")))
            .with_topics(Some(vec![topic]));
        let new = newer(old, 5);
        assert_eq!(new.groups.len(), 1);
        assert_eq!(new.groups[0].topics.as_ref().unwrap()[0].partition_indexes, [3]);
        let group = OffsetFetchResponseGroup::default().with_error_code(16);
        let answer = older(OffsetFetchResponse::default().with_groups(vec![group]), 5);
        assert_eq!((answer.error_code, answer.groups.len()), (16, 0));
    }
}

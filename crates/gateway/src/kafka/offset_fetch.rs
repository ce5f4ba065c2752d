use std::sync::Arc;

use transport::Reply;
use wire::{
    FrameError, RequestFrame, ResponseError,
    messages::{
        OffsetFetchRequest, OffsetFetchResponse,
        offset_fetch_response::{
            OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponseTopic,
        },
    },
};

use super::{
    coordinator::{self, GroupRequest},
    front::Front,
    many_groups::{self, ManyGroups},
};

/// One request may be about many groups from this version on.
const WITH_GROUPS: i16 = 8;
/// The answer has an error of its own from this version on, to [`WITH_GROUPS`].
const WITH_CODE: i16 = 2;
const NONE: i64 = -1;

pub(super) fn handle(front: &Arc<Front>, frame: RequestFrame) -> Result<Reply, FrameError> {
    match frame.version >= WITH_GROUPS {
        true => many_groups::handle::<OffsetFetchRequest>(front, &frame),
        false => coordinator::handle::<OffsetFetchRequest>(front, frame),
    }
}

impl GroupRequest for OffsetFetchRequest {
    fn group(&self) -> &str {
        &self.group_id
    }

    fn refused(&self, code: ResponseError, version: i16) -> OffsetFetchResponse {
        let topics = self.topics.iter().flatten().map(|topic| {
            let partitions = topic.partition_indexes.iter().map(|index| {
                OffsetFetchResponsePartition::default()
                    .with_partition_index(*index)
                    .with_committed_offset(NONE)
                    .with_metadata(Some(Default::default()))
                    .with_error_code(code.code())
            });
            OffsetFetchResponseTopic::default()
                .with_name(topic.name.clone())
                .with_partitions(partitions.collect())
        });
        let response = OffsetFetchResponse::default().with_topics(topics.collect());
        response.with_error_code(if version >= WITH_CODE { code.code() } else { 0 })
    }
}

impl ManyGroups for OffsetFetchRequest {
    type Answered = OffsetFetchResponseGroup;

    fn groups(&self) -> Vec<String> {
        self.groups.iter().map(|group| group.group_id.to_string()).collect()
    }

    fn about(&self, places: &[usize]) -> Self {
        self.clone().with_groups(places.iter().map(|place| self.groups[*place].clone()).collect())
    }

    fn answers(response: OffsetFetchResponse) -> Vec<OffsetFetchResponseGroup> {
        response.groups
    }

    fn group_of(answered: &OffsetFetchResponseGroup) -> &str {
        &answered.group_id
    }

    fn refused(&self, place: usize, code: ResponseError) -> OffsetFetchResponseGroup {
        OffsetFetchResponseGroup::default()
            .with_group_id(self.groups[place].group_id.clone())
            .with_error_code(code.code())
    }

    fn response(answers: Vec<OffsetFetchResponseGroup>) -> OffsetFetchResponse {
        OffsetFetchResponse::default().with_groups(answers)
    }
}

#[cfg(test)]
mod tests {
    use wire::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopic};

    use super::*;
    use crate::kafka::text;

    #[test]
    fn a_missing_coordinator_is_said_in_every_version() {
        let topic = OffsetFetchRequestTopic::default().with_partition_indexes(vec![0, 1]);
        let request = OffsetFetchRequest::default().with_topics(Some(vec![topic]));
        for version in 1..WITH_GROUPS {
            let answer = GroupRequest::refused(&request, ResponseError::NotCoordinator, version);
            assert!(wire::encode_response(&answer, version, 1).is_ok(), "version {version}");
            assert!(answer.topics[0].partitions.iter().all(|p| p.error_code == 16));
            assert_eq!(answer.error_code, if version >= 2 { 16 } else { 0 });
        }
    }

    #[test]
    fn each_coordinator_is_asked_for_its_own_groups() {
        let group = |name| OffsetFetchRequestGroup::default().with_group_id(text(name).into());
        let request = OffsetFetchRequest::default().with_groups(vec![group("a"), group("b"), group("c")]);
        assert_eq!(ManyGroups::groups(&request.about(&[2, 0])), ["c", "a"]);
        let refused = ManyGroups::refused(&request, 1, ResponseError::NotCoordinator);
        assert_eq!((OffsetFetchRequest::group_of(&refused), refused.error_code), ("b", 16));
    }
}

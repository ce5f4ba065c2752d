use domain::PartitionIndex;
use wire::{
    ResponseError,
    messages::{
        offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
        offset_fetch_response::{
            OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
        },
    },
};

use super::{TopicIndex, name_of};
use crate::{CommittedOffset, Kept, Topics, group::Group, text::wire};

/// What a group has committed. A group that is not there has committed nothing, and nobody has committed anything of a topic
/// that was deleted, whatever has its name now.
pub(crate) fn fetch(
    group: Option<&Group>,
    request: &OffsetFetchRequestGroup,
    topics: &dyn Topics,
    index: &TopicIndex,
) -> OffsetFetchResponseGroup {
    let answer = OffsetFetchResponseGroup::default().with_group_id(request.group_id.clone());
    if let Err(error) = check(group, request) {
        return answer.with_error_code(error.code());
    }
    let counts = |topic: &str, committed: &CommittedOffset| !index.is_gone(topic, committed.topic_id, topics);
    let found = match &request.topics {
        Some(asked) => asked.iter().map(|topic| asked_for(group, topic, topics, counts)).collect(),
        None => group.map(|group| all(group, counts)).unwrap_or_default(),
    };
    answer.with_topics(found)
}

/// A member of a consumer group says who it is, and must be up to date.
fn check(group: Option<&Group>, request: &OffsetFetchRequestGroup) -> Result<(), ResponseError> {
    let id = request.member_id.as_deref().unwrap_or_default();
    if id.is_empty() && request.member_epoch < 0 {
        return Ok(());
    }
    let Some(group) = group else { return Err(ResponseError::GroupIdNotFound) };
    let Kept::Consumer(group) = &group.kept else { return Ok(()) };
    let member = group.members.get(id).ok_or(ResponseError::UnknownMemberId)?;
    match (member.epoch() == request.member_epoch, member.is_classic()) {
        (true, _) => Ok(()),
        (false, true) => Err(ResponseError::IllegalGeneration),
        (false, false) => Err(ResponseError::StaleMemberEpoch),
    }
}

fn asked_for(
    group: Option<&Group>,
    asked: &OffsetFetchRequestTopics,
    topics: &dyn Topics,
    counts: impl Fn(&str, &CommittedOffset) -> bool,
) -> OffsetFetchResponseTopics {
    let name = name_of(&asked.name, asked.topic_id, topics);
    let partition = |index: &i32| match &name {
        Some(name) => {
            let committed = group.and_then(|group| group.offsets.get(name, PartitionIndex(*index)));
            answer(*index, committed.filter(|committed| counts(name, committed)))
        }
        None => answer(*index, None).with_error_code(ResponseError::UnknownTopicId.code()),
    };
    OffsetFetchResponseTopics::default()
        .with_name(asked.name.clone())
        .with_topic_id(asked.topic_id)
        .with_partitions(asked.partition_indexes.iter().map(partition).collect())
}

fn all(group: &Group, counts: impl Fn(&str, &CommittedOffset) -> bool) -> Vec<OffsetFetchResponseTopics> {
    let topics = group.offsets.iter().map(|(topic, partitions)| {
        let there = partitions.iter().filter(|(_, committed)| counts(topic, committed));
        let partitions = there.map(|(index, committed)| answer(index.0, Some(committed)));
        OffsetFetchResponseTopics::default()
            .with_name(wire(topic).into())
            .with_partitions(partitions.collect())
    });
    topics.filter(|topic| !topic.partitions.is_empty()).collect()
}

fn answer(index: i32, committed: Option<&CommittedOffset>) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions::default()
        .with_partition_index(index)
        .with_committed_offset(committed.map_or(-1, |committed| committed.offset.0))
        .with_committed_leader_epoch(committed.map_or(-1, |committed| committed.leader_epoch.0))
        .with_metadata(Some(wire(committed.map_or("", |committed| &committed.metadata))))
}

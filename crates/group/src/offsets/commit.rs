use domain::{LeaderEpoch, Offset, PartitionIndex, TopicId};
use wire::{
    ResponseError,
    messages::{
        OffsetCommitRequest, OffsetCommitResponse,
        offset_commit_request::OffsetCommitRequestPartition,
        offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic},
    },
};

use super::name_of;
use crate::{
    Caller, CommittedOffset, Entry, Kept, consumer::Consumer, group::Group, text::STRING_BYTES_MAX,
    turn::Turn,
};

/// From this version on a client knows what a stale member epoch is.
const MEMBER_EPOCH_VERSION: i16 = 9;

/// Clients of long ago say how long an offset is to be kept.
pub(crate) fn asks_for_retention(request: &OffsetCommitRequest) -> bool {
    request.retention_time_ms >= 0
}

impl Group {
    pub(crate) fn commit(
        &mut self,
        turn: &mut Turn<'_>,
        caller: &Caller,
        request: &OffsetCommitRequest,
    ) -> OffsetCommitResponse {
        let refused = self.check_commit(turn, caller, request).err();
        let topics = request.topics.iter().map(|topic| {
            let name = name_of(&topic.name, topic.topic_id, turn.topics);
            let known = name.as_deref().and_then(|name| turn.topics.by_name(name));
            let missing = match name {
                Some(_) => ResponseError::UnknownTopicOrPartition,
                None => ResponseError::UnknownTopicId,
            };
            let partitions = topic.partitions.iter().map(|partition| {
                let known = known.filter(|(_, count)| (0..*count).contains(&partition.partition_index));
                let checked = match (refused, known, &name) {
                    (Some(error), _, _) => Err(error),
                    (None, Some((id, _)), Some(name)) => {
                        self.commit_one(turn, request, (name, id), partition)
                    }
                    (None, _, _) => Err(missing),
                };
                OffsetCommitResponsePartition::default()
                    .with_partition_index(partition.partition_index)
                    .with_error_code(checked.err().map_or(0, |error| error.code()))
            });
            OffsetCommitResponseTopic::default()
                .with_name(topic.name.clone())
                .with_topic_id(topic.topic_id)
                .with_partitions(partitions.collect())
        });
        OffsetCommitResponse::default().with_topics(topics.collect())
    }

    fn commit_one(
        &self,
        turn: &mut Turn<'_>,
        request: &OffsetCommitRequest,
        (topic, id): (&str, TopicId),
        partition: &OffsetCommitRequestPartition,
    ) -> Result<(), ResponseError> {
        let metadata = partition.committed_metadata.as_deref().unwrap_or_default();
        if metadata.len() > turn.config.offset_metadata_bytes_max.min(STRING_BYTES_MAX) {
            return Err(ResponseError::OffsetMetadataTooLarge);
        }
        let committed_at_ms = turn.moment.wall_ms;
        let expires_at_ms =
            asks_for_retention(request).then(|| committed_at_ms.saturating_add(request.retention_time_ms));
        let value = CommittedOffset {
            offset: Offset(partition.committed_offset),
            leader_epoch: LeaderEpoch(partition.committed_leader_epoch),
            metadata: metadata.to_owned(),
            committed_at_ms,
            expires_at_ms,
            topic_id: Some(id).filter(|_| expires_at_ms.is_none()),
        };
        turn.record(Entry::OffsetCommit {
            group: turn.group.to_owned(),
            topic: topic.to_owned(),
            partition: PartitionIndex(partition.partition_index),
            value: Some(value),
        });
        Ok(())
    }

    /// Whether this caller may commit now (INVARIANTS G2).
    fn check_commit(
        &mut self,
        turn: &mut Turn<'_>,
        caller: &Caller,
        request: &OffsetCommitRequest,
    ) -> Result<(), ResponseError> {
        let id = request.member_id.as_str();
        let instance = request.group_instance_id.as_deref();
        let epoch = request.generation_id_or_member_epoch;
        match &self.kept {
            Kept::Consumer(group) => check_member(group, id, instance, epoch, caller.version),
            Kept::Nothing | Kept::Classic(_) => self.classic.check_commit(turn, id, instance, epoch),
        }
    }
}

fn check_member(
    group: &Consumer,
    id: &str,
    instance: Option<&str>,
    epoch: i32,
    version: i16,
) -> Result<(), ResponseError> {
    if epoch < 0 && group.members.is_empty() {
        // An administrator, or a consumer that assigns its partitions itself.
        return Ok(());
    }
    let owner = instance.and_then(|instance| group.instance_owner(instance));
    if owner.is_some_and(|owner| &*owner != id) {
        return Err(ResponseError::FencedInstanceId);
    }
    let member = group.members.get(id).ok_or(ResponseError::UnknownMemberId)?;
    match (member.is_classic(), member.epoch() == epoch) {
        (true, false) => Err(ResponseError::IllegalGeneration),
        (false, _) if version < MEMBER_EPOCH_VERSION => Err(ResponseError::UnsupportedVersion),
        // The epoch of one that has left for now is no epoch to commit under.
        (false, same) if !same || epoch < 0 => Err(ResponseError::StaleMemberEpoch),
        _ => Ok(()),
    }
}

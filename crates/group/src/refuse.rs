use wire::{
    ResponseError,
    messages::{
        ConsumerGroupDescribeResponse, ConsumerGroupHeartbeatResponse, DeleteGroupsResponse,
        DescribeGroupsResponse, HeartbeatResponse, JoinGroupResponse, LeaveGroupResponse, ListGroupsResponse,
        OffsetCommitResponse, OffsetDeleteResponse, OffsetFetchResponse, SyncGroupResponse,
        consumer_group_describe_response,
        delete_groups_response::DeletableGroupResult,
        describe_groups_response,
        offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic},
        offset_fetch_response::OffsetFetchResponseGroup,
    },
};

use crate::{Answer, Call, SessionError};

impl Call {
    /// The answer to a call that is not looked at: this is not the coordinator, or not yet.
    pub fn refused(&self, error: ResponseError) -> Answer {
        let code = error.code();
        match self {
            Call::Join(call) => Answer::Join(
                JoinGroupResponse::default()
                    .with_error_code(code)
                    .with_generation_id(-1)
                    .with_protocol_name(Some(Default::default()))
                    .with_member_id(call.member_id.clone()),
            ),
            Call::Sync(_) => Answer::Sync(SyncGroupResponse::default().with_error_code(code)),
            Call::Heartbeat(_) => Answer::Heartbeat(HeartbeatResponse::default().with_error_code(code)),
            Call::Leave(_) => Answer::Leave(LeaveGroupResponse::default().with_error_code(code)),
            Call::ConsumerHeartbeat(_) => {
                Answer::ConsumerHeartbeat(ConsumerGroupHeartbeatResponse::default().with_error_code(code))
            }
            Call::ConsumerDescribe(call) => {
                let refused = |group: &wire::messages::GroupId| {
                    consumer_group_describe_response::DescribedGroup::default()
                        .with_group_id(group.clone())
                        .with_error_code(code)
                };
                let groups = call.group_ids.iter().map(refused).collect();
                Answer::ConsumerDescribe(ConsumerGroupDescribeResponse::default().with_groups(groups))
            }
            Call::Describe(call) => {
                let refused = |group: &wire::messages::GroupId| {
                    describe_groups_response::DescribedGroup::default()
                        .with_group_id(group.clone())
                        .with_error_code(code)
                };
                let groups = call.groups.iter().map(refused).collect();
                Answer::Describe(DescribeGroupsResponse::default().with_groups(groups))
            }
            Call::List(_) => Answer::List(ListGroupsResponse::default().with_error_code(code)),
            Call::DeleteGroups(call) => {
                let refused = |group: &wire::messages::GroupId| {
                    DeletableGroupResult::default().with_group_id(group.clone()).with_error_code(code)
                };
                let results = call.groups_names.iter().map(refused).collect();
                Answer::DeleteGroups(DeleteGroupsResponse::default().with_results(results))
            }
            Call::OffsetCommit(call) => {
                let topics = call.topics.iter().map(|topic| {
                    let partitions = topic.partitions.iter().map(|partition| {
                        OffsetCommitResponsePartition::default()
                            .with_partition_index(partition.partition_index)
                            .with_error_code(code)
                    });
                    OffsetCommitResponseTopic::default()
                        .with_name(topic.name.clone())
                        .with_topic_id(topic.topic_id)
                        .with_partitions(partitions.collect())
                });
                Answer::OffsetCommit(OffsetCommitResponse::default().with_topics(topics.collect()))
            }
            Call::OffsetFetch(call) => {
                let groups = call.groups.iter().map(|group| {
                    OffsetFetchResponseGroup::default()
                        .with_group_id(group.group_id.clone())
                        .with_error_code(code)
                });
                Answer::OffsetFetch(OffsetFetchResponse::default().with_groups(groups.collect()))
            }
            Call::OffsetDelete(_) => {
                Answer::OffsetDelete(OffsetDeleteResponse::default().with_error_code(code))
            }
            Call::Session(_) => Answer::Session(Err(SessionError::refused(error, error.to_string()))),
        }
    }
}

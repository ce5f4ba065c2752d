use wire::{
    ResponseError,
    messages::{ConsumerGroupHeartbeatResponse, JoinGroupResponse, SyncGroupResponse},
};

use crate::{Answer, SessionError};

impl Answer {
    /// The same answer with this error instead: in every place where its form carries one.
    pub fn failed(self, error: ResponseError) -> Answer {
        let code = error.code();
        match self {
            Answer::Join(answer) => Answer::Join(
                JoinGroupResponse::default()
                    .with_error_code(code)
                    .with_generation_id(-1)
                    // Older versions cannot say null.
                    .with_protocol_name(Some(Default::default()))
                    .with_member_id(answer.member_id),
            ),
            Answer::Sync(_) => Answer::Sync(SyncGroupResponse::default().with_error_code(code)),
            Answer::Heartbeat(answer) => Answer::Heartbeat(answer.with_error_code(code)),
            Answer::Leave(mut answer) => {
                answer.error_code = code;
                answer.members.clear();
                Answer::Leave(answer)
            }
            Answer::ConsumerHeartbeat(_) => {
                Answer::ConsumerHeartbeat(ConsumerGroupHeartbeatResponse::default().with_error_code(code))
            }
            Answer::ConsumerDescribe(mut answer) => {
                for group in &mut answer.groups {
                    (group.error_code, group.error_message) = (code, None);
                    group.members.clear();
                }
                Answer::ConsumerDescribe(answer)
            }
            Answer::Describe(mut answer) => {
                for group in &mut answer.groups {
                    (group.error_code, group.error_message) = (code, None);
                    group.members.clear();
                }
                Answer::Describe(answer)
            }
            Answer::List(mut answer) => {
                answer.error_code = code;
                answer.groups.clear();
                Answer::List(answer)
            }
            Answer::DeleteGroups(mut answer) => {
                answer.results.iter_mut().for_each(|group| group.error_code = code);
                Answer::DeleteGroups(answer)
            }
            Answer::OffsetCommit(mut answer) => {
                let partitions = answer.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
                partitions.for_each(|partition| partition.error_code = code);
                Answer::OffsetCommit(answer)
            }
            Answer::OffsetFetch(mut answer) => {
                for group in &mut answer.groups {
                    group.error_code = code;
                    group.topics.clear();
                }
                Answer::OffsetFetch(answer)
            }
            Answer::OffsetDelete(mut answer) => {
                answer.error_code = code;
                answer.topics.clear();
                Answer::OffsetDelete(answer)
            }
            Answer::Session(_) => Answer::Session(Err(SessionError::refused(error, error.to_string()))),
        }
    }
}

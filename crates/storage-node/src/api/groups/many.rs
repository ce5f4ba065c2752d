use std::sync::Arc;

use futures_util::future::join_all;
use group::{Answer, Call, Caller};
use wire::{
    ResponseError,
    messages::{
        ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, DeleteGroupsRequest,
        DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse, ListGroupsResponse,
        OffsetFetchRequest, OffsetFetchResponse,
    },
};

use crate::broker::Broker;

/// Whose coordinators a call is for.
pub(super) enum Groups {
    One(String),
    Many,
    All,
}

pub(super) fn groups_of(call: &Call) -> Groups {
    let one = |group: &wire::messages::GroupId| Groups::One(group.to_string());
    match call {
        Call::Join(call) => one(&call.group_id),
        Call::Sync(call) => one(&call.group_id),
        Call::Heartbeat(call) => one(&call.group_id),
        Call::Leave(call) => one(&call.group_id),
        Call::ConsumerHeartbeat(call) => one(&call.group_id),
        Call::OffsetCommit(call) => one(&call.group_id),
        Call::OffsetDelete(call) => one(&call.group_id),
        Call::ConsumerDescribe(_) | Call::Describe(_) | Call::DeleteGroups(_) | Call::OffsetFetch(_) => {
            Groups::Many
        }
        Call::List(_) => Groups::All,
    }
}

/// Asks each group's coordinator, and puts the answers together in the order of the request.
pub(super) async fn answer(broker: &Arc<Broker>, caller: &Caller, call: Call) -> Answer {
    let single = split(call.clone());
    let asked = single.into_iter().map(|(group, call)| {
        let refused = call.refused(ResponseError::NotCoordinator);
        async move { broker.groups.call(&group, caller.clone(), call).await.unwrap_or(refused) }
    });
    merge(&call, join_all(asked).await)
}

fn split(call: Call) -> Vec<(String, Call)> {
    match call {
        Call::ConsumerDescribe(call) => {
            let single = |id: wire::messages::GroupId| {
                let only = ConsumerGroupDescribeRequest::default()
                    .with_group_ids(vec![id.clone()])
                    .with_include_authorized_operations(call.include_authorized_operations);
                (id.to_string(), Call::ConsumerDescribe(only))
            };
            call.group_ids.iter().cloned().map(single).collect()
        }
        Call::Describe(call) => {
            let single = |id: wire::messages::GroupId| {
                let only = DescribeGroupsRequest::default()
                    .with_groups(vec![id.clone()])
                    .with_include_authorized_operations(call.include_authorized_operations);
                (id.to_string(), Call::Describe(only))
            };
            call.groups.iter().cloned().map(single).collect()
        }
        Call::DeleteGroups(call) => {
            let single = |id: wire::messages::GroupId| {
                let only = DeleteGroupsRequest::default().with_groups_names(vec![id.clone()]);
                (id.to_string(), Call::DeleteGroups(only))
            };
            call.groups_names.into_iter().map(single).collect()
        }
        Call::OffsetFetch(call) => {
            let stable = call.require_stable;
            let single = |group: wire::messages::offset_fetch_request::OffsetFetchRequestGroup| {
                let id = group.group_id.to_string();
                let only = OffsetFetchRequest::default().with_groups(vec![group]).with_require_stable(stable);
                (id, Call::OffsetFetch(only))
            };
            call.groups.into_iter().map(single).collect()
        }
        _ => Vec::new(),
    }
}

fn merge(call: &Call, answers: Vec<Answer>) -> Answer {
    match call {
        Call::ConsumerDescribe(_) => {
            let groups = answers.into_iter().flat_map(|answer| match answer {
                Answer::ConsumerDescribe(answer) => answer.groups,
                _ => Vec::new(),
            });
            Answer::ConsumerDescribe(ConsumerGroupDescribeResponse::default().with_groups(groups.collect()))
        }
        Call::Describe(_) => {
            let groups = answers.into_iter().flat_map(|answer| match answer {
                Answer::Describe(answer) => answer.groups,
                _ => Vec::new(),
            });
            Answer::Describe(DescribeGroupsResponse::default().with_groups(groups.collect()))
        }
        Call::DeleteGroups(_) => {
            let results = answers.into_iter().flat_map(|answer| match answer {
                Answer::DeleteGroups(answer) => answer.results,
                _ => Vec::new(),
            });
            Answer::DeleteGroups(DeleteGroupsResponse::default().with_results(results.collect()))
        }
        Call::OffsetFetch(_) => {
            let groups = answers.into_iter().flat_map(|answer| match answer {
                Answer::OffsetFetch(answer) => answer.groups,
                _ => Vec::new(),
            });
            Answer::OffsetFetch(OffsetFetchResponse::default().with_groups(groups.collect()))
        }
        other => other.refused(ResponseError::UnknownServerError),
    }
}

/// Asks every coordinator here. A part that cannot answer makes the whole unanswered: a list with holes would be taken
/// for all there is.
pub(super) async fn answer_all(broker: &Arc<Broker>, caller: &Caller, call: &Call) -> Answer {
    let mut groups = Vec::new();
    for answer in broker.groups.call_all(caller, call).await {
        match answer {
            Answer::List(answer) if answer.error_code == 0 => groups.extend(answer.groups),
            // It has moved: its new coordinator tells of these.
            Answer::List(answer) if answer.error_code == ResponseError::NotCoordinator.code() => {}
            refused => return refused,
        }
    }
    groups.sort_by(|a, b| a.group_id.cmp(&b.group_id));
    Answer::List(ListGroupsResponse::default().with_groups(groups))
}

use std::sync::Arc;

use futures_util::{StreamExt, stream};
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

/// How many groups of one request are asked about at a time.
const AT_ONCE: usize = 64;

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
        Call::Session(call) => Groups::One(call.group.clone()),
        Call::List(_) => Groups::All,
    }
}

/// How many groups it names, of those that may name many.
pub(super) fn named(call: &Call) -> usize {
    match call {
        Call::ConsumerDescribe(call) => call.group_ids.len(),
        Call::Describe(call) => call.groups.len(),
        Call::DeleteGroups(call) => call.groups_names.len(),
        Call::OffsetFetch(call) => call.groups.len(),
        _ => 1,
    }
}

/// Asks each group's coordinator, and puts the answers together in the order of the request.
pub(super) async fn answer(broker: &Arc<Broker>, caller: &Caller, call: Call) -> Answer {
    let mut whole = nothing(&call);
    let mut answers = stream::iter(split(call))
        .map(|(group, call)| async move {
            let refused = call.refused(ResponseError::NotCoordinator);
            broker.groups.call(&group, caller.clone(), call).await.unwrap_or(refused)
        })
        .buffered(AT_ONCE);
    while let Some(answer) = answers.next().await {
        append(&mut whole, answer);
    }
    whole
}

/// The same call for each of its groups, made when it is asked for.
fn split(call: Call) -> Box<dyn Iterator<Item = (String, Call)> + Send> {
    match call {
        Call::ConsumerDescribe(call) => {
            let authorized = call.include_authorized_operations;
            Box::new(call.group_ids.into_iter().map(move |id| {
                let only = ConsumerGroupDescribeRequest::default()
                    .with_group_ids(vec![id.clone()])
                    .with_include_authorized_operations(authorized);
                (id.to_string(), Call::ConsumerDescribe(only))
            }))
        }
        Call::Describe(call) => {
            let authorized = call.include_authorized_operations;
            Box::new(call.groups.into_iter().map(move |id| {
                let only = DescribeGroupsRequest::default()
                    .with_groups(vec![id.clone()])
                    .with_include_authorized_operations(authorized);
                (id.to_string(), Call::Describe(only))
            }))
        }
        Call::DeleteGroups(call) => Box::new(call.groups_names.into_iter().map(|id| {
            let only = DeleteGroupsRequest::default().with_groups_names(vec![id.clone()]);
            (id.to_string(), Call::DeleteGroups(only))
        })),
        Call::OffsetFetch(call) => {
            let stable = call.require_stable;
            Box::new(call.groups.into_iter().map(move |group| {
                let id = group.group_id.to_string();
                let only = OffsetFetchRequest::default().with_groups(vec![group]).with_require_stable(stable);
                (id, Call::OffsetFetch(only))
            }))
        }
        _ => Box::new(std::iter::empty()),
    }
}

/// The answer about no group.
fn nothing(call: &Call) -> Answer {
    match call {
        Call::ConsumerDescribe(_) => Answer::ConsumerDescribe(ConsumerGroupDescribeResponse::default()),
        Call::Describe(_) => Answer::Describe(DescribeGroupsResponse::default()),
        Call::DeleteGroups(_) => Answer::DeleteGroups(DeleteGroupsResponse::default()),
        Call::OffsetFetch(_) => Answer::OffsetFetch(OffsetFetchResponse::default()),
        other => other.refused(ResponseError::UnknownServerError),
    }
}

fn append(whole: &mut Answer, part: Answer) {
    match (whole, part) {
        (Answer::ConsumerDescribe(whole), Answer::ConsumerDescribe(part)) => whole.groups.extend(part.groups),
        (Answer::Describe(whole), Answer::Describe(part)) => whole.groups.extend(part.groups),
        (Answer::DeleteGroups(whole), Answer::DeleteGroups(part)) => whole.results.extend(part.results),
        (Answer::OffsetFetch(whole), Answer::OffsetFetch(part)) => whole.groups.extend(part.groups),
        _ => {}
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

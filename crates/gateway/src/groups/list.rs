use std::time::Duration;

use tokio::time::Instant;
use wire::{
    GROUPS_PER_REQUEST_MAX, ResponseError,
    messages::{ListGroupsRequest, list_groups_response::ListedGroup},
};

use super::{
    Group, GroupError,
    describe::{classics, consumers},
    group::CONSUMER,
};
use crate::kafka::{Backend, list_groups};

/// How long a node that does not answer is asked again; one that died is fenced by then, and others have its groups.
const PATIENCE: Duration = Duration::from_secs(8);
/// Between two rounds of asking.
const PAUSE: Duration = Duration::from_millis(100);
/// The newest version that we speak.
const NEWEST: i16 = i16::MAX;

/// All groups of consumers, by their ids. What is missing is not kept back: it is an error if a node tells nothing.
pub(crate) async fn list(backend: &Backend) -> Result<Vec<Group>, GroupError> {
    let (newer, older): (Vec<ListedGroup>, Vec<ListedGroup>) = listed(backend)
        .await?
        .into_iter()
        .filter(|group| group.protocol_type.is_empty() || group.protocol_type.as_str() == CONSUMER)
        .partition(|group| group.group_type.eq_ignore_ascii_case(CONSUMER));
    let mut groups = Vec::with_capacity(newer.len() + older.len());
    // A group that is gone or of the other protocol by now is left out: it was about to be, when it was listed.
    for ids in ids(newer).chunks(GROUPS_PER_REQUEST_MAX) {
        groups.extend(consumers(backend, ids).await?);
    }
    for ids in ids(older).chunks(GROUPS_PER_REQUEST_MAX) {
        groups.extend(classics(backend, ids).await?);
    }
    groups.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(groups)
}

fn ids(listed: Vec<ListedGroup>) -> Vec<String> {
    listed.into_iter().map(|group| group.group_id.to_string()).collect()
}

async fn listed(backend: &Backend) -> Result<Vec<ListedGroup>, GroupError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = list_groups::answer(backend, &ListGroupsRequest::default(), NEWEST).await;
        match ResponseError::try_from_code(answer.error_code) {
            None => return Ok(answer.groups),
            Some(code) if !code.is_retriable() => return Err(GroupError::Refused(code)),
            Some(code) if Instant::now() >= deadline || backend.stopping.is_cancelled() => {
                return Err(GroupError::Unavailable(format!("not all nodes listed theirs ({code})")));
            }
            Some(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

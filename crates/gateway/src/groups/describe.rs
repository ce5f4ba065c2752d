use ::group::{OFFSETS_TOPIC, offset_fetch::is_elsewhere};
use domain::NodeId;
use metadata::Image;
use wire::{
    ResponseError, StrBytes,
    messages::{ConsumerGroupDescribeRequest, DescribeGroupsRequest},
};

use super::{Group, GroupError};
use crate::kafka::{Backend, many_groups::answer_at_last, seat};

/// The newest version of either that we speak.
const NEWEST: i16 = i16::MAX;
/// What an older coordinator calls a group that is not there.
const DEAD: &str = "Dead";

/// One group, whichever protocol its members speak.
pub(crate) async fn find(backend: &Backend, id: &str) -> Result<Group, GroupError> {
    let unknown = || GroupError::Unknown(id.to_owned());
    // Where no group ever was there is nobody to ask.
    if id.is_empty() || !backend.image.load().topics.contains_key(OFFSETS_TOPIC) {
        return Err(unknown());
    }
    let ids = [id.to_owned()];
    match consumers(backend, &ids).await?.pop() {
        Some(group) => Ok(group),
        None => classics(backend, &ids).await?.pop().ok_or_else(unknown),
    }
}

/// Those of the groups that have the newer protocol (KIP-848).
pub(super) async fn consumers(backend: &Backend, ids: &[String]) -> Result<Vec<Group>, GroupError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let request = ConsumerGroupDescribeRequest::default().with_group_ids(wire_ids(ids));
    let answer = answer_at_last(backend, &request, NEWEST, |group| is_elsewhere(group.error_code))
        .await
        .ok_or_else(late)?;
    let image = backend.image.load();
    let mut groups = Vec::with_capacity(answer.groups.len());
    for described in answer.groups {
        if is_there(described.error_code)? {
            let coordinator = coordinator(&image, &described.group_id);
            groups.push(Group::of_consumer(described, coordinator));
        }
    }
    Ok(groups)
}

/// Those that have the older one.
pub(super) async fn classics(backend: &Backend, ids: &[String]) -> Result<Vec<Group>, GroupError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let request = DescribeGroupsRequest::default().with_groups(wire_ids(ids));
    let answer = answer_at_last(backend, &request, NEWEST, |group| is_elsewhere(group.error_code))
        .await
        .ok_or_else(late)?;
    let image = backend.image.load();
    let mut groups = Vec::with_capacity(answer.groups.len());
    for described in answer.groups {
        if is_there(described.error_code)? && described.group_state.as_str() != DEAD {
            let coordinator = coordinator(&image, &described.group_id);
            groups.extend(Group::of_classic(described, coordinator));
        }
    }
    Ok(groups)
}

fn wire_ids(ids: &[String]) -> Vec<wire::messages::GroupId> {
    ids.iter().map(|id| StrBytes::from_string(id.clone()).into()).collect()
}

/// Whether it is there, and of the protocol that was asked for.
fn is_there(code: i16) -> Result<bool, GroupError> {
    match ResponseError::try_from_code(code) {
        None => Ok(true),
        Some(ResponseError::GroupIdNotFound) => Ok(false),
        Some(code) => Err(GroupError::Refused(code)),
    }
}

fn late() -> GroupError {
    GroupError::Unavailable("no coordinator answered".to_owned())
}

fn coordinator(image: &Image, group: &str) -> Option<NodeId> {
    let (target, _) = seat(image, group)?;
    image.topic_by_id(target.topic)?.partition(target.partition)?.leader
}

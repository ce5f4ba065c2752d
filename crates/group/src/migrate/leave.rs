use wire::{ResponseError, messages::leave_group_request::MemberIdentity};

use super::caller_of;
use crate::{
    consumer::{Draft, fence},
    turn::Turn,
};

/// Members of the classic protocol leave a consumer group, or an administrator removes static members.
pub(crate) fn leave(
    draft: &mut Draft<'_>,
    turn: &mut Turn<'_>,
    leaving: &[MemberIdentity],
) -> Vec<Result<(), ResponseError>> {
    let mut gone: Vec<String> = Vec::new();
    let mut results = Vec::with_capacity(leaving.len());
    for identity in leaving {
        let found = find(draft, identity).and_then(|id| match gone.contains(&id) {
            true => Err(ResponseError::UnknownMemberId),
            false => {
                gone.push(id);
                Ok(())
            }
        });
        results.push(found);
    }
    if !gone.is_empty() {
        fence(draft, turn, gone.iter().map(String::as_str));
    }
    results
}

fn find(draft: &Draft<'_>, identity: &MemberIdentity) -> Result<String, ResponseError> {
    let instance = identity.group_instance_id.as_deref();
    match (identity.member_id.as_str(), instance) {
        ("", Some(instance)) => {
            let owner = draft.instance_owner(instance).ok_or(ResponseError::UnknownMemberId)?;
            Ok(owner.to_string())
        }
        (id, instance) => caller_of(draft, id, instance).map(|_| id.to_owned()),
    }
}

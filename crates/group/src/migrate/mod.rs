//! From the classic to the consumer protocol and back, member by member, in the same group (KIP-848).

mod downgrade;
mod embedded;
mod heartbeat;
mod join;
mod leave;
mod sync;
mod upgrade;

pub(crate) use self::{
    downgrade::downgrade,
    embedded::Embedded,
    heartbeat::{heartbeat, topics_changed},
    join::join,
    leave::leave,
    sync::sync,
    upgrade::upgrade,
};

use wire::ResponseError;

use crate::{
    ClassicProtocols,
    consumer::{Draft, Member},
};

/// The member of the classic protocol that calls, if it is one.
fn caller_of<'a>(
    draft: &'a Draft<'_>,
    id: &str,
    instance: Option<&str>,
) -> Result<(&'a Member, &'a ClassicProtocols), ResponseError> {
    if let Some(instance) = instance {
        let owner = draft.instance_owner(instance).ok_or(ResponseError::UnknownMemberId)?;
        if &*owner != id {
            return Err(ResponseError::FencedInstanceId);
        }
    }
    let member = draft.members.get(id).ok_or(ResponseError::UnknownMemberId)?;
    // A member that has gone over to the consumer protocol is, for the classic one, not there.
    let classic = member.subscription.classic.as_ref().ok_or(ResponseError::UnknownMemberId)?;
    Ok((member, classic))
}

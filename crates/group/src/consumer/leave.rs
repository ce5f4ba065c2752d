use assign::Partitions;
use wire::{
    ResponseError,
    messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse},
};

use super::{Draft, LEFT_FOR_NOW, Watches, refresh, watch};
use crate::{
    CurrentAssignment, MemberState,
    migrate::downgrade,
    text::wire,
    turn::{Refusal, Turn},
};

/// A member says good-bye: for good, or (a static one) for a short while, in which its partitions stay its own.
pub(super) fn leave(
    draft: &mut Draft<'_>,
    watches: &mut Watches,
    turn: &mut Turn<'_>,
    request: &ConsumerGroupHeartbeatRequest,
) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
    let id = request.member_id.as_str();
    let unknown =
        || Refusal::new(ResponseError::UnknownMemberId, format!("Member {id} is not a member of the group."));
    if let Some(instance) = request.instance_id.as_deref() {
        let owner = draft.instance_owner(instance).ok_or_else(unknown)?;
        if &*owner != id {
            let message = format!("Instance id {instance} is owned by another member.");
            return Err(Refusal::new(ResponseError::FencedInstanceId, message));
        }
    }
    let member = draft.members.get(id).cloned().ok_or_else(unknown)?;
    if request.member_epoch == LEFT_FOR_NOW {
        let left = CurrentAssignment {
            epoch: LEFT_FOR_NOW,
            state: MemberState::Stable,
            // It has stopped, so there is nothing left to give up.
            pending_revocation: Partitions::new(),
            ..(*member.current).clone()
        };
        draft.write_current(id, left);
        watch::settle(watches, id);
    } else {
        fence(draft, turn, [id]);
    }
    Ok(ConsumerGroupHeartbeatResponse::default()
        .with_member_id(Some(wire(id)))
        .with_member_epoch(request.member_epoch))
}

/// Takes members out. If only members of the classic protocol are left, the group becomes a classic one.
pub(crate) fn fence<'a>(draft: &mut Draft<'_>, turn: &mut Turn<'_>, ids: impl IntoIterator<Item = &'a str>) {
    ids.into_iter().for_each(|id| draft.remove_member(id));
    if draft.is_all_classic() && draft.members.len() <= turn.config.max_size {
        return downgrade(draft, turn);
    }
    refresh(draft, turn, true);
    if draft.members.is_empty() {
        // There is nothing to assign, and nobody whose heartbeat would see to it.
        draft.write_target_epoch(draft.epoch);
    }
}

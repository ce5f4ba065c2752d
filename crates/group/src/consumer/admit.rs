use assign::Partitions;
use wire::{ResponseError, messages::ConsumerGroupHeartbeatRequest};

use super::{Draft, LEFT_FOR_NOW, Member, reconcile::is_part_of, target::target_of};
use crate::{
    CurrentAssignment, MemberState,
    turn::{Refusal, Turn},
};

fn unknown(id: &str) -> Refusal {
    Refusal::new(ResponseError::UnknownMemberId, format!("Member {id} is not a member of the group."))
}

fn fenced_instance(instance: &str) -> Refusal {
    let message = format!("Instance id {instance} is owned by another member.");
    Refusal::new(ResponseError::FencedInstanceId, message)
}

/// Lets a caller in: as the member that it is, as a new one, or in the place of one that had its instance id.
pub(super) fn admit(
    draft: &mut Draft<'_>,
    turn: &Turn<'_>,
    request: &ConsumerGroupHeartbeatRequest,
    id: &str,
    owned: Option<&Partitions>,
) -> Result<(), Refusal> {
    let joins = request.member_epoch == 0;
    let Some(instance) = request.instance_id.as_deref() else {
        return match draft.members.get(id) {
            Some(member) if !joins => check_epoch(member, request.member_epoch, owned),
            Some(_) => Ok(()),
            None if joins => check_room(draft, turn),
            None => Err(unknown(id)),
        };
    };
    match draft.instance_owner(instance) {
        None if !joins => Err(unknown(id)),
        None => check_room(draft, turn),
        Some(owner) if &*owner == id => match draft.members.get(id) {
            Some(member) if !joins => check_epoch(member, request.member_epoch, owned),
            _ => Ok(()),
        },
        Some(_) if !joins => Err(fenced_instance(instance)),
        Some(owner) => {
            let released =
                draft.members.get(&owner).is_none_or(|m| m.epoch() == LEFT_FOR_NOW || m.is_classic());
            if !released {
                let message = format!("Instance id {instance} is still used by member {owner}.");
                return Err(Refusal::new(ResponseError::UnreleasedInstanceId, message));
            }
            replace(draft, &owner, id);
            Ok(())
        }
    }
}

/// The same for a member of the classic protocol, which has no epoch to be checked when it joins.
pub(crate) fn admit_classic(
    draft: &mut Draft<'_>,
    turn: &Turn<'_>,
    given_id: &str,
    instance: Option<&str>,
    id: &str,
) -> Result<(), ResponseError> {
    let room = |draft: &Draft<'_>| check_room(draft, turn).map_err(|refusal| refusal.error);
    let Some(instance) = instance else {
        return if draft.members.contains_key(id) { Ok(()) } else { room(draft) };
    };
    match draft.instance_owner(instance) {
        None if given_id.is_empty() => room(draft),
        None => Err(ResponseError::UnknownMemberId),
        Some(owner) if &*owner == id => Ok(()),
        Some(_) if !given_id.is_empty() => Err(ResponseError::FencedInstanceId),
        Some(owner) => {
            replace(draft, &owner, id);
            Ok(())
        }
    }
}

fn check_room(draft: &Draft<'_>, turn: &Turn<'_>) -> Result<(), Refusal> {
    let max = turn.config.consumer_max_size;
    if draft.members.len() < max {
        return Ok(());
    }
    let message = format!("The consumer group has reached its maximum capacity of {max} members.");
    Err(Refusal::new(ResponseError::GroupMaxSizeReached, message))
}

/// A member that comes with the epoch before its present one has lost an answer. It is taken as long as it owns nothing
/// that it does not have any more.
fn check_epoch(member: &Member, epoch: i32, owned: Option<&Partitions>) -> Result<(), Refusal> {
    let current = &member.current;
    let fenced = |what: &str| {
        let message = format!(
            "The consumer group member has a {what} member epoch ({epoch}) than the one known by the group \
             coordinator ({}). The member must abandon all its partitions and rejoin.",
            current.epoch
        );
        Err(Refusal::new(ResponseError::FencedMemberEpoch, message))
    };
    let lost_an_answer =
        || epoch == current.previous_epoch && owned.is_some_and(|owned| is_part_of(owned, &current.assigned));
    match epoch.cmp(&current.epoch) {
        std::cmp::Ordering::Greater => fenced("greater"),
        std::cmp::Ordering::Less if !lost_an_answer() => fenced("smaller"),
        _ => Ok(()),
    }
}

/// A static member is back under a new id: what the old one had is the new one's. The old one is fenced with this.
pub(crate) fn replace(draft: &mut Draft<'_>, old: &str, new: &str) {
    let Some(member) = draft.members.get(old).cloned() else { return };
    let target = target_of(draft, old);
    draft.remove_member(old);
    draft.write_member(new, (*member.subscription).clone());
    draft.write_target(new, target);
    draft.write_current(
        new,
        CurrentAssignment {
            epoch: 0,
            previous_epoch: 0,
            state: MemberState::Stable,
            assigned: member.current.assigned.clone(),
            pending_revocation: Partitions::new(),
        },
    );
}

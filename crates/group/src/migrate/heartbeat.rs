use wire::{ResponseError, messages::HeartbeatRequest};

use super::caller_of;
use crate::{
    MemberState,
    consumer::{Consumer, Debt, Draft, Member, Watches, is_free, refresh, target, watch},
    turn::Turn,
};

/// A member of the classic protocol in a consumer group lives, and learns whether it must join again.
pub(crate) fn heartbeat(
    draft: &Draft<'_>,
    watches: &mut Watches,
    turn: &mut Turn<'_>,
    request: &HeartbeatRequest,
) -> Result<(), ResponseError> {
    let id = request.member_id.as_str();
    let (member, _) = caller_of(draft, id, request.group_instance_id.as_deref())?;
    if request.generation_id != member.epoch() {
        return Err(ResponseError::IllegalGeneration);
    }
    let member = member.clone();
    watch::heard(watches, turn, id, &member);
    if !must_join(draft, id, &member) {
        return Ok(());
    }
    let told = watches.get(id).and_then(|watch| watch.owed).is_some_and(|owed| owed.debt == Debt::Join);
    if !told {
        watch::owe(watches, turn, id, Debt::Join, member.subscription.rebalance_timeout_ms);
    }
    Err(ResponseError::RebalanceInProgress)
}

/// The metadata may have changed since the group was last looked at.
pub(crate) fn topics_changed(draft: &mut Draft<'_>, turn: &mut Turn<'_>) {
    refresh(draft, turn, false);
}

/// There is a newer epoch, or it must give up partitions, or all that it waits for is free.
fn must_join(group: &Consumer, id: &str, member: &Member) -> bool {
    if member.epoch() < group.epoch || member.current.state == MemberState::UnrevokedPartitions {
        return true;
    }
    member.current.state == MemberState::UnreleasedPartitions && {
        let target = target::target_of(group, id);
        let mut partitions =
            target.iter().flat_map(|(topic, of)| of.iter().map(|partition| (*topic, *partition)));
        partitions.all(|(topic, partition)| is_free(group, id, topic, partition))
    }
}

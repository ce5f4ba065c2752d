use wire::{
    ResponseError,
    messages::{SyncGroupRequest, SyncGroupResponse},
};

use super::{Embedded, caller_of};
use crate::{
    MemberState,
    classic::CONSUMER,
    consumer::{Debt, Draft, Watches, watch},
    text::wire,
    turn::Turn,
};

/// A member of the classic protocol asks for what the coordinator has assigned to it.
pub(crate) fn sync(
    draft: &Draft<'_>,
    watches: &mut Watches,
    turn: &mut Turn<'_>,
    request: &SyncGroupRequest,
) -> Result<SyncGroupResponse, ResponseError> {
    let id = request.member_id.as_str();
    let (member, classic) = caller_of(draft, id, request.group_instance_id.as_deref())?;
    if request.generation_id != member.epoch() {
        return Err(ResponseError::IllegalGeneration);
    }
    let type_differs = request.protocol_type.as_deref().is_some_and(|given| given != CONSUMER);
    let protocol = classic.protocols.first();
    let name = protocol.map(|protocol| protocol.name.as_str()).unwrap_or_default();
    if type_differs || request.protocol_name.as_deref().is_some_and(|given| given != name) {
        return Err(ResponseError::InconsistentGroupProtocol);
    }
    watch::heard(watches, turn, id, member);
    // One that revokes joins again by itself when it has; the others must catch up first.
    if draft.epoch > member.epoch() && member.current.state != MemberState::UnrevokedPartitions {
        watch::owe(watches, turn, id, Debt::Join, member.subscription.rebalance_timeout_ms);
        return Err(ResponseError::RebalanceInProgress);
    }
    watch::settle(watches, id);
    let version =
        protocol.and_then(|p| Embedded::subscription(&p.metadata).ok()).map_or(0, |said| said.version);
    let assignment = Embedded::write_assignment(version, &member.current.assigned, turn.topics);
    Ok(SyncGroupResponse::default()
        .with_protocol_type(Some(CONSUMER.into()))
        .with_protocol_name(Some(wire(name)))
        .with_assignment(assignment))
}

use wire::{
    ResponseError,
    messages::{JoinGroupRequest, JoinGroupResponse},
};

use super::{Embedded, embedded::EmbeddedSubscription};
use crate::{
    Caller, ClassicProtocols, MemberSubscription,
    classic::{CONSUMER, join as classic},
    consumer::{Debt, Draft, Watches, admit_classic, reconcile, refresh, retarget, watch},
    text::wire,
    turn::Turn,
};

/// A member of the classic protocol joins a consumer group, or joins it again because it was told to. It is answered at
/// once: it waits for nobody, and what it is to have it learns by its sync.
pub(crate) fn join(
    draft: &mut Draft<'_>,
    watches: &mut Watches,
    turn: &mut Turn<'_>,
    caller: &Caller,
    request: &JoinGroupRequest,
) -> JoinGroupResponse {
    let id = match request.member_id.as_str() {
        "" => classic::new_member_id(request, caller, turn),
        id => id.to_owned(),
    };
    let refused = |id: &str, error| classic::refused(id, error, caller.version);
    match subscription(draft, &id, request) {
        Err(error) => refused(&request.member_id, error),
        Ok(_) if classic::needs_known_id(request, caller.version) => {
            refused(&id, ResponseError::MemberIdRequired)
        }
        Ok(said) => match try_join(draft, watches, turn, caller, request, &id, said) {
            Ok(answer) => answer,
            Err(error) => refused(&request.member_id, error),
        },
    }
}

/// What it subscribes to, if it goes with the other members of its kind.
fn subscription(
    draft: &Draft<'_>,
    id: &str,
    request: &JoinGroupRequest,
) -> Result<EmbeddedSubscription, ResponseError> {
    let others = draft.members.iter().filter(|(other, member)| {
        &***other != id
            && (member.instance().is_none() || member.instance() != request.group_instance_id.as_deref())
    });
    let lists: Vec<&ClassicProtocols> =
        others.filter_map(|(_, member)| member.subscription.classic.as_ref()).collect();
    let is_common = |name: &str| lists.iter().all(|list| list.protocols.iter().any(|p| p.name == name));
    let inconsistent = ResponseError::InconsistentGroupProtocol;
    if request.protocol_type.as_str() != CONSUMER || !request.protocols.iter().any(|p| is_common(&p.name)) {
        return Err(inconsistent);
    }
    let first = request.protocols.first().ok_or(inconsistent)?;
    Embedded::subscription(&first.metadata).map_err(|_| inconsistent)
}

fn try_join(
    draft: &mut Draft<'_>,
    watches: &mut Watches,
    turn: &mut Turn<'_>,
    caller: &Caller,
    request: &JoinGroupRequest,
    id: &str,
    said: EmbeddedSubscription,
) -> Result<JoinGroupResponse, ResponseError> {
    let is_known = draft.members.contains_key(id);
    if !is_known && said.owned.iter().any(|(_, partitions)| !partitions.is_empty()) {
        // It was a member, and does not know yet that it was fenced: others may have what it still owns.
        return Err(ResponseError::UnknownMemberId);
    }
    admit_classic(draft, turn, &request.member_id, request.group_instance_id.as_deref(), id)?;
    let owned = Embedded::existing(&said.owned, turn.topics);
    let changed = subscribe(draft, caller, request, id, said);
    refresh(draft, turn, changed);
    retarget(draft, turn);
    // Who assigns eagerly has given up everything before it joins, and says so.
    reconcile(draft, id, Some(&owned));
    let member = draft.members.get(id).cloned().unwrap_or_default();
    watch::heard(watches, turn, id, &member);
    watch::owe(watches, turn, id, Debt::Sync, member.subscription.rebalance_timeout_ms);
    let protocol = request.protocols.first().map(|protocol| protocol.name.clone());
    Ok(JoinGroupResponse::default()
        .with_generation_id(member.epoch())
        .with_protocol_type(Some(CONSUMER.into()))
        .with_protocol_name(protocol)
        .with_member_id(wire(id)))
}

fn subscribe(
    draft: &mut Draft<'_>,
    caller: &Caller,
    request: &JoinGroupRequest,
    id: &str,
    said: EmbeddedSubscription,
) -> bool {
    let before = draft.members.get(id).map(|member| member.subscription.clone());
    let now = MemberSubscription {
        instance: request.group_instance_id.as_deref().map(str::to_owned),
        rack: said.rack,
        client_id: caller.client_id.clone(),
        client_host: caller.host.clone(),
        topics: said.topics,
        regex: None,
        rebalance_timeout_ms: classic::rebalance_timeout_ms(request),
        assignor: None,
        classic: Some(ClassicProtocols {
            session_timeout_ms: request.session_timeout_ms,
            protocols: classic::protocols(request),
        }),
    };
    let changed = before.as_ref().is_none_or(|b| b.topics != now.topics || b.regex.is_some());
    if before.is_none_or(|before| *before != now) {
        draft.write_member(id, now);
    }
    changed
}

use wire::ResponseError;

use super::Embedded;
use crate::{
    ClassicProtocols, CurrentAssignment, Entry, MemberState, MemberSubscription,
    classic::{CONSUMER, Classic, Member},
    consumer::{Draft, Watches, watch, without},
    turn::{Refusal, Turn},
};

/// The classic group as a consumer group: each member goes on with what it has, under the generation as its epoch.
/// Nothing of the classic group changes; its record's tombstone ends it.
pub(crate) fn upgrade<'a>(
    classic: &Classic,
    is_kept: bool,
    turn: &mut Turn<'a>,
    watches: &mut Watches,
) -> Result<Draft<'a>, Refusal> {
    let group = turn.group;
    let tombstone = Entry::ClassicGroup { group: group.to_owned(), value: None };
    let mut draft = Draft::new(group, if is_kept { vec![tombstone] } else { Vec::new() });
    if classic.members.is_empty() {
        return Ok(draft);
    }
    let refuse = |why: &str| {
        let message = format!("Group {group} is not a consumer group: {why}.");
        Refusal::new(ResponseError::GroupIdNotFound, message)
    };
    if classic.protocol_type.as_deref() != Some(CONSUMER) {
        return Err(refuse("its members do not use the consumer protocol type"));
    }
    if classic.members.len() >= turn.config.consumer_max_size {
        return Err(refuse("it has too many members to be made one"));
    }
    for (id, member) in &classic.members {
        let unreadable = || refuse(&format!("what member {id} says cannot be read"));
        let (subscription, current) = convert(classic, member, turn).ok_or_else(unreadable)?;
        let assigned = current.assigned.clone();
        draft.write_member(id, subscription);
        draft.write_target(id, assigned);
        draft.write_current(id, current);
    }
    draft.write_epoch(classic.generation, 0);
    draft.write_target_epoch(classic.generation);
    for (id, member) in &draft.members {
        watch::heard(watches, turn, id, member);
    }
    Ok(draft)
}

fn convert(
    classic: &Classic,
    member: &Member,
    turn: &Turn<'_>,
) -> Option<(MemberSubscription, CurrentAssignment)> {
    let first = member.protocols.first()?.name.as_str();
    // Before the first rebalance is over there is no common protocol yet.
    let protocol = classic.protocol.as_deref().filter(|p| member.supports(p)).unwrap_or(first);
    let said = Embedded::subscription(&member.metadata(protocol)).ok()?;
    let assigned = Embedded::existing(&Embedded::assignment(&member.assignment).ok()?, turn.topics);
    // It may not have heard yet that it is to give these up, if it assigns cooperatively.
    let pending_revocation = without(&Embedded::existing(&said.owned, turn.topics), &assigned);
    let subscription = MemberSubscription {
        instance: member.instance.clone(),
        rack: said.rack,
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        topics: said.topics,
        regex: None,
        rebalance_timeout_ms: member.rebalance_timeout_ms,
        assignor: None,
        classic: Some(ClassicProtocols {
            session_timeout_ms: member.session_timeout_ms,
            protocols: member.protocols.clone(),
        }),
    };
    let current = CurrentAssignment {
        epoch: classic.generation,
        previous_epoch: classic.generation,
        state: match pending_revocation.is_empty() {
            true => MemberState::Stable,
            false => MemberState::UnrevokedPartitions,
        },
        assigned,
        pending_revocation,
    };
    Some((subscription, current))
}

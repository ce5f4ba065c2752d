use std::collections::BTreeMap;

use super::Embedded;
use crate::{
    ClassicMember, ClassicMetadata, Entry,
    classic::CONSUMER,
    consumer::{Draft, Member},
    turn::Turn,
};

/// The last member of the consumer protocol is gone: the group goes on as a classic one, and rebalances at once.
pub(crate) fn downgrade(draft: &mut Draft<'_>, turn: &Turn<'_>) {
    let protocol = common_protocol(draft);
    let members: Vec<ClassicMember> =
        draft.members.iter().filter_map(|(id, member)| convert(id, member, &protocol, turn)).collect();
    let value = ClassicMetadata {
        protocol_type: CONSUMER.to_owned(),
        generation: draft.epoch,
        protocol: Some(protocol),
        leader: members.first().map(|member| member.member.clone()),
        state_since_ms: turn.moment.wall_ms,
        members,
    };
    draft.remove_group();
    draft.append(Entry::ClassicGroup { group: turn.group.to_owned(), value: Some(value) });
}

fn convert(id: &str, member: &Member, protocol: &str, turn: &Turn<'_>) -> Option<ClassicMember> {
    let subscription = &member.subscription;
    let classic = subscription.classic.as_ref()?;
    let metadata = classic.protocols.iter().find(|p| p.name == protocol).map(|p| p.metadata.clone());
    let metadata = metadata.unwrap_or_default();
    let version = Embedded::subscription(&metadata).map_or(0, |said| said.version);
    Some(ClassicMember {
        member: id.to_owned(),
        instance: subscription.instance.clone(),
        client_id: subscription.client_id.clone(),
        client_host: subscription.client_host.clone(),
        rebalance_timeout_ms: subscription.rebalance_timeout_ms,
        session_timeout_ms: classic.session_timeout_ms,
        subscription: metadata,
        assignment: Embedded::write_assignment(version, &member.current.assigned, turn.topics),
    })
}

/// The one that all support and most prefer.
fn common_protocol(draft: &Draft<'_>) -> String {
    let lists: Vec<Vec<&str>> = draft
        .members
        .values()
        .filter_map(|member| member.subscription.classic.as_ref())
        .map(|classic| classic.protocols.iter().map(|protocol| protocol.name.as_str()).collect())
        .collect();
    let is_common = |name: &&str| lists.iter().all(|list| list.contains(name));
    let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
    for ballot in lists.iter().filter_map(|list| list.iter().copied().find(is_common)) {
        *votes.entry(ballot).or_default() += 1;
    }
    let most = votes.into_iter().max_by_key(|(_, votes)| *votes);
    most.map(|(name, _)| name.to_owned()).unwrap_or_default()
}

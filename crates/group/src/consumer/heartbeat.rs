use std::collections::BTreeSet;

use assign::Partitions;
use domain::{PartitionIndex, TopicId};
use wire::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
    consumer_group_heartbeat_response::{Assignment, TopicPartitions},
};

use super::{
    Debt, Draft, LEFT, LEFT_FOR_NOW, Member, Watches, admit, leave, reconcile, refresh, retarget, watch,
};
use crate::{
    Caller, MemberState, MemberSubscription,
    text::wire,
    turn::{Refusal, Turn},
};

/// Nobody is asked to come more often than this.
const INTERVAL_MS_MIN: i32 = 300;

/// One heartbeat of the consumer protocol, a valid one: join, stay or leave. `topics_changed` is whether the metadata may have, since
/// the group was last looked at.
pub(crate) fn heartbeat(
    draft: &mut Draft<'_>,
    watches: &mut Watches,
    turn: &mut Turn<'_>,
    caller: &Caller,
    request: &ConsumerGroupHeartbeatRequest,
    topics_changed: bool,
) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
    match request.member_epoch {
        LEFT | LEFT_FOR_NOW => leave::leave(draft, watches, turn, request),
        _ => stay(draft, watches, turn, caller, request, topics_changed),
    }
}

fn stay(
    draft: &mut Draft<'_>,
    watches: &mut Watches,
    turn: &mut Turn<'_>,
    caller: &Caller,
    request: &ConsumerGroupHeartbeatRequest,
    topics_changed: bool,
) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
    let id = match request.member_id.as_str() {
        "" => turn.moment.fresh.to_string(),
        id => id.to_owned(),
    };
    let owned = request.topic_partitions.as_deref().map(owned_of);
    admit::admit(draft, turn, request, &id, owned.as_ref())?;
    let before = draft.members.get(id.as_str()).cloned();
    let changed = subscribe(draft, caller, request, &id);
    if changed || topics_changed {
        refresh(draft, turn, changed);
    }
    retarget(draft, turn);
    reconcile::reconcile(draft, &id, owned.as_ref());
    let member = draft.members.get(id.as_str()).cloned().unwrap_or_default();
    keep_watch(watches, turn, &id, before.as_ref(), &member);

    let interval_ms = interval_ms(draft, turn, &member);
    let told_all = request.member_epoch == 0 || is_full(request);
    let has_changed = before.is_none_or(|before| before.current.assigned != member.current.assigned);
    let assignment = (told_all || has_changed).then(|| assignment(&member.current.assigned));
    Ok(ConsumerGroupHeartbeatResponse::default()
        .with_member_id(Some(wire(&id)))
        .with_member_epoch(member.epoch())
        .with_heartbeat_interval_ms(interval_ms)
        .with_assignment(assignment))
}

/// Takes over what the member says of itself; whether that asks for a new assignment.
fn subscribe(
    draft: &mut Draft<'_>,
    caller: &Caller,
    request: &ConsumerGroupHeartbeatRequest,
    id: &str,
) -> bool {
    let before = draft.members.get(id).map(|member| member.subscription.clone());
    if before.as_deref().is_some_and(|before| says_nothing_new(before, caller, request)) {
        return false;
    }
    let is_new = before.is_none();
    let before = before.map(|before| (*before).clone()).unwrap_or_default();
    let given = |text: &Option<wire::StrBytes>| text.as_deref().map(str::to_owned);
    let now = MemberSubscription {
        instance: given(&request.instance_id).or_else(|| before.instance.clone()),
        rack: given(&request.rack_id).or_else(|| before.rack.clone()),
        client_id: caller.client_id.clone(),
        client_host: caller.host.clone(),
        topics: match &request.subscribed_topic_names {
            Some(names) => names.iter().map(|name| name.to_string()).collect(),
            None => before.topics.clone(),
        },
        // An empty one ends the subscription by expression.
        regex: given(&request.subscribed_topic_regex)
            .or_else(|| before.regex.clone())
            .filter(|r| !r.is_empty()),
        rebalance_timeout_ms: match request.rebalance_timeout_ms {
            -1 => before.rebalance_timeout_ms,
            timeout_ms => timeout_ms,
        },
        assignor: given(&request.server_assignor).or_else(|| before.assignor.clone()),
        classic: None,
    };
    let changed = is_new || now.topics != before.topics || now.regex != before.regex;
    if is_new || now != before {
        draft.write_member(id, now);
    }
    changed
}

/// The common heartbeat, which costs no copy.
fn says_nothing_new(
    before: &MemberSubscription,
    caller: &Caller,
    request: &ConsumerGroupHeartbeatRequest,
) -> bool {
    request.subscribed_topic_names.is_none()
        && request.subscribed_topic_regex.is_none()
        && request.server_assignor.is_none()
        && request.rack_id.is_none()
        && request.rebalance_timeout_ms == -1
        && request.instance_id.as_deref().is_none_or(|given| before.instance.as_deref() == Some(given))
        && before.classic.is_none()
        && before.client_id == caller.client_id
        && before.client_host == caller.host
}

pub(crate) fn keep_watch(
    watches: &mut Watches,
    turn: &mut Turn<'_>,
    id: &str,
    before: Option<&Member>,
    member: &Member,
) {
    watch::heard(watches, turn, id, member);
    if member.current.state != MemberState::UnrevokedPartitions {
        watch::settle(watches, id);
    } else if before.is_none_or(|before| before.current != member.current) {
        watch::owe(watches, turn, id, Debt::Revocation, member.subscription.rebalance_timeout_ms);
    }
}

/// Whether the client says everything, because it may have lost an answer.
fn is_full(request: &ConsumerGroupHeartbeatRequest) -> bool {
    request.rebalance_timeout_ms != -1
        && (request.subscribed_topic_names.is_some() || request.subscribed_topic_regex.is_some())
        && request.topic_partitions.is_some()
}

/// As often as is cheap: about a thousand heartbeats a second for all members of all coordinators of this process, and
/// more of those that are on their way to a new assignment.
fn interval_ms(draft: &Draft<'_>, turn: &Turn<'_>, member: &Member) -> i32 {
    let max = turn.config.consumer_heartbeat_interval_ms.max(1);
    let calm = member.is_at(draft.target_epoch);
    let share = if calm { turn.members_total } else { turn.members_total / 10 };
    i32::try_from(share).unwrap_or(i32::MAX).clamp(INTERVAL_MS_MIN.min(max), max)
}

/// What a member says it owns.
pub(crate) fn owned_of(
    owned: &[wire::messages::consumer_group_heartbeat_request::TopicPartitions],
) -> Partitions {
    let mut all = Partitions::new();
    for topic in owned.iter().filter(|topic| !topic.partitions.is_empty()) {
        let partitions: BTreeSet<_> = topic.partitions.iter().copied().map(PartitionIndex).collect();
        all.entry(TopicId(topic.topic_id)).or_default().extend(partitions);
    }
    all
}

fn assignment(partitions: &Partitions) -> Assignment {
    let topic = |(topic, partitions): (&TopicId, &BTreeSet<PartitionIndex>)| {
        TopicPartitions::default()
            .with_topic_id(topic.0)
            .with_partitions(partitions.iter().map(|partition| partition.0).collect())
    };
    Assignment::default().with_topic_partitions(partitions.iter().map(topic).collect())
}

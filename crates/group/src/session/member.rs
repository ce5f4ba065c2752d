use std::{collections::BTreeSet, sync::Arc};

use assign::Partitions;
use domain::{PartitionIndex, TopicId};
use wire::{
    StrBytes, WireTopicName,
    messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse},
};

use super::{SessionError, SessionReply, Subscribed, TopicPlace, record_of};
use crate::{
    Caller, MemberState, SessionRecord, Wanted,
    consumer::{self, Draft, LEFT, keep_watch},
    group::{Group, Kept},
    text::wire,
    turn::{Refusal, Turn},
};

/// Of the newest version, in which the member's id is the client's business.
const HEARTBEAT_VERSION: i16 = 1;

/// A consumer that may take a step towards its target, and what it is working on meanwhile.
pub(super) struct Walker {
    pub(super) instance: Arc<str>,
    pub(super) record: Arc<SessionRecord>,
    pub(super) busy: BTreeSet<TopicPlace>,
}

impl Group {
    pub(super) fn subscribe(
        &mut self,
        turn: &mut Turn<'_>,
        caller: &Caller,
        instance: &str,
        record: &SessionRecord,
        wanted: &Subscribed,
    ) -> Result<SessionReply, SessionError> {
        if matches!(record.wanted, Wanted::Partitions(_)) {
            return Err(SessionError::Assigned);
        }
        let epoch = self.member_epoch(record);
        let request = subscribing(turn.group, &record.member, epoch, wanted, turn.config.rest_rebalance_ms);
        self.commit_acknowledged(turn, instance, record);
        self.beat(turn, caller, &request)?;
        self.bind_watch(instance, &record.member);
        let wanted = match wanted {
            Subscribed::Topics(topics) => Wanted::Topics(topics.clone()),
            Subscribed::Pattern(pattern) => Wanted::Pattern(pattern.clone()),
        };
        match epoch {
            // What stays its own is read on where it was.
            Some(_) => {
                turn.record(record_of(turn.group, instance, SessionRecord { wanted, ..record.clone() }))
            }
            None => self.want(turn, instance, record, wanted),
        }
        Ok(SessionReply::Done)
    }

    /// Says good-bye, if it is a member. What was acknowledged is committed before.
    pub(super) fn leave_group(&mut self, turn: &mut Turn<'_>, instance: &str, record: &SessionRecord) {
        self.commit_acknowledged(turn, instance, record);
        if self.member_epoch(record).is_some() {
            let request = ConsumerGroupHeartbeatRequest::default()
                .with_group_id(wire(turn.group).into())
                .with_member_id(wire(&record.member))
                .with_member_epoch(LEFT);
            // It is a member, so there is nothing to refuse.
            let _ = self.beat(turn, &Caller::default(), &request);
        }
    }

    /// It polls: what it was to give up, it gives up now. What it may read then, and whether it had been put out of the group.
    pub(super) fn advance_or_join(
        &mut self,
        turn: &mut Turn<'_>,
        caller: &Caller,
        instance: &str,
        record: &Arc<SessionRecord>,
    ) -> Result<(Partitions, bool), SessionError> {
        if self.member_epoch(record).is_none() {
            return self.join_again(turn, caller, instance, record).map(|partitions| (partitions, true));
        }
        let walker = Walker { instance: instance.into(), record: record.clone(), busy: BTreeSet::new() };
        let assigned = self.advance(turn, &[walker]).pop().unwrap_or_default();
        Ok((assigned, false))
    }

    /// Others may have read on meanwhile: all that it knew of its positions is void.
    fn join_again(
        &mut self,
        turn: &mut Turn<'_>,
        caller: &Caller,
        instance: &str,
        record: &SessionRecord,
    ) -> Result<Partitions, SessionError> {
        let wanted = match &record.wanted {
            Wanted::Topics(topics) => Subscribed::Topics(topics.clone()),
            Wanted::Pattern(pattern) => Subscribed::Pattern(pattern.clone()),
            Wanted::Nothing | Wanted::Partitions(_) => return Ok(Partitions::new()),
        };
        let request = subscribing(turn.group, &record.member, None, &wanted, turn.config.rest_rebalance_ms);
        let answer = self.beat(turn, caller, &request)?;
        self.bind_watch(instance, &record.member);
        if let Some(live) = self.sessions.live.get_mut(instance) {
            live.spots.clear();
        }
        if !record.positions.is_empty() {
            let record = SessionRecord { positions: Default::default(), ..record.clone() };
            turn.record(record_of(turn.group, instance, record));
        }
        let topics = answer.assignment.into_iter().flat_map(|assignment| assignment.topic_partitions);
        let assigned = topics.map(|topic| {
            let partitions = topic.partitions.into_iter().map(PartitionIndex);
            (TopicId(topic.topic_id), partitions.collect())
        });
        Ok(assigned.collect())
    }

    /// Brings members a step nearer to their targets; what each of them may read then.
    pub(super) fn advance(&mut self, turn: &mut Turn<'_>, walkers: &[Walker]) -> Vec<Partitions> {
        let Kept::Consumer(group) = &self.kept else { return Vec::new() };
        let mut draft = Draft::of(turn.group, group);
        if self.topics_version != Some(turn.topics.version()) {
            consumer::refresh(&mut draft, turn, false);
            self.topics_version = Some(turn.topics.version());
        }
        consumer::retarget(&mut draft, turn);
        let mut lost = Vec::new();
        let mut assigned = Vec::new();
        for walker in walkers {
            let id = walker.record.member.as_str();
            let Some(before) = draft.members.get(id).cloned() else { continue };
            let held = before.held();
            consumer::reconcile(&mut draft, id, Some(&among(&held, &walker.busy)));
            give_up_idle(&mut draft, id, &walker.busy);
            let after = draft.members.get(id).cloned().unwrap_or_default();
            keep_watch(&mut self.watches, turn, id, Some(&before), &after);
            let gone = consumer::without(&held, &after.held());
            if !gone.is_empty() {
                lost.push((walker, gone));
            }
            assigned.push(after.current.assigned.clone());
        }
        let records = draft.into_records();
        for (walker, gone) in lost {
            self.part_with(turn, walker, &gone);
        }
        turn.step.records.extend(records);
        walkers.iter().for_each(|walker| self.bind_watch(&walker.instance, &walker.record.member));
        assigned
    }

    /// Partitions go to others: they begin after what was acknowledged.
    fn part_with(&mut self, turn: &mut Turn<'_>, walker: &Walker, gone: &Partitions) {
        let Walker { instance, record, .. } = walker;
        self.commit_acknowledged_of(turn, instance, record, gone);
        let has = |topic: &TopicId, partition: &PartitionIndex| {
            gone.get(topic).is_some_and(|partitions| partitions.contains(partition))
        };
        if let Some(live) = self.sessions.live.get_mut(instance) {
            live.spots.retain(|place, _| !has(&place.topic, &place.partition));
        }
        let mut kept = (**record).clone();
        kept.positions.retain(|(_, partition), position| !has(&position.topic, partition));
        if kept != **record {
            turn.record(record_of(turn.group, instance, kept));
        }
    }

    /// `None`: it is no member.
    fn member_epoch(&self, record: &SessionRecord) -> Option<i32> {
        let Kept::Consumer(group) = &self.kept else { return None };
        group.members.get(record.member.as_str()).map(|member| member.epoch())
    }

    fn beat(
        &mut self,
        turn: &mut Turn<'_>,
        caller: &Caller,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Result<ConsumerGroupHeartbeatResponse, SessionError> {
        let caller = Caller { version: HEARTBEAT_VERSION, ..caller.clone() };
        self.try_consumer_heartbeat(turn, &caller, request).map_err(SessionError::from)
    }
}

/// Gives up what it has yet to give up and is not working on.
fn give_up_idle(draft: &mut Draft<'_>, id: &str, busy: &BTreeSet<TopicPlace>) {
    let Some(member) = draft.members.get(id) else { return };
    if member.current.state != MemberState::UnrevokedPartitions {
        return;
    }
    let pending_revocation = among(&member.current.pending_revocation, busy);
    if pending_revocation != member.current.pending_revocation {
        let current = crate::CurrentAssignment { pending_revocation, ..(*member.current).clone() };
        draft.write_current(id, current);
    }
}

fn among(partitions: &Partitions, places: &BTreeSet<TopicPlace>) -> Partitions {
    let of = partitions.iter().map(|(topic, of)| {
        let there = |partition: &PartitionIndex| {
            places.contains(&TopicPlace { topic: *topic, partition: *partition })
        };
        (*topic, of.iter().copied().filter(there).collect::<BTreeSet<_>>())
    });
    of.filter(|(_, of)| !of.is_empty()).collect()
}

fn subscribing(
    group: &str,
    member: &str,
    epoch: Option<i32>,
    wanted: &Subscribed,
    rebalance_timeout_ms: i32,
) -> ConsumerGroupHeartbeatRequest {
    let (topics, pattern) = match wanted {
        Subscribed::Topics(topics) => {
            let name = |topic: &String| WireTopicName(StrBytes::from_string(topic.clone()));
            (topics.iter().map(name).collect(), wire(""))
        }
        Subscribed::Pattern(pattern) => (Vec::new(), wire(pattern)),
    };
    ConsumerGroupHeartbeatRequest::default()
        .with_group_id(wire(group).into())
        .with_member_id(wire(member))
        .with_member_epoch(epoch.unwrap_or(0))
        .with_rebalance_timeout_ms(rebalance_timeout_ms)
        .with_subscribed_topic_names(Some(topics))
        .with_subscribed_topic_regex(Some(pattern))
        // Whoever joins owns nothing; of a member it says nothing about what it owns.
        .with_topic_partitions(epoch.is_none().then(Vec::new))
}

impl From<Refusal> for SessionError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused { code: refusal.error, message: refusal.message }
    }
}

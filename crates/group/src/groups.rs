use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use wire::{
    ResponseError,
    messages::{
        DeleteGroupsRequest, DeleteGroupsResponse, OffsetDeleteRequest, OffsetDeleteResponse,
        OffsetFetchResponse, delete_groups_response::DeletableGroupResult,
        offset_fetch_request::OffsetFetchRequestGroup,
    },
};

use crate::{
    Answer, Call, Caller, Counts, Entry, GroupConfig, Moment, Step, Token, Topics,
    consumer::Patterns,
    group::{Group, Kept},
    offsets::{self, TopicIndex},
    text::fit,
    turn::Turn,
};

/// How many groups one turn of the retention looks at.
const RETENTION_GROUPS_MAX: usize = 1000;
/// When to try again what the log refused.
const RETRY_MS: u64 = 1000;

/// All groups of one partition of `__consumer_offsets`.
#[derive(Debug, Default)]
pub struct Groups {
    config: GroupConfig,
    pub(crate) groups: BTreeMap<Arc<str>, Group>,
    /// One deadline for each group that has any. It may be too early, since a heartbeat does not renew it; then the
    /// group has a look and is put where it belongs.
    deadlines: BTreeSet<(u64, Arc<str>)>,
    patterns: Patterns,
    index: TopicIndex,
    /// When to look whether topics are gone, though the metadata did not change.
    topics_due_ms: Option<u64>,
    consumers: usize,
    retention: Retention,
}

#[derive(Debug, Default)]
struct Retention {
    due_ms: Option<u64>,
    /// The group that was looked at last, where a look at all of them is not finished.
    after: Option<Arc<str>>,
}

impl Groups {
    pub fn new(config: GroupConfig) -> Self {
        Self { config, ..Default::default() }
    }

    /// One record of the log, in order; the only thing that changes what is kept. Total.
    pub fn replay(&mut self, entry: Entry) {
        let id = self.key(entry.group());
        let group = self.groups.entry(id.clone()).or_default();
        if let Entry::OffsetCommit { topic, partition, value, .. } = &entry {
            let old = group.offsets.get(topic, *partition).map(|committed| committed.topic_id);
            self.index.replaced(topic, old, value.as_ref().map(|committed| committed.topic_id));
        }
        let before = group.consumers();
        group.replay(entry);
        self.consumers = self.consumers + group.consumers() - before;
        let at_once = (group.rebalances_at_once || group.sessions_lag()).then_some(0);
        self.settle(&id, at_once);
    }

    /// The log has been read to its end: sessions of all members begin now.
    pub fn loaded(&mut self, now_ms: u64, topics: &dyn Topics) -> Step {
        self.index.loaded(topics);
        self.retention.due_ms = Some(now_ms.saturating_add(self.config.offsets_retention_check_interval_ms));
        for (id, group) in &mut self.groups {
            group.renew(now_ms, &self.config);
            schedule(&mut self.deadlines, id, group, group.next_deadline(now_ms));
        }
        Step::default()
    }

    /// Decides on one call. Nothing of what is kept changes by it.
    pub fn step(
        &mut self,
        moment: Moment,
        topics: &dyn Topics,
        caller: &Caller,
        call: Call,
        token: Token,
    ) -> Step {
        let mut step = Step::default();
        if let Some(error) = refused_by_name(&call) {
            step.answers.push((token, call.refused(error)));
            return step;
        }
        if self.must_forget_first(&call, topics) {
            self.topics_due_ms = Some(moment.now_ms);
            step.answers.push((token, call.refused(ResponseError::CoordinatorLoadInProgress)));
            return step;
        }
        let answer = match &call {
            Call::Join(request) => {
                self.turn(&request.group_id, moment, topics, &mut step, |group, turn| {
                    group.join(turn, caller, request, token)
                });
                None
            }
            Call::Sync(request) => {
                self.turn(&request.group_id, moment, topics, &mut step, |group, turn| {
                    group.sync(turn, caller, request, token)
                });
                None
            }
            Call::Heartbeat(request) => {
                self.turn(&request.group_id, moment, topics, &mut step, |group, turn| {
                    group.heartbeat(turn, request, token)
                });
                None
            }
            Call::Leave(request) => {
                let left = |group: &mut Group, turn: &mut Turn<'_>| group.leave(turn, caller, request);
                Some(Answer::Leave(self.turn(&request.group_id, moment, topics, &mut step, left)))
            }
            Call::ConsumerHeartbeat(request) => {
                let heard =
                    |group: &mut Group, turn: &mut Turn<'_>| group.consumer_heartbeat(turn, caller, request);
                Some(Answer::ConsumerHeartbeat(self.turn(
                    &request.group_id,
                    moment,
                    topics,
                    &mut step,
                    heard,
                )))
            }
            Call::OffsetCommit(request) => {
                let commit = |group: &mut Group, turn: &mut Turn<'_>| group.commit(turn, caller, request);
                Some(Answer::OffsetCommit(self.turn(&request.group_id, moment, topics, &mut step, commit)))
            }
            Call::ConsumerDescribe(request) => {
                Some(Answer::ConsumerDescribe(self.consumer_describe(request, topics)))
            }
            Call::Describe(request) => Some(Answer::Describe(self.describe(request, caller.version))),
            Call::List(request) => Some(Answer::List(self.list(request))),
            Call::DeleteGroups(request) => {
                Some(Answer::DeleteGroups(self.delete_groups(moment, topics, request, &mut step)))
            }
            Call::OffsetFetch(request) => {
                let fetch = |of: &OffsetFetchRequestGroup| {
                    offsets::fetch(self.found(&of.group_id), of, topics, &self.index)
                };
                let groups = request.groups.iter().map(fetch).collect();
                Some(Answer::OffsetFetch(OffsetFetchResponse::default().with_groups(groups)))
            }
            Call::OffsetDelete(request) => {
                Some(Answer::OffsetDelete(self.delete_offsets(moment, topics, request, &mut step)))
            }
            Call::Session(call) => {
                let session = |group: &mut Group, turn: &mut Turn<'_>| group.session(turn, caller, call);
                Some(Answer::Session(self.turn(&call.group, moment, topics, &mut step, session)))
            }
        };
        step.answers.extend(answer.map(|answer| (token, answer)));
        step
    }

    /// Does what is due: sessions end, rebalances go on without those who are late, offsets expire.
    pub fn tick(&mut self, moment: Moment, topics: &dyn Topics) -> Step {
        let mut step = Step::default();
        while let Some((at_ms, id)) = self.deadlines.first().cloned()
            && at_ms <= moment.now_ms
        {
            self.deadlines.pop_first();
            let Some(group) = self.groups.get_mut(&id) else { continue };
            group.scheduled_ms = None;
            let next = self.turn(&id, moment, topics, &mut step, |group, turn| {
                group.on_time(turn);
                // Due at once is due in the next tick: what this one has written must come into the log first.
                turn.wake_ms = turn.wake_ms.map(|at_ms| at_ms.max(turn.now_ms() + 1));
                group.next_deadline(turn.now_ms())
            });
            let next = next.map(|at_ms| at_ms.max(moment.now_ms + 1));
            self.settle(&id, next);
        }
        if self.topics_due_ms.is_some_and(|due_ms| due_ms <= moment.now_ms) {
            self.forget_gone(moment, topics, &mut step);
        }
        self.retain(moment, topics, &mut step);
        step
    }

    /// When [`Groups::tick`] is wanted next.
    pub fn next_deadline(&self) -> Option<u64> {
        let retention = self.retention.due_ms.filter(|_| !self.groups.is_empty());
        let of_groups = self.deadlines.first().map(|(at_ms, _)| *at_ms);
        of_groups.into_iter().chain(retention).chain(self.topics_due_ms).min()
    }

    /// The metadata changed. Groups learn of it by the next heartbeat of any member, which is when they could say it;
    /// the offsets of topics that are gone are forgotten here.
    pub fn topics_changed(&mut self, moment: Moment, topics: &dyn Topics) -> Step {
        let mut step = Step::default();
        self.forget_gone(moment, topics, &mut step);
        // No heartbeat comes from REST consumers.
        self.wake_sessions(moment.now_ms);
        step
    }

    /// The metadata is not behind the log that was loaded, so that a topic which is not in it was deleted.
    pub fn topics_are_current(&mut self, now_ms: u64) {
        self.index.is_current_now();
        self.topics_due_ms = Some(now_ms);
    }

    fn wake_sessions(&mut self, now_ms: u64) {
        for (id, group) in self.groups.iter_mut().filter(|(_, group)| !group.sessions.is_empty()) {
            schedule(&mut self.deadlines, id, group, Some(now_ms));
        }
    }

    fn forget_gone(&mut self, moment: Moment, topics: &dyn Topics, step: &mut Step) {
        self.topics_due_ms = None;
        let gone = self.index.look(topics);
        if gone.is_empty() {
            return;
        }
        let ids: Vec<Arc<str>> = self.groups.keys().cloned().collect();
        for id in ids {
            self.turn(&id, moment, topics, step, |group, turn| {
                gone.iter().for_each(|(topic, id)| group.forget_topic(turn, topic, *id));
            });
        }
    }

    /// The step's records did not come into the log: they never were. A classic rebalance that they were to end begins
    /// again. Its answers are the driver's to fail.
    pub fn not_appended(&mut self, step: &Step, moment: Moment) {
        if step.records.iter().any(|entry| matches!(entry, Entry::OffsetCommit { value: None, .. })) {
            self.topics_due_ms = Some(moment.now_ms.saturating_add(RETRY_MS));
        }
        let of_groups = step.records.iter().filter(|entry| !matches!(entry, Entry::OffsetCommit { .. }));
        let ids: BTreeSet<&str> = of_groups.map(Entry::group).collect();
        for id in ids {
            let Some(group) = self.groups.get_mut(id) else { continue };
            let again_ms = group.not_appended(moment.now_ms, RETRY_MS);
            let id = self.key(id);
            self.settle(&id, again_ms);
        }
    }

    /// Nothing was heard for a while (the process was stopped): all sessions begin anew.
    pub fn was_deaf(&mut self, now_ms: u64) {
        self.groups.values_mut().for_each(|group| group.renew(now_ms, &self.config));
    }

    /// All calls that still wait for others (joins and syncs of the classic protocol) get this error.
    pub fn give_up(&mut self, error: ResponseError) -> Vec<(Token, Answer)> {
        self.groups.values_mut().flat_map(|group| group.classic.give_up(error)).collect()
    }

    /// Members of the consumer protocol, in all groups.
    pub fn consumers(&self) -> usize {
        self.consumers
    }

    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for group in self.groups.values().filter(|group| !group.is_nothing()) {
            let (of_type, members) = match &group.kept {
                Kept::Consumer(consumer) => (&mut counts.consumer, consumer.members.len()),
                Kept::Nothing | Kept::Classic(_) => (&mut counts.classic, group.classic.members.len()),
            };
            *of_type.entry(group.state()).or_default() += 1;
            counts.members += members;
            counts.offsets += group.offsets.len();
        }
        counts
    }

    #[cfg(test)]
    pub(crate) fn config(&self) -> &GroupConfig {
        &self.config
    }

    /// All that is kept.
    #[cfg(test)]
    pub(crate) fn kept(&self) -> BTreeMap<&str, (&Kept, &offsets::Offsets)> {
        let groups = self.groups.iter().map(|(id, group)| (&**id, (&group.kept, &group.offsets)));
        groups.filter(|(_, (kept, offsets))| **kept != Kept::Nothing || !offsets.is_empty()).collect()
    }

    /// One group decides. It is there for as long as it takes, even if nothing comes of it.
    fn turn<R>(
        &mut self,
        id: &str,
        moment: Moment,
        topics: &dyn Topics,
        step: &mut Step,
        decide: impl FnOnce(&mut Group, &mut Turn<'_>) -> R,
    ) -> R {
        let id = self.key(id);
        let group = self.groups.entry(id.clone()).or_default();
        let mut turn = Turn {
            group: &id,
            config: &self.config,
            moment,
            topics,
            patterns: &mut self.patterns,
            members_total: self.consumers.saturating_add(moment.members_elsewhere),
            step,
            wake_ms: None,
        };
        let result = decide(group, &mut turn);
        let wake_ms = turn.wake_ms;
        self.settle(&id, wake_ms);
        result
    }

    fn key(&self, id: &str) -> Arc<str> {
        self.groups.get_key_value(id).map_or_else(|| id.into(), |(id, _)| id.clone())
    }

    /// Puts a group into the list of deadlines, and out of memory when there is nothing in it.
    fn settle(&mut self, id: &Arc<str>, wake_ms: Option<u64>) {
        let Some(group) = self.groups.get_mut(id) else { return };
        schedule(&mut self.deadlines, id, group, wake_ms);
        if group.is_gone() {
            if let Some(at_ms) = group.scheduled_ms {
                self.deadlines.remove(&(at_ms, id.clone()));
            }
            self.groups.remove(id);
        }
    }

    /// An offset that is written without its topic's id cannot be told from those of a topic that had the name before.
    fn must_forget_first(&self, call: &Call, topics: &dyn Topics) -> bool {
        let Call::OffsetCommit(request) = call else { return false };
        let mut named = request.topics.iter().map(|topic| topic.name.as_str());
        offsets::asks_for_retention(request) && named.any(|name| self.index.is_gone(name, None, topics))
    }

    /// The group, if there is anything to it.
    pub(crate) fn found(&self, id: &str) -> Option<&Group> {
        self.groups.get(id).filter(|group| !group.is_nothing())
    }

    fn delete_groups(
        &mut self,
        moment: Moment,
        topics: &dyn Topics,
        request: &DeleteGroupsRequest,
        step: &mut Step,
    ) -> DeleteGroupsResponse {
        let results = request.groups_names.iter().map(|id| {
            let refused = match self.groups.get(id.as_str()).filter(|group| !group.is_nothing()) {
                None => Some(ResponseError::GroupIdNotFound),
                Some(group) if !group.is_empty() => Some(ResponseError::NonEmptyGroup),
                Some(_) => {
                    self.turn(id, moment, topics, step, |group, turn| group.forget_all(turn));
                    None
                }
            };
            let code = refused.map_or(0, |error| error.code());
            DeletableGroupResult::default().with_group_id(id.clone()).with_error_code(code)
        });
        DeleteGroupsResponse::default().with_results(results.collect())
    }

    fn delete_offsets(
        &mut self,
        moment: Moment,
        topics: &dyn Topics,
        request: &OffsetDeleteRequest,
        step: &mut Step,
    ) -> OffsetDeleteResponse {
        if self.found(&request.group_id).is_none() {
            return OffsetDeleteResponse::default().with_error_code(ResponseError::GroupIdNotFound.code());
        }
        self.turn(&request.group_id, moment, topics, step, |group, turn| group.delete_offsets(turn, request))
    }

    /// The retention looks at some groups, if it is time.
    fn retain(&mut self, moment: Moment, topics: &dyn Topics, step: &mut Step) {
        if self.retention.due_ms.is_none_or(|due_ms| due_ms > moment.now_ms) {
            return;
        }
        let from = self.retention.after.take().map_or(Bound::Unbounded, Bound::Excluded);
        let ids = self.groups.range((from, Bound::Unbounded)).take(RETENTION_GROUPS_MAX);
        let ids: Vec<Arc<str>> = ids.map(|(id, _)| id.clone()).collect();
        for id in &ids {
            self.turn(id, moment, topics, step, |group, turn| group.expire(turn));
        }
        match ids.len() {
            RETENTION_GROUPS_MAX => self.retention.after = ids.last().cloned(),
            _ => {
                let interval_ms = self.config.offsets_retention_check_interval_ms.max(1);
                self.retention.due_ms = Some(moment.now_ms.saturating_add(interval_ms));
            }
        }
    }
}

fn schedule(
    deadlines: &mut BTreeSet<(u64, Arc<str>)>,
    id: &Arc<str>,
    group: &mut Group,
    wake_ms: Option<u64>,
) {
    let Some(at_ms) = wake_ms else { return };
    match group.scheduled_ms {
        Some(before_ms) if before_ms <= at_ms => return,
        Some(before_ms) => drop(deadlines.remove(&(before_ms, id.clone()))),
        None => {}
    }
    group.scheduled_ms = Some(at_ms);
    deadlines.insert((at_ms, id.clone()));
}

/// A group needs a name to have members, and one that a record can hold.
fn refused_by_name(call: &Call) -> Option<ResponseError> {
    let (group, needs_name) = match call {
        Call::Join(request) => (&request.group_id, true),
        Call::Sync(request) => (&request.group_id, true),
        Call::Heartbeat(request) => (&request.group_id, true),
        Call::Leave(request) => (&request.group_id, true),
        Call::OffsetCommit(request) => (&request.group_id, false),
        Call::OffsetDelete(request) => (&request.group_id, false),
        Call::Session(call) => {
            let bad = call.group.is_empty() || !fit([call.group.as_str()]);
            return bad.then_some(ResponseError::InvalidGroupId);
        }
        // It says itself what is wrong with it.
        Call::ConsumerHeartbeat(_)
        | Call::ConsumerDescribe(_)
        | Call::Describe(_)
        | Call::List(_)
        | Call::DeleteGroups(_)
        | Call::OffsetFetch(_) => return None,
    };
    let bad = (needs_name && group.is_empty()) || !fit([group.as_str()]);
    bad.then_some(ResponseError::InvalidGroupId)
}

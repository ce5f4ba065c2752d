use std::sync::Arc;

use super::{Live, member::Walker, tombstone};
use crate::{
    GroupConfig, SessionRecord, Wanted,
    consumer::{Draft, fence},
    group::{Group, Kept},
    turn::{Turn, deadline},
};

impl Live {
    fn until(until_ms: u64, is_inherited: bool) -> Self {
        Self { until_ms, spots: Default::default(), poll: None, commit_ms: None, is_inherited }
    }
}

impl Group {
    /// It was heard of.
    pub(super) fn renew_lease(&mut self, turn: &mut Turn<'_>, instance: &str, record: &SessionRecord) {
        let until_ms = turn.after(turn.config.rest_session_ms);
        match self.sessions.live.get_mut(instance) {
            Some(live) => live.until_ms = until_ms,
            None => {
                let is_inherited = self.sessions.kept.contains_key(instance);
                self.sessions.live.insert(instance.into(), Live::until(until_ms, is_inherited));
            }
        }
        self.bind_watch(instance, &record.member);
    }

    /// As a member it may be silent for as long as its lease lasts.
    pub(super) fn bind_watch(&mut self, instance: &str, member: &str) {
        if let (Some(live), Some(watch)) = (self.sessions.live.get(instance), self.watches.get_mut(member)) {
            watch.session_ms = live.until_ms;
        }
    }

    /// All leases begin anew.
    pub(crate) fn renew_sessions(&mut self, now_ms: u64, config: &GroupConfig) {
        let until_ms = deadline(now_ms, config.rest_session_ms);
        for (instance, record) in self.sessions.kept.clone() {
            let live =
                self.sessions.live.entry(instance.clone()).or_insert_with(|| Live::until(until_ms, true));
            live.until_ms = until_ms;
            self.bind_watch(&instance, &record.member);
        }
    }

    /// Of what is not due yet.
    pub(crate) fn next_session_deadline(&self, now_ms: u64) -> Option<u64> {
        let live = self.sessions.live.values();
        let all = live.flat_map(|live| [Some(live.until_ms), live.commit_ms]).flatten();
        all.filter(|at_ms| *at_ms > now_ms).min()
    }

    /// Whether some member that is played here has yet to go to its target.
    pub(crate) fn sessions_lag(&self) -> bool {
        let Kept::Consumer(group) = &self.kept else { return false };
        let lags = |record: &Arc<SessionRecord>| {
            let member = group.members.get(record.member.as_str());
            member.is_some_and(|member| group.epoch > group.target_epoch || !member.is_at(group.target_epoch))
        };
        self.sessions.kept.values().any(lags)
    }

    /// Ends what was not heard of for too long, writes what was acknowledged, and lets members go on to their targets. Whether
    /// anything of the group's members was decided, so that nothing else may be in the same step.
    pub(crate) fn sessions_on_time(&mut self, turn: &mut Turn<'_>) -> bool {
        let now_ms = turn.now_ms();
        let Self { sessions, .. } = self;
        sessions.live.retain(|instance, live| live.until_ms > now_ms || sessions.kept.contains_key(instance));
        let (over, others): (Vec<_>, Vec<_>) =
            self.sessions.kept.clone().into_iter().partition(|(instance, _)| {
                self.sessions.live.get(instance).is_some_and(|live| live.until_ms <= now_ms)
            });
        let is_due = |group: &Self, instance: &Arc<str>| {
            let live = group.sessions.live.get(instance);
            live.and_then(|live| live.commit_ms).is_some_and(|at_ms| at_ms <= now_ms)
        };
        for (instance, record) in &others {
            if is_due(self, instance) {
                self.commit_acknowledged(turn, instance, record);
            }
        }
        if !over.is_empty() {
            self.end_sessions(turn, &over);
            return true;
        }
        if !self.sessions_lag() && self.topics_version == Some(turn.topics.version()) {
            return false;
        }
        let subscribed = others
            .into_iter()
            .filter(|(_, record)| matches!(record.wanted, Wanted::Topics(_) | Wanted::Pattern(_)));
        let walkers: Vec<Walker> = subscribed
            .map(|(instance, record)| {
                let busy = self.busy(turn, &instance, &record);
                Walker { instance, record, busy }
            })
            .collect();
        let before = turn.step.records.len();
        if !walkers.is_empty() {
            self.advance(turn, &walkers);
        }
        turn.step.records.len() > before
    }

    fn end_sessions(&mut self, turn: &mut Turn<'_>, over: &[(Arc<str>, Arc<SessionRecord>)]) {
        for (instance, record) in over {
            self.commit_acknowledged(turn, instance, record);
        }
        if let Kept::Consumer(group) = &self.kept {
            let members = over.iter().map(|(_, record)| record.member.as_str());
            let members: Vec<&str> = members.filter(|id| group.members.contains_key(*id)).collect();
            if !members.is_empty() {
                let mut draft = Draft::of(turn.group, group);
                fence(&mut draft, turn, members);
                if draft.members.is_empty() {
                    self.empty_since_ms = Some(turn.moment.wall_ms);
                }
                turn.step.records.extend(draft.into_records());
            }
        }
        for (instance, _) in over {
            turn.record(tombstone(turn.group, instance));
        }
    }
}

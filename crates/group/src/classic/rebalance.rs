use wire::ResponseError;

use super::{Classic, Initial, Phase};
use crate::turn::{Turn, deadline};

/// A log that refused a record is not asked again at once.
const AGAIN_MS_MIN: i32 = 1000;

impl Classic {
    /// Something changed: a rebalance begins, or the one under way may be complete now.
    pub(crate) fn rebalance_or_complete(&mut self, turn: &mut Turn<'_>) {
        match self.phase {
            Phase::Preparing { .. } => self.complete_if_all_joined(turn),
            Phase::Empty | Phase::Completing | Phase::Stable => self.prepare(turn),
        }
    }

    pub(crate) fn prepare(&mut self, turn: &mut Turn<'_>) {
        for (id, member) in &mut self.members {
            if member.joining.is_none() {
                member.refuse(id, ResponseError::RebalanceInProgress, turn);
            }
            member.unsynced = false;
        }
        self.sync_deadline_ms = None;
        let timeout_ms = u64::try_from(self.rebalance_timeout_ms()).unwrap_or(0);
        let (wait_ms, initial) = match self.phase {
            Phase::Empty => {
                let wait_ms = turn.config.initial_rebalance_delay_ms.min(timeout_ms);
                (wait_ms, Some(Initial { remaining_ms: timeout_ms - wait_ms, more_came: false }))
            }
            _ => (timeout_ms, None),
        };
        let deadline_ms = turn.now_ms().saturating_add(wait_ms);
        turn.wake(deadline_ms);
        self.phase = Phase::Preparing { deadline_ms, initial };
        self.state_since_ms = turn.moment.wall_ms;
        match initial {
            Some(_) if wait_ms == 0 => self.complete(turn),
            Some(_) => {}
            None => self.complete_if_all_joined(turn),
        }
    }

    pub(super) fn complete_if_all_joined(&mut self, turn: &mut Turn<'_>) {
        let all = self.pending.is_empty() && self.members.values().all(|member| member.joining.is_some());
        if all && matches!(self.phase, Phase::Preparing { initial: None, .. }) {
            self.complete(turn);
        }
    }

    /// The time to come together is over.
    pub(super) fn deadline_passed(&mut self, turn: &mut Turn<'_>, initial: Option<Initial>) {
        match initial {
            Some(Initial { remaining_ms, more_came: true }) if remaining_ms > 0 => {
                let wait_ms = turn.config.initial_rebalance_delay_ms.min(remaining_ms);
                let deadline_ms = turn.now_ms().saturating_add(wait_ms);
                turn.wake(deadline_ms);
                let initial = Initial { remaining_ms: remaining_ms - wait_ms, more_came: false };
                self.phase = Phase::Preparing { deadline_ms, initial: Some(initial) };
            }
            _ => self.complete(turn),
        }
    }

    /// Begins the next generation with those who are there. Static members may be late: they keep their place until
    /// their session ends.
    fn complete(&mut self, turn: &mut Turn<'_>) {
        self.members.retain(|_, member| member.joining.is_some() || member.instance.is_some());
        if !self.elect() && !self.members.is_empty() {
            // Nobody is there who could lead; sessions will end, or someone comes.
            let deadline_ms = turn.after(self.rebalance_timeout_ms().max(1));
            self.phase = Phase::Preparing { deadline_ms, initial: None };
            return;
        }
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        self.state_since_ms = turn.moment.wall_ms;
        if self.members.is_empty() {
            (self.protocol, self.leader) = (None, None);
            self.phase = Phase::Empty;
            return turn.record(self.record(turn.group));
        }
        self.protocol = self.select_protocol();
        self.phase = Phase::Completing;
        self.sync_deadline_ms = Some(turn.after(self.rebalance_timeout_ms()));
        for member in self.members.values_mut() {
            member.is_new = false;
            member.unsynced = true;
            member.heard(turn);
        }
        let ids: Vec<String> = self.members.keys().cloned().collect();
        ids.iter().for_each(|id| self.answer_join(turn, id));
    }

    /// Sees to it that the leader is one who has joined; `false` if nobody has.
    fn elect(&mut self) -> bool {
        let joined = |id: &String| self.members.get(id).is_some_and(|member| member.joining.is_some());
        if self.leader.as_ref().is_some_and(joined) {
            return true;
        }
        self.leader = self.members.keys().find(|id| joined(id)).cloned();
        self.leader.is_some()
    }

    /// Takes a member out, and answers what it waits for.
    pub(super) fn remove(&mut self, turn: &mut Turn<'_>, id: &str) {
        let Some(mut member) = self.members.remove(id) else { return };
        member.refuse(id, ResponseError::UnknownMemberId, turn);
        if self.leader.as_deref() == Some(id) {
            self.leader = self.members.keys().next().cloned();
        }
    }

    /// What was to be the end of a rebalance did not come into the log: it begins again, with what the log has.
    pub(crate) fn begin_again(&mut self, kept: Option<&crate::ClassicMetadata>, now_ms: u64) -> u64 {
        if let Some(kept) = kept {
            self.take_over(kept, now_ms);
        } else {
            self.members.values_mut().for_each(|member| member.assignment = Default::default());
        }
        self.members.values_mut().for_each(|member| member.unsynced = false);
        self.sync_deadline_ms = None;
        let deadline_ms = deadline(now_ms, self.rebalance_timeout_ms().max(AGAIN_MS_MIN));
        self.phase = Phase::Preparing { deadline_ms, initial: None };
        deadline_ms
    }
}

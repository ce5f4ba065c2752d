use super::{Classic, Phase};
use crate::turn::{Turn, deadline};

impl Classic {
    /// Does what is due.
    pub(crate) fn on_time(&mut self, turn: &mut Turn<'_>) {
        let now_ms = turn.now_ms();
        let before = (self.members.len(), self.pending.len());
        self.pending.retain(|_, until_ms| *until_ms > now_ms);
        let silent = |member: &super::Member| member.is_watched() && member.deadline_ms <= now_ms;
        let late_to_sync = self.sync_deadline_ms.is_some_and(|at_ms| at_ms <= now_ms);
        let gone: Vec<String> = self
            .members
            .iter()
            .filter(|(_, member)| silent(member) || (late_to_sync && member.unsynced))
            .map(|(id, _)| id.clone())
            .collect();
        gone.iter().for_each(|id| self.remove(turn, id));
        if late_to_sync {
            self.sync_deadline_ms = None;
        }
        if (self.members.len(), self.pending.len()) != before {
            self.shrunk(turn, self.members.len() < before.0);
        }
        if let Phase::Preparing { deadline_ms, initial } = self.phase
            && deadline_ms <= now_ms
        {
            self.deadline_passed(turn, initial);
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<u64> {
        let members = self.members.values().filter(|m| m.is_watched()).map(|m| m.deadline_ms);
        let rebalance = match self.phase {
            Phase::Preparing { deadline_ms, .. } => Some(deadline_ms),
            _ => None,
        };
        let unsynced = self.sync_deadline_ms.filter(|_| self.members.values().any(|member| member.unsynced));
        members.chain(self.pending.values().copied()).chain(rebalance).chain(unsynced).min()
    }

    /// Nobody could be heard for a while, so nobody was silent: all time-outs begin anew.
    pub(crate) fn renew(&mut self, now_ms: u64) {
        let rebalance_ms = deadline(now_ms, self.rebalance_timeout_ms());
        for member in self.members.values_mut() {
            let session_ms = deadline(now_ms, member.session_timeout_ms);
            // A new one has longer, since it cannot be heard before it knows its id.
            member.deadline_ms = if member.is_new { member.deadline_ms.max(session_ms) } else { session_ms };
        }
        if let Phase::Preparing { deadline_ms, initial: None } = &mut self.phase {
            *deadline_ms = rebalance_ms;
        }
        self.sync_deadline_ms = self.sync_deadline_ms.map(|_| rebalance_ms);
    }
}

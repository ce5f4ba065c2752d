use std::collections::BTreeSet;

use crate::{CommittedOffset, Kept, classic::Phase, group::Group, turn::Turn};

/// From when the retention of an offset counts.
enum Expiry {
    /// The group is on its way (INVARIANTS G5).
    Never,
    /// From when the group became empty, or from the commit if that is later.
    EmptySince(i64),
    /// From the commit, of all topics but these.
    Unless(BTreeSet<String>),
}

impl Group {
    /// Forgets what has had its time, and the group itself if it is empty and nothing is left.
    pub(crate) fn expire(&mut self, turn: &mut Turn<'_>) {
        let expiry = self.expiry(turn);
        let mut left = 0;
        for (topic, partitions) in self.offsets.iter() {
            for (partition, committed) in partitions {
                match is_over(&expiry, topic, committed, turn) {
                    true => self.forget(turn, topic, *partition),
                    false => left += 1,
                }
            }
        }
        if left == 0 && self.is_empty() {
            self.forget_group(turn);
        }
    }

    fn expiry(&mut self, turn: &mut Turn<'_>) -> Expiry {
        if !self.is_empty() {
            self.empty_since_ms = None;
        }
        match &self.kept {
            Kept::Consumer(group) if group.members.is_empty() => {
                // Not recorded: after a coordinator's loss the time begins anew, and nothing goes too early.
                Expiry::EmptySince(*self.empty_since_ms.get_or_insert(turn.moment.wall_ms))
            }
            Kept::Consumer(group) if group.state() == "Stable" => match self.subscribed(turn) {
                Ok(subscribed) => Expiry::Unless(subscribed),
                Err(_) => Expiry::Never,
            },
            Kept::Consumer(_) => Expiry::Never,
            Kept::Nothing | Kept::Classic(_) => self.classic_expiry(),
        }
    }

    fn classic_expiry(&self) -> Expiry {
        match self.classic.phase {
            Phase::Empty if !self.classic.pending.is_empty() => Expiry::Never,
            // Nobody ever joined it: it is the name under which simple consumers commit.
            Phase::Empty if self.classic.protocol_type.is_none() => Expiry::Unless(BTreeSet::new()),
            Phase::Empty => Expiry::EmptySince(self.classic.state_since_ms),
            Phase::Stable => self.classic.subscribed().map_or(Expiry::Never, Expiry::Unless),
            Phase::Preparing { .. } | Phase::Completing => Expiry::Never,
        }
    }
}

fn is_over(expiry: &Expiry, topic: &str, committed: &CommittedOffset, turn: &Turn<'_>) -> bool {
    let since_ms = match expiry {
        Expiry::Never => return false,
        Expiry::Unless(subscribed) if subscribed.contains(topic) => return false,
        Expiry::EmptySince(at_ms) => committed.committed_at_ms.max(*at_ms),
        Expiry::Unless(_) => committed.committed_at_ms,
    };
    let retained_until_ms = since_ms.saturating_add(turn.config.offsets_retention_ms);
    turn.moment.wall_ms >= committed.expires_at_ms.unwrap_or(retained_until_ms)
}

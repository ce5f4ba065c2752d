use std::collections::BTreeMap;

use super::{Consumer, LEFT_FOR_NOW, Member};
use crate::{
    GroupConfig, MemberState,
    turn::{Turn, deadline},
};

/// The time-outs of a group's members. They are volatile, and may stand for members that never came into the log.
pub(crate) type Watches = BTreeMap<String, Watch>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Watch {
    /// Until then the member must be heard of.
    pub(crate) session_ms: u64,
    pub(crate) owed: Option<Owed>,
}

/// What a member must do, until when, or it is fenced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owed {
    pub(crate) debt: Debt,
    pub(crate) until_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Debt {
    Revocation,
    /// Of a classic member that was told to join again.
    Join,
    /// Of a classic member that has joined.
    Sync,
}

impl Watch {
    fn begin(member: &Member, now_ms: u64, config: &GroupConfig) -> Self {
        let revokes = !member.is_classic() && member.current.state == MemberState::UnrevokedPartitions;
        let until_ms = deadline(now_ms, member.subscription.rebalance_timeout_ms);
        Self {
            session_ms: deadline(now_ms, session_timeout_ms(member, config)),
            owed: revokes.then_some(Owed { debt: Debt::Revocation, until_ms }),
        }
    }

    /// When to look at it again. A debt whose time is over may be one that does not count: it must not hide the session.
    pub(crate) fn next_ms(&self, now_ms: u64) -> Option<u64> {
        let owed_ms = self.owed.map(|owed| owed.until_ms);
        [Some(self.session_ms), owed_ms].into_iter().flatten().filter(|at_ms| *at_ms > now_ms).min()
    }

    /// Whether the member has had its time.
    pub(crate) fn is_over(&self, member: &Member, now_ms: u64) -> bool {
        self.session_ms <= now_ms
            || self.owed.is_some_and(|owed| {
                // A debt may come of a step that never was.
                let still = match owed.debt {
                    Debt::Revocation => member.current.state == MemberState::UnrevokedPartitions,
                    Debt::Join | Debt::Sync => member.is_classic(),
                };
                owed.until_ms <= now_ms && still && member.epoch() != LEFT_FOR_NOW
            })
    }
}

pub(crate) fn session_timeout_ms(member: &Member, config: &GroupConfig) -> i32 {
    let classic = member.subscription.classic.as_ref();
    let own = config
        .consumer_session_timeout_ms
        .max(config.consumer_session_timeout_ms_min)
        .min(config.consumer_session_timeout_ms_max.max(config.consumer_session_timeout_ms_min));
    classic.map_or(own, |classic| classic.session_timeout_ms)
}

/// The member was heard of; what it owes stays, unless `owed` says something new.
pub(crate) fn heard(watches: &mut Watches, turn: &mut Turn<'_>, id: &str, member: &Member) {
    let session_ms = turn.after(session_timeout_ms(member, turn.config));
    match watches.get_mut(id) {
        Some(watch) => watch.session_ms = session_ms,
        None => drop(watches.insert(id.to_owned(), Watch { session_ms, owed: None })),
    }
}

pub(crate) fn owe(watches: &mut Watches, turn: &mut Turn<'_>, id: &str, debt: Debt, timeout_ms: i32) {
    let until_ms = turn.after(timeout_ms);
    watches.get_mut(id).into_iter().for_each(|watch| watch.owed = Some(Owed { debt, until_ms }));
}

pub(crate) fn settle(watches: &mut Watches, id: &str) {
    watches.get_mut(id).into_iter().for_each(|watch| watch.owed = None);
}

/// All sessions begin now.
pub(crate) fn begin_all(group: &Consumer, now_ms: u64, config: &GroupConfig) -> Watches {
    group.members.iter().map(|(id, member)| (id.to_string(), Watch::begin(member, now_ms, config))).collect()
}

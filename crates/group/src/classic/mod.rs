//! The classic protocol: the clients assign among themselves, the coordinator gathers and hands out.

mod describe;
mod heartbeat;
pub(crate) mod join;
mod leave;
mod member;
mod rebalance;
mod record;
mod replace;
mod sync;
mod timers;

pub(crate) use self::member::{Member, Waiting};

use std::collections::BTreeMap;

use wire::ResponseError;

use crate::{Answer, Token};

/// The type of protocol that consumers speak; others (Connect's, for one) have another.
pub(crate) const CONSUMER: &str = "consumer";

/// A classic group as it lives. All of it is volatile: what is kept is the record of the last generation that became
/// stable or empty.
#[derive(Debug, Default)]
pub(crate) struct Classic {
    pub(crate) phase: Phase,
    pub(crate) generation: i32,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) leader: Option<String>,
    pub(crate) members: BTreeMap<String, Member>,
    /// Ids that were given out and not come back with yet, and until when they may (KIP-394).
    pub(crate) pending: BTreeMap<String, u64>,
    /// Who has not fetched its assignment by then is put out.
    pub(crate) sync_deadline_ms: Option<u64>,
    /// Since 1970.
    pub(crate) state_since_ms: i64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    #[default]
    Empty,
    /// Members are called together; who is not there by the deadline is left out.
    Preparing {
        deadline_ms: u64,
        initial: Option<Initial>,
    },
    /// All have joined; the leader's assignment is awaited.
    Completing,
    Stable,
}

/// The first rebalance of an empty group waits a little for more members, and again while more come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Initial {
    pub(crate) remaining_ms: u64,
    pub(crate) more_came: bool,
}

impl Phase {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Phase::Empty => "Empty",
            Phase::Preparing { .. } => "PreparingRebalance",
            Phase::Completing => "CompletingRebalance",
            Phase::Stable => "Stable",
        }
    }
}

impl Classic {
    pub(crate) fn is_idle(&self) -> bool {
        self.phase == Phase::Empty && self.members.is_empty() && self.pending.is_empty()
    }

    /// The member that speaks for this instance (KIP-345).
    pub(crate) fn instance_owner(&self, instance: &str) -> Option<&str> {
        let mut members = self.members.iter();
        members.find(|(_, member)| member.instance.as_deref() == Some(instance)).map(|(id, _)| id.as_str())
    }

    /// Checks that there is such a member and that it was not replaced under its instance id.
    pub(crate) fn check_member(&self, id: &str, instance: Option<&str>) -> Result<(), ResponseError> {
        let Some(instance) = instance else {
            return self.members.contains_key(id).then_some(()).ok_or(ResponseError::UnknownMemberId);
        };
        // The member itself first: looking for an instance asks all.
        if self.members.get(id).is_some_and(|member| member.instance.as_deref() == Some(instance)) {
            return Ok(());
        }
        match self.instance_owner(instance) {
            None => Err(ResponseError::UnknownMemberId),
            Some(_) => Err(ResponseError::FencedInstanceId),
        }
    }

    pub(crate) fn check_generation(&self, generation: i32) -> Result<(), ResponseError> {
        (generation == self.generation).then_some(()).ok_or(ResponseError::IllegalGeneration)
    }

    /// All calls that wait are answered with this error.
    pub(crate) fn give_up(&mut self, error: ResponseError) -> Vec<(Token, Answer)> {
        self.members.iter_mut().flat_map(|(id, member)| member.waiting(id, error)).collect()
    }

    /// The longest time that any member asks for to come together.
    pub(crate) fn rebalance_timeout_ms(&self) -> i32 {
        self.members.values().map(|member| member.rebalance_timeout_ms).max().unwrap_or(0)
    }
}

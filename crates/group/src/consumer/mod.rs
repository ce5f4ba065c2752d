//! The consumer protocol (KIP-848): the coordinator assigns, and each member goes to its target at its own pace.

mod admit;
mod describe;
mod draft;
mod heartbeat;
mod leave;
mod pattern;
mod reconcile;
mod replay;
pub(crate) mod target;
mod topics;
mod validate;
pub(crate) mod watch;

pub(crate) use self::{
    admit::admit_classic,
    draft::Draft,
    heartbeat::{heartbeat, keep_watch},
    leave::fence,
    pattern::Patterns,
    reconcile::{is_free, reconcile, without},
    target::{refresh, retarget},
    validate::validate,
    watch::{Debt, Watches},
};

pub use self::pattern::matching;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use assign::Partitions;

use crate::{CurrentAssignment, MemberState, MemberSubscription};

/// The epoch of a static member that has left and is expected back.
pub(crate) const LEFT_FOR_NOW: i32 = -2;
/// The epoch that says good-bye.
pub(crate) const LEFT: i32 = -1;

/// A consumer group as it is kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Consumer {
    pub(crate) epoch: i32,
    pub(crate) metadata_hash: i64,
    pub(crate) members: BTreeMap<Arc<str>, Member>,
    pub(crate) target_epoch: i32,
    pub(crate) target: BTreeMap<Arc<str>, Arc<Partitions>>,
    /// Written by others only; known so that they can be forgotten with the group.
    pub(crate) regexes: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Member {
    pub(crate) subscription: Arc<MemberSubscription>,
    pub(crate) current: Arc<CurrentAssignment>,
}

impl Default for Member {
    fn default() -> Self {
        let current = CurrentAssignment {
            epoch: 0,
            previous_epoch: -1,
            state: MemberState::Stable,
            assigned: Partitions::new(),
            pending_revocation: Partitions::new(),
        };
        Self { subscription: Default::default(), current: Arc::new(current) }
    }
}

impl Member {
    pub(crate) fn is_classic(&self) -> bool {
        self.subscription.classic.is_some()
    }

    pub(crate) fn epoch(&self) -> i32 {
        self.current.epoch
    }

    /// Whether it has all that the target of this epoch gives it, and nothing else.
    pub(crate) fn is_at(&self, target_epoch: i32) -> bool {
        self.current.state == MemberState::Stable && self.current.epoch == target_epoch
    }

    /// What it has, or has yet to give up.
    pub(crate) fn held(&self) -> Partitions {
        let mut held = self.current.assigned.clone();
        for (topic, partitions) in &self.current.pending_revocation {
            held.entry(*topic).or_default().extend(partitions);
        }
        held
    }

    pub(crate) fn instance(&self) -> Option<&str> {
        self.subscription.instance.as_deref()
    }
}

impl Consumer {
    pub(crate) fn is_nothing(&self) -> bool {
        self.epoch == 0 && self.members.is_empty() && self.target.is_empty() && self.target_epoch == 0
    }

    pub(crate) fn instance_owner(&self, instance: &str) -> Option<Arc<str>> {
        let mut members = self.members.iter();
        members.find(|(_, member)| member.instance() == Some(instance)).map(|(id, _)| id.clone())
    }

    /// Whether there are members, and all speak the classic protocol.
    pub(crate) fn is_all_classic(&self) -> bool {
        !self.members.is_empty() && self.members.values().all(Member::is_classic)
    }

    pub(crate) fn state(&self) -> &'static str {
        match () {
            () if self.members.is_empty() => "Empty",
            () if self.epoch > self.target_epoch => "Assigning",
            () if self.members.values().all(|member| member.is_at(self.target_epoch)) => "Stable",
            () => "Reconciling",
        }
    }
}

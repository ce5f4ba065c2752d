use std::collections::{BTreeMap, BTreeSet};

use domain::{PartitionIndex, TopicId};

use crate::{Partitions, range, round_robin, uniform};

/// What one member wants, and what it had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscription {
    /// Those that do not exist are left out of the assignment.
    pub topics: BTreeSet<TopicId>,
    /// What the member had until now. It may name what is gone, what is no longer subscribed to, and what others claim
    /// as well.
    pub previous: Partitions,
    /// Of a static member (KIP-345).
    pub instance: Option<String>,
}

/// How a group's partitions are divided among its members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Assignor {
    /// Each topic in contiguous ranges: equal partitions of topics that are alike go to the same member.
    Range,
    /// All partitions in turn.
    RoundRobin,
    /// As even as can be, and then as little movement as can be.
    #[default]
    Uniform,
}

impl Assignor {
    /// The assignor of this name, as clients say it in `group.remote.assignor`.
    pub fn named(name: &str) -> Option<Assignor> {
        [Assignor::Range, Assignor::RoundRobin, Assignor::Uniform].into_iter().find(|a| a.name() == name)
    }

    pub fn name(self) -> &'static str {
        match self {
            Assignor::Range => "range",
            Assignor::RoundRobin => "roundrobin",
            Assignor::Uniform => "uniform",
        }
    }
}

/// Divides the partitions of all subscribed topics among the members, each partition to one of those that subscribe to
/// its topic. `topics` says how many partitions there are. Every member is in the answer, also one that gets nothing.
pub fn assign(
    assignor: Assignor,
    members: &BTreeMap<String, Subscription>,
    topics: &BTreeMap<TopicId, i32>,
) -> BTreeMap<String, Partitions> {
    match assignor {
        Assignor::Range => range::assign(members, topics),
        Assignor::RoundRobin => round_robin::assign(members, topics),
        Assignor::Uniform => uniform::assign(members, topics),
    }
}

/// The members in the order in which range and round robin serve them, which is Kafka's: static members by their
/// instance, so that a restart under a new member id changes nothing, then the others by their id.
pub(crate) fn in_order(members: &BTreeMap<String, Subscription>) -> Vec<(&String, &Subscription)> {
    let mut ordered: Vec<_> = members.iter().collect();
    ordered.sort_by_key(|(id, member)| (member.instance.is_none(), member.instance.as_ref(), *id));
    ordered
}

/// An assignment in which nobody has anything yet.
pub(crate) fn nothing(members: &BTreeMap<String, Subscription>) -> BTreeMap<String, Partitions> {
    members.keys().map(|id| (id.clone(), Partitions::new())).collect()
}

/// The numbers of a topic's partitions.
pub(crate) fn indexes(count: i32) -> impl ExactSizeIterator<Item = PartitionIndex> + DoubleEndedIterator {
    (0..count.max(0)).map(PartitionIndex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignors_are_found_by_their_names() {
        for assignor in [Assignor::Range, Assignor::RoundRobin, Assignor::Uniform] {
            assert_eq!(Assignor::named(assignor.name()), Some(assignor));
        }
        assert_eq!(Assignor::named("sticky"), None);
    }

    #[test]
    fn static_members_come_first_and_keep_their_place_under_a_new_id() {
        let member = |instance: Option<&str>| Subscription {
            instance: instance.map(str::to_owned),
            ..Subscription::default()
        };
        let members = BTreeMap::from([
            ("a".to_owned(), member(None)),
            ("b".to_owned(), member(Some("two"))),
            ("c".to_owned(), member(Some("one"))),
        ]);
        let ids: Vec<&str> = in_order(&members).into_iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(ids, ["c", "b", "a"]);
    }
}

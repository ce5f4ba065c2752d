//! The sticky assignor, which Kafka calls uniform: balanced first, then as few moves as possible (KIP-54, KIP-848).
//!
//! Everybody keeps what they had; what is free goes to who has least; then, as long as somebody has at least two fewer
//! than another who could give them a partition, directly or along a chain of members, it is given. That no such chain
//! is left means that no other assignment is more even (Harvey, Ladner, Lovász, Tamir: Semi-matchings, 2003). With
//! equal subscriptions a chain is one move from who has most to who has least, so no move is wasted.

mod balance;
mod ledger;

use std::collections::{BTreeMap, BTreeSet};

use domain::{PartitionIndex, TopicId};

use self::ledger::Ledger;
use crate::{Partitions, Subscription};

pub(crate) fn assign(
    members: &BTreeMap<String, Subscription>,
    topics: &BTreeMap<TopicId, i32>,
) -> BTreeMap<String, Partitions> {
    let topics: Vec<(TopicId, i32)> = topics.iter().map(|(topic, count)| (*topic, *count)).collect();
    let mut ledger = Ledger::new(members, &topics);
    keep(&mut ledger, members, &topics);
    place(&mut ledger);
    balance::balance(&mut ledger);
    ledger.bring_home();
    ledger.into_assignment(members, &topics)
}

/// Gives everybody what they had, as far as it is there and they still subscribe to it. Of several who claim a partition,
/// it goes to the one that has least.
fn keep(ledger: &mut Ledger, members: &BTreeMap<String, Subscription>, topics: &[(TopicId, i32)]) {
    let mut contested: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
    for (member, subscription) in members.values().enumerate() {
        for (topic, indexes) in &subscription.previous {
            let Ok(topic) = topics.binary_search_by_key(topic, |(id, _)| *id) else { continue };
            if !ledger.subscribes(member, topic) {
                continue;
            }
            for PartitionIndex(index) in indexes {
                let Ok(index) = usize::try_from(*index) else { continue };
                if index < ledger.count(topic) {
                    contested.entry((topic, index)).or_default().push(member);
                }
            }
        }
    }
    let (sole, contested): (Vec<_>, Vec<_>) =
        contested.into_iter().partition(|(_, claimants)| claimants.len() == 1);
    for ((topic, index), claimants) in sole.into_iter().chain(contested) {
        if let Some(member) = claimants.into_iter().min_by_key(|member| ledger.load(*member)) {
            ledger.keep(member, topic, index);
        }
    }
}

/// Gives what nobody has to the subscriber that has least; topics with the fewest subscribers first, because they have
/// the least choice.
fn place(ledger: &mut Ledger) {
    let mut topics: Vec<usize> = (0..ledger.topics()).collect();
    topics.sort_by_key(|topic| ledger.subscribers(*topic).len());
    for topic in topics {
        let free: Vec<usize> =
            (0..ledger.count(topic)).filter(|index| ledger.owner(topic, *index).is_none()).collect();
        if free.is_empty() {
            continue;
        }
        let with_load = |member: &usize| (ledger.load(*member), *member);
        let mut ascending: BTreeSet<(usize, usize)> =
            ledger.subscribers(topic).iter().map(with_load).collect();
        for index in free {
            let Some((load, member)) = ascending.pop_first() else { break };
            ledger.give(member, topic, index);
            ascending.insert((load + 1, member));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use domain::PartitionIndex;

    use crate::{Assignor, Subscription, assign, fixture::*};

    #[test]
    fn a_new_group_is_divided_evenly() {
        let members = members([("a", &[1, 2]), ("b", &[1, 2])]);
        let assignment = assign(Assignor::Uniform, &members, &topics([(1, 3), (2, 3)]));
        assert_eq!(assignment["a"], partitions([(1, &[0, 2]), (2, &[1])]));
        assert_eq!(assignment["b"], partitions([(1, &[1]), (2, &[0, 2])]));
    }

    #[test]
    fn a_partition_that_two_claim_goes_to_who_has_less() {
        let mut members = members([("a", &[1]), ("b", &[1])]);
        let claim = |id: &str, indexes: &[i32], members: &mut BTreeMap<String, Subscription>| {
            members.get_mut(id).unwrap().previous = partitions([(1, indexes), (9, &[0])]);
        };
        claim("a", &[0, 1, 7, -1], &mut members);
        claim("b", &[1], &mut members);
        let assignment = assign(Assignor::Uniform, &members, &topics([(1, 3)]));
        assert_eq!(assignment["a"], partitions([(1, &[0, 2])]));
        assert_eq!(assignment["b"], partitions([(1, &[1])]));
    }

    #[test]
    fn a_partition_moves_along_a_chain_where_it_cannot_move_directly() {
        // c can take from b only, which has none to spare but can take from a.
        let mut members = members([("a", &[1]), ("b", &[1, 2]), ("c", &[2])]);
        members.get_mut("a").unwrap().previous = partitions([(1, &[0, 1])]);
        members.get_mut("b").unwrap().previous = partitions([(2, &[0])]);
        let assignment = assign(Assignor::Uniform, &members, &topics([(1, 2), (2, 1)]));
        assert_eq!(assignment["a"], partitions([(1, &[0])]));
        assert_eq!(assignment["b"], partitions([(1, &[1])]));
        assert_eq!(assignment["c"], partitions([(2, &[0])]));
    }

    #[test]
    fn members_that_share_nothing_are_not_looked_through_for_each_partition() {
        let topics: BTreeMap<_, _> = (0..2_000).map(|number| (topic(number), 100)).collect();
        let member = |n| Subscription { topics: [topic(n)].into(), ..Subscription::default() };
        let members: BTreeMap<_, _> = (0..2_000).map(|n| (format!("{n:04}"), member(n))).collect();
        for assigned in assign(Assignor::Uniform, &members, &topics).values() {
            assert_eq!(assigned.values().map(BTreeSet::len).sum::<usize>(), 100);
        }
    }

    #[test]
    fn a_thousand_members_of_every_kind_are_served() {
        let everything: Vec<u128> = (0..20).collect();
        let topics: BTreeMap<_, _> = everything.iter().map(|number| (topic(*number), 500)).collect();
        let wanted = |n: usize, different: bool| match different {
            true => everything.iter().filter(|t| (**t as usize + n) % 7 < 3).map(|t| topic(*t)).collect(),
            false => topics.keys().copied().collect(),
        };
        for different in [false, true] {
            let member = |n| Subscription { topics: wanted(n, different), ..Subscription::default() };
            let mut members: BTreeMap<_, _> = (0..1000).map(|n| (format!("{n:04}"), member(n))).collect();
            // One of them had everything: the most movement that there can be.
            members.get_mut("0000").unwrap().previous =
                topics.keys().map(|topic| (*topic, (0..500).map(PartitionIndex).collect())).collect();
            for assigned in assign(Assignor::Uniform, &members, &topics).values() {
                assert_eq!(assigned.values().map(BTreeSet::len).sum::<usize>(), 10);
            }
        }
    }
}

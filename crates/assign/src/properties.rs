//! What must hold of every assignment, whatever the group.

use std::collections::{BTreeMap, BTreeSet};

use domain::{PartitionIndex, TopicId};
use proptest::{collection, option, prelude::*};

use crate::{Assignor, Partitions, Subscription, assign, fixture};

type Members = BTreeMap<String, Subscription>;
type Topics = BTreeMap<TopicId, i32>;
type Assignment = BTreeMap<String, Partitions>;

const ASSIGNORS: [Assignor; 3] = [Assignor::Range, Assignor::RoundRobin, Assignor::Uniform];

/// Topics 1 to 4 may exist, 5 never does.
fn any_topics() -> impl Strategy<Value = Topics> {
    collection::btree_map((1..=4_u128).prop_map(fixture::topic), 0..9, 0..=4)
}

fn any_wanted() -> impl Strategy<Value = BTreeSet<TopicId>> {
    collection::btree_set((1..=5_u128).prop_map(fixture::topic), 0..=5)
}

/// Anything that a member may claim, true or not.
fn any_claims() -> impl Strategy<Value = Partitions> {
    let indexes = collection::btree_set((-1..10).prop_map(PartitionIndex), 1..5);
    collection::btree_map((1..=5_u128).prop_map(fixture::topic), indexes, 0..5)
}

fn named(members: Vec<Subscription>) -> Members {
    members.into_iter().enumerate().map(|(n, member)| (format!("m{n}"), member)).collect()
}

fn any_members() -> impl Strategy<Value = Members> {
    let member = (any_wanted(), any_claims(), option::of("[a-c]"))
        .prop_map(|(topics, previous, instance)| Subscription { topics, previous, instance });
    collection::vec(member, 0..7).prop_map(named)
}

/// A group whose members want the same, with a past in which each partition had at most one owner.
fn alike() -> impl Strategy<Value = (Members, Topics)> {
    let owners = collection::vec(option::weighted(0.8, 0..7_usize), 4 * 8);
    (1..7_usize, any_topics(), any_wanted(), owners).prop_map(|(count, topics, wanted, owners)| {
        let member = Subscription { topics: wanted, ..Subscription::default() };
        let mut members = vec![member; count];
        for (place, owner) in owners.into_iter().enumerate() {
            if let Some(member) = owner.and_then(|owner| members.get_mut(owner)) {
                let (topic, index) =
                    (fixture::topic(1 + place as u128 / 8), PartitionIndex(place as i32 % 8));
                member.previous.entry(topic).or_default().insert(index);
            }
        }
        (named(members), topics)
    })
}

fn flat(partitions: &Partitions) -> BTreeSet<(TopicId, PartitionIndex)> {
    partitions.iter().flat_map(|(topic, indexes)| indexes.iter().map(|index| (*topic, *index))).collect()
}

fn loads(assignment: &Assignment) -> Vec<usize> {
    assignment.values().map(|partitions| flat(partitions).len()).collect()
}

/// The same group, after it has adopted an assignment.
fn adopted(mut members: Members, assignment: &Assignment) -> Members {
    for (id, member) in &mut members {
        member.previous = assignment[id].clone();
    }
    members
}

/// All partitions of topics that somebody wants.
fn wanted(members: &Members, topics: &Topics) -> BTreeSet<(TopicId, PartitionIndex)> {
    let wanted = topics.iter().filter(|(topic, _)| members.values().any(|m| m.topics.contains(topic)));
    wanted.flat_map(|(topic, count)| (0..*count).map(|index| (*topic, PartitionIndex(index)))).collect()
}

/// Who can be given a partition by whom, directly or along a chain.
fn reach(members: &Members, assignment: &Assignment) -> BTreeSet<(String, String)> {
    let can =
        |from: &String, to: &String| assignment[from].keys().any(|topic| members[to].topics.contains(topic));
    let mut reach: BTreeSet<_> = members
        .keys()
        .flat_map(|from| members.keys().map(move |to| (from, to)))
        .filter(|(from, to)| can(from, to))
        .map(|(from, to)| (from.clone(), to.clone()))
        .collect();
    for via in members.keys() {
        let (ins, outs): (Vec<_>, Vec<_>) = (
            reach.iter().filter(|(_, to)| to == via).map(|(from, _)| from.clone()).collect(),
            reach.iter().filter(|(from, _)| from == via).map(|(_, to)| to.clone()).collect(),
        );
        reach.extend(ins.iter().flat_map(|from| outs.iter().map(|to| (from.clone(), to.clone()))));
    }
    reach
}

proptest! {
    #[test]
    fn each_wanted_partition_goes_to_exactly_one_member_that_wants_it(
        members in any_members(),
        topics in any_topics(),
    ) {
        for assignor in ASSIGNORS {
            let assignment = assign(assignor, &members, &topics);
            prop_assert!(assignment.keys().eq(members.keys()));
            let all: Vec<_> = assignment.values().flat_map(flat).collect();
            let once: BTreeSet<_> = all.iter().copied().collect();
            prop_assert_eq!(all.len(), once.len(), "{:?}: twice", assignor);
            prop_assert_eq!(once, wanted(&members, &topics), "{:?}", assignor);
            for (id, assigned) in &assignment {
                prop_assert!(assigned.keys().all(|topic| members[id].topics.contains(topic)));
                prop_assert!(assigned.values().all(|indexes| !indexes.is_empty()));
            }
        }
    }

    #[test]
    fn the_same_group_gets_the_same_assignment(members in any_members(), topics in any_topics()) {
        for assignor in ASSIGNORS {
            let assignment = assign(assignor, &members, &topics);
            prop_assert_eq!(&assign(assignor, &members, &topics), &assignment);
            let adopted = adopted(members.clone(), &assignment);
            prop_assert_eq!(assign(assignor, &adopted, &topics), assignment, "{:?}", assignor);
        }
    }

    #[test]
    fn nobody_can_be_given_a_partition_by_somebody_who_has_two_more(
        members in any_members(),
        topics in any_topics(),
    ) {
        let assignment = assign(Assignor::Uniform, &members, &topics);
        for (from, to) in reach(&members, &assignment) {
            let (has, gets) = (flat(&assignment[&from]).len(), flat(&assignment[&to]).len());
            prop_assert!(has < gets + 2, "{} has {}, {} has {}: {:?}", from, has, to, gets, assignment);
        }
    }

    #[test]
    fn members_that_want_the_same_get_as_much_and_each_keeps_all_that_it_can((members, topics) in alike()) {
        let assignment = assign(Assignor::Uniform, &members, &topics);
        let total = wanted(&members, &topics).len();
        let (less, longer) = (total / members.len(), total % members.len());
        prop_assert_eq!(loads(&assignment).iter().filter(|load| **load == less + 1).count(), longer);
        prop_assert_eq!(loads(&assignment).iter().filter(|load| **load == less).count(), members.len() - longer);

        // No more can stay: each keeps at most its share, and only so many shares are longer by one.
        let wanted = wanted(&members, &topics);
        let had = |id: &String| flat(&members[id].previous).intersection(&wanted).copied().collect::<BTreeSet<_>>();
        let at_most = members.keys().map(|id| had(id).len().min(less)).sum::<usize>()
            + members.keys().filter(|id| had(id).len() > less).count().min(longer);
        let kept: usize = members.keys().map(|id| had(id).intersection(&flat(&assignment[id])).count()).sum();
        prop_assert_eq!(kept, at_most, "{:?} -> {:?}", members, assignment);
    }

    #[test]
    fn what_moves_when_one_leaves_is_what_it_had((members, topics) in alike(), leaver in 0..7_usize) {
        let before = assign(Assignor::Uniform, &members, &topics);
        let mut left = adopted(members, &before);
        left.remove(&format!("m{leaver}"));
        let after = assign(Assignor::Uniform, &left, &topics);
        for id in left.keys() {
            prop_assert!(flat(&before[id]).is_subset(&flat(&after[id])), "{:?} -> {:?}", before, after);
        }
    }

    #[test]
    fn what_moves_when_one_joins_is_what_it_gets((members, topics) in alike()) {
        let before = assign(Assignor::Uniform, &members, &topics);
        let mut joined = adopted(members, &before);
        let wanted = joined["m0"].topics.clone();
        joined.insert("joins".to_owned(), Subscription { topics: wanted, ..Subscription::default() });
        let after = assign(Assignor::Uniform, &joined, &topics);
        for (id, had) in &before {
            prop_assert!(flat(&after[id]).is_subset(&flat(had)), "{:?} -> {:?}", before, after);
        }
        let total: usize = loads(&after).iter().sum();
        prop_assert_eq!(flat(&after["joins"]).len(), total / joined.len());
    }
}

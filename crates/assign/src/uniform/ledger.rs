use std::collections::{BTreeMap, BTreeSet};

use domain::{PartitionIndex, TopicId};

use crate::{Partitions, Subscription};

/// Who has what while an assignment is made. Members, topics and partitions go by their place in order here, so ties
/// are always decided the same way.
pub(super) struct Ledger {
    topics: Vec<Topic>,
    members: Vec<Member>,
    /// All members, those who have least first.
    by_load: BTreeSet<(usize, usize)>,
}

struct Topic {
    /// In order.
    subscribers: Vec<usize>,
    /// Who had each partition, and may have it again.
    homes: Vec<Option<usize>>,
    owners: Vec<Option<usize>>,
    /// The owners and how much of this topic each has.
    shares: BTreeMap<usize, BTreeSet<usize>>,
}

#[derive(Default)]
struct Member {
    /// In order.
    subscribed: Vec<usize>,
    /// The topics of which it has partitions.
    owned: BTreeSet<usize>,
    load: usize,
}

impl Ledger {
    pub(super) fn new(members: &BTreeMap<String, Subscription>, topics: &[(TopicId, i32)]) -> Self {
        let place = |topic: &TopicId| topics.binary_search_by_key(topic, |(id, _)| *id).ok();
        let members: Vec<Member> = members
            .values()
            .map(|member| Member {
                subscribed: member.topics.iter().filter_map(place).collect(),
                ..Member::default()
            })
            .collect();
        let mut topics: Vec<Topic> = topics.iter().map(|(_, count)| Topic::new(*count)).collect();
        for (number, member) in members.iter().enumerate() {
            member.subscribed.iter().for_each(|topic| topics[*topic].subscribers.push(number));
        }
        let by_load = (0..members.len()).map(|member| (0, member)).collect();
        Self { topics, members, by_load }
    }

    pub(super) fn topics(&self) -> usize {
        self.topics.len()
    }

    pub(super) fn members(&self) -> usize {
        self.members.len()
    }

    /// How many partitions a topic has.
    pub(super) fn count(&self, topic: usize) -> usize {
        self.topics[topic].owners.len()
    }

    pub(super) fn subscribers(&self, topic: usize) -> &[usize] {
        &self.topics[topic].subscribers
    }

    pub(super) fn subscribed(&self, member: usize) -> &[usize] {
        &self.members[member].subscribed
    }

    pub(super) fn subscribes(&self, member: usize, topic: usize) -> bool {
        self.members[member].subscribed.binary_search(&topic).is_ok()
    }

    pub(super) fn owner(&self, topic: usize, index: usize) -> Option<usize> {
        self.topics[topic].owners[index]
    }

    /// Those who have partitions of a topic.
    pub(super) fn owners(&self, topic: usize) -> impl Iterator<Item = usize> {
        self.topics[topic].shares.keys().copied()
    }

    /// The topics of which a member has partitions.
    pub(super) fn owned(&self, member: usize) -> impl Iterator<Item = usize> {
        self.members[member].owned.iter().copied()
    }

    pub(super) fn load(&self, member: usize) -> usize {
        self.members[member].load
    }

    /// All members, who has least first.
    pub(super) fn ascending(&self) -> impl DoubleEndedIterator<Item = usize> {
        self.by_load.iter().map(|(_, member)| *member)
    }

    /// Gives a member what it had before.
    pub(super) fn keep(&mut self, member: usize, topic: usize, index: usize) {
        self.topics[topic].homes[index] = Some(member);
        self.give(member, topic, index);
    }

    /// Gives a partition that nobody has.
    pub(super) fn give(&mut self, member: usize, topic: usize, index: usize) {
        self.topics[topic].owners[index] = Some(member);
        self.topics[topic].shares.entry(member).or_default().insert(index);
        self.members[member].owned.insert(topic);
        self.set_load(member, self.members[member].load + 1);
    }

    /// Moves some partition of a topic: best one that comes home by it, else one that is not at home where it is.
    pub(super) fn pass_on(&mut self, topic: usize, from: usize, to: usize) {
        let Topic { homes, shares, .. } = &self.topics[topic];
        let cost = |index: &usize| match homes[*index] {
            Some(home) if home == to => 0,
            Some(home) if home == from => 2,
            _ => 1,
        };
        // The last of those that are as good, so that the first partitions stay where they are.
        if let Some(index) = shares.get(&from).and_then(|share| share.iter().rev().copied().min_by_key(cost))
        {
            self.take(from, topic, index);
            self.give(to, topic, index);
        }
    }

    fn take(&mut self, member: usize, topic: usize, index: usize) {
        self.topics[topic].owners[index] = None;
        if let Some(share) = self.topics[topic].shares.get_mut(&member) {
            share.remove(&index);
            if share.is_empty() {
                self.topics[topic].shares.remove(&member);
                self.members[member].owned.remove(&topic);
            }
        }
        self.set_load(member, self.members[member].load - 1);
    }

    fn set_load(&mut self, member: usize, load: usize) {
        self.by_load.remove(&(self.members[member].load, member));
        self.by_load.insert((load, member));
        self.members[member].load = load;
    }

    /// Exchanges partitions of the same topic where one of the two comes home by it: nobody's load changes.
    pub(super) fn bring_home(&mut self) {
        for topic in 0..self.topics.len() {
            for index in 0..self.count(topic) {
                let (Some(home), Some(owner)) = (self.topics[topic].homes[index], self.owner(topic, index))
                else {
                    continue;
                };
                if home != owner
                    && let Some(other) = self.topics[topic].stranger(home)
                {
                    self.take(owner, topic, index);
                    self.take(home, topic, other);
                    self.give(home, topic, index);
                    self.give(owner, topic, other);
                }
            }
        }
    }

    pub(super) fn into_assignment(
        self,
        members: &BTreeMap<String, Subscription>,
        topics: &[(TopicId, i32)],
    ) -> BTreeMap<String, Partitions> {
        let mut shares = vec![Partitions::new(); self.members.len()];
        for (topic, (id, _)) in self.topics.into_iter().zip(topics) {
            for (member, share) in topic.shares {
                shares[member]
                    .insert(*id, share.into_iter().map(|index| PartitionIndex(index as i32)).collect());
            }
        }
        members.keys().cloned().zip(shares).collect()
    }
}

impl Topic {
    fn new(count: i32) -> Self {
        let count = usize::try_from(count).unwrap_or(0);
        Self {
            subscribers: Vec::new(),
            homes: vec![None; count],
            owners: vec![None; count],
            shares: BTreeMap::new(),
        }
    }

    /// A partition that the member has and did not have before.
    fn stranger(&self, member: usize) -> Option<usize> {
        self.shares.get(&member)?.iter().copied().find(|index| self.homes[*index] != Some(member))
    }
}

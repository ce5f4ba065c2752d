use std::collections::{BTreeMap, BTreeSet};

use assign::{Assignor, Partitions, Subscription, assign};
use domain::{PartitionIndex, TopicId};
use wire::{
    ResponseError,
    messages::{HeartbeatRequest, JoinGroupResponse},
};

use crate::{
    Answer, Call,
    migrate::Embedded,
    tests::messages::{Owned, assigned, join_with, subscription, sync, text},
};

/// Longer than any rebalance.
const PATIENCE_MS: u64 = 30_000;

/// A member of the classic protocol.
#[derive(Debug)]
pub(super) struct Classic {
    pub(super) member: String,
    pub(super) generation: i32,
    pub(super) cooperative: bool,
    /// Whether it was the leader when it joined last.
    leads: bool,
    state: State,
    topic: TopicId,
    /// As it sees it in its metadata.
    pub(super) partitions: i32,
}

#[derive(Debug)]
enum State {
    Joins,
    Syncs(Vec<(String, Vec<i32>)>),
    Stable,
}

impl Classic {
    pub(super) fn new(topic: TopicId, partitions: i32, cooperative: bool) -> Self {
        let member = String::new();
        Self { member, generation: -1, cooperative, leads: false, state: State::Joins, topic, partitions }
    }

    /// Metadata is the leader's business: it calls all together for a new assignment.
    pub(super) fn sees(&mut self, partitions: i32) {
        if self.partitions != partitions {
            self.partitions = partitions;
            if self.leads {
                self.state = State::Joins;
            }
        }
    }

    pub(super) fn request(&mut self, owned: &mut Owned, now_ms: u64, next_ms: &mut u64) -> (i16, Call) {
        *next_ms = now_ms + PATIENCE_MS;
        match &self.state {
            State::Joins => {
                if !self.cooperative {
                    owned.clear();
                }
                let owned: Vec<i32> = owned.iter().map(|(_, partition)| *partition).collect();
                (6, Call::Join(join_with(&self.member, &["any"], subscription(&["t"], &owned))))
            }
            State::Syncs(parts) => {
                let parts: Vec<(&str, &[i32])> =
                    parts.iter().map(|(member, partitions)| (member.as_str(), &partitions[..])).collect();
                let request = sync(&self.member, self.generation, &parts);
                // If the answer is lost, what it knew is worth nothing.
                self.state = State::Joins;
                (5, Call::Sync(request))
            }
            State::Stable => {
                *next_ms = now_ms + 3000;
                let request = HeartbeatRequest::default()
                    .with_group_id(text("g").into())
                    .with_member_id(text(&self.member))
                    .with_generation_id(self.generation);
                (4, Call::Heartbeat(request))
            }
        }
    }

    /// When it will speak next.
    pub(super) fn hear(&mut self, owned: &mut Owned, answer: Option<Answer>, now_ms: u64) -> u64 {
        match answer {
            Some(Answer::Join(answer)) if answer.error_code == 0 => {
                self.member = answer.member_id.to_string();
                self.generation = answer.generation_id;
                self.leads = answer.leader == answer.member_id;
                self.state = State::Syncs(if self.leads { self.assign(&answer) } else { Vec::new() });
                now_ms
            }
            Some(Answer::Join(answer)) => {
                if answer.error_code == ResponseError::MemberIdRequired.code() {
                    self.member = answer.member_id.to_string();
                    return now_ms;
                }
                self.refused(owned, answer.error_code, now_ms)
            }
            Some(Answer::Sync(answer)) if answer.error_code == 0 => {
                let given = assigned(&answer.assignment).into_iter().map(|partition| (self.topic, partition));
                let given: Owned = given.collect();
                let gives_up = !owned.is_subset(&given);
                *owned = given;
                self.state = if gives_up { State::Joins } else { State::Stable };
                if gives_up { now_ms } else { now_ms + 3000 }
            }
            Some(Answer::Sync(answer)) => self.refused(owned, answer.error_code, now_ms),
            Some(Answer::Heartbeat(answer)) if answer.error_code == 0 => now_ms + 3000,
            Some(Answer::Heartbeat(answer)) => self.refused(owned, answer.error_code, now_ms),
            None => now_ms + 500,
            other => panic!("{other:?}"),
        }
    }

    fn refused(&mut self, owned: &mut Owned, error: i16, now_ms: u64) -> u64 {
        let is = |of: ResponseError| error == of.code();
        if is(ResponseError::UnknownMemberId) {
            self.member.clear();
            owned.clear();
        } else if is(ResponseError::IllegalGeneration) {
            owned.clear();
        } else if is(ResponseError::NotCoordinator) {
            // What it asked is not known to have happened. Only a heartbeat may simply be sent again.
            return now_ms + 300;
        } else {
            assert!(is(ResponseError::RebalanceInProgress), "error {error}");
        }
        self.state = State::Joins;
        now_ms + 20
    }

    /// As a leader: evenly, with as little movement as can be; what is claimed is given to nobody else (KIP-429).
    fn assign(&self, answer: &JoinGroupResponse) -> Vec<(String, Vec<i32>)> {
        let mut members = BTreeMap::new();
        let mut claims: BTreeMap<i32, BTreeSet<String>> = BTreeMap::new();
        for member in &answer.members {
            let said = Embedded::subscription(&member.metadata).unwrap();
            let owned: BTreeSet<_> =
                said.owned.iter().flat_map(|(_, of)| of.iter().copied().map(PartitionIndex)).collect();
            for partition in &owned {
                claims.entry(partition.0).or_default().insert(member.member_id.to_string());
            }
            let previous = Partitions::from_iter((!owned.is_empty()).then_some((self.topic, owned)));
            let topics = BTreeSet::from([self.topic]);
            members.insert(member.member_id.to_string(), Subscription { topics, previous, instance: None });
        }
        let topics = BTreeMap::from([(self.topic, self.partitions)]);
        let assigned =
            assign(Assignor::Uniform, &members, &topics).into_iter().map(|(member, partitions)| {
                let own =
                    partitions.into_values().flatten().map(|partition| partition.0).filter(|partition| {
                        claims.get(partition).is_none_or(|claimants| claimants.iter().all(|c| *c == member))
                    });
                let own = own.collect();
                (member, own)
            });
        assigned.collect()
    }

    pub(super) fn is_settled(&self) -> bool {
        matches!(self.state, State::Stable)
    }
}

//! What a group's member says, and hears.

use std::collections::BTreeSet;

use domain::LeaderEpoch;
use group::{Answer, Call as Asks, Topics};
use wire::{
    ResponseError, StrBytes,
    messages::{
        ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, OffsetCommitRequest,
        OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse,
        consumer_group_heartbeat_request::TopicPartitions,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
    },
};

use crate::{
    event::{GroupCall, Message, Party},
    groups_setup::READ_TOPIC,
    member::{Coming, History},
    network::Fate,
    node::Call,
    world::World,
};

/// How long a member waits for an answer.
const REQUEST_US: u64 = 100_000;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

impl World {
    /// A heartbeat, if one is due.
    pub(crate) fn beat_member(&mut self, m: usize) {
        let (now, topics) = (self.now_us, self.read_topics());
        let rebalance_ms = self.setup.groups.as_ref().map_or(0, |groups| groups.rebalance_ms) as i32;
        let member = &mut self.members[m];
        let Some(life) = member.life.as_mut().filter(|l| l.beat.is_none() && now >= l.beat_due_us) else {
            return;
        };
        let beat = heartbeat(&member.group, &life.id, life.epoch);
        let owned = life.owns();
        // On its way it says little: it cannot know what it will own when it is heard.
        let (says_all, says_owned) = match life.epoch {
            0 => (true, true),
            _ if life.coming.is_some() => (false, false),
            _ => (life.full, life.full || life.told.as_ref() != Some(&owned)),
        };
        let beat = match says_all {
            true => beat
                .with_rebalance_timeout_ms(rebalance_ms)
                .with_subscribed_topic_names(Some(vec![text(READ_TOPIC).into()])),
            false => beat,
        };
        let id = topics.by_name(READ_TOPIC).map_or(uuid::Uuid::nil(), |(id, _)| id.0);
        let beat = match says_owned {
            true => beat.with_topic_partitions(Some(owning(id, &owned))),
            false => beat,
        };
        if says_owned {
            life.told = Some(owned);
        }
        let call = self.ask(m, 1, Asks::ConsumerHeartbeat(beat));
        let losses = self.groups_ghost.asked().losses;
        if let Some(life) = self.members[m].life.as_mut() {
            (life.beat, life.asked_full, life.losses_asked) = (call, says_all, losses);
        }
    }

    pub(crate) fn say_left(&mut self, m: usize) {
        let member = &self.members[m];
        let Some(life) = member.life.as_ref() else { return };
        let beat = heartbeat(&member.group, &life.id, -1);
        self.ask(m, 1, Asks::ConsumerHeartbeat(beat));
    }

    /// How far it has come in something that it takes for its own.
    pub(crate) fn commit_position(&mut self, m: usize) {
        let (nth, position) = (self.random.number() as usize, self.fresh_id() as i64);
        let member = &self.members[m];
        let Some(life) = member.life.as_ref().filter(|l| l.commit.is_none() && l.epoch > 0) else { return };
        let known: Vec<i32> = life.owned.iter().filter(|(_, at)| at.is_some()).map(|(p, _)| *p).collect();
        if known.is_empty() {
            return;
        }
        let partition = known[nth % known.len()];
        let of = OffsetCommitRequestPartition::default()
            .with_partition_index(partition)
            .with_committed_offset(position);
        let topic =
            OffsetCommitRequestTopic::default().with_name(text(READ_TOPIC).into()).with_partitions(vec![of]);
        let request = OffsetCommitRequest::default()
            .with_group_id(text(&member.group).into())
            .with_member_id(text(&life.id))
            .with_generation_id_or_member_epoch(life.epoch)
            .with_retention_time_ms(-1)
            .with_topics(vec![topic]);
        let call = self.ask(m, 9, Asks::OffsetCommit(request));
        if let Some(life) = self.members[m].life.as_mut() {
            life.commit = call.map(|call| (call, partition, position));
        }
    }

    /// Where it is to begin in what it has got.
    pub(crate) fn ask_positions(&mut self, m: usize) {
        let member = &self.members[m];
        let Some(life) = member.life.as_ref().filter(|l| l.fetch.is_none() && l.epoch > 0) else { return };
        let unknown: Vec<i32> = life.owned.iter().filter(|(_, at)| at.is_none()).map(|(p, _)| *p).collect();
        if unknown.is_empty() {
            return;
        }
        let topic = OffsetFetchRequestTopics::default()
            .with_name(text(READ_TOPIC).into())
            .with_partition_indexes(unknown);
        let group = OffsetFetchRequestGroup::default()
            .with_group_id(text(&member.group).into())
            .with_member_id(Some(text(&life.id)))
            .with_member_epoch(life.epoch)
            .with_topics(Some(vec![topic]));
        let request = OffsetFetchRequest::default().with_groups(vec![group]);
        let call = self.ask(m, 9, Asks::OffsetFetch(request));
        if let Some(life) = self.members[m].life.as_mut() {
            life.fetch = call;
        }
    }

    /// Somebody who is no member asks any node where the group stands, as administrators do. The answer is judged where it
    /// leaves.
    pub(crate) fn look_at_positions(&mut self, m: usize) {
        let to = Party::Node(self.random.index(self.setup.nodes));
        let partitions = (0..self.read_topics().partitions).collect();
        let topic = OffsetFetchRequestTopics::default()
            .with_name(text(READ_TOPIC).into())
            .with_partition_indexes(partitions);
        let group = OffsetFetchRequestGroup::default()
            .with_group_id(text(&self.members[m].group).into())
            .with_member_epoch(-1)
            .with_topics(Some(vec![topic]));
        let asks = Asks::OffsetFetch(OffsetFetchRequest::default().with_groups(vec![group]));
        let (call, asked) = (self.fresh_id(), self.groups_ghost.asked());
        let message = Message::Ask(Box::new(GroupCall { call, connection: None, version: 9, asks, asked }));
        self.send(Party::Member(m), to, message);
    }

    /// Sends it to whoever some node takes for the coordinator.
    fn ask(&mut self, m: usize, version: i16, asks: Asks) -> Option<Call> {
        let p = self.setup.group_partition()?;
        let (call, now) = (self.fresh_id(), self.now_us);
        if self.members[m].coordinator.is_none() {
            let (coordinator, _): (usize, LeaderEpoch) = self.look_up(p)?;
            let member = &mut self.members[m];
            (member.coordinator, member.connection, member.arrives_us) = (Some(coordinator), call, 0);
        }
        let to = Party::Node(self.members[m].coordinator?);
        let connection = Some(self.members[m].connection);
        self.trace(Party::Member(m), format_args!("asks {to}: {asks:?}"));
        let asked = self.groups_ghost.asked();
        let message = Message::Ask(Box::new(GroupCall { call, connection, version, asks, asked }));
        match self.fate(Party::Member(m), to) {
            Fate::Lost => self.counts.lost += 1,
            Fate::Arrives { after_us } => {
                let at = (now + after_us).max(self.members[m].arrives_us + 1);
                self.members[m].arrives_us = at;
                self.deliver_after(at - now, Party::Member(m), to, message);
            }
        }
        Some(Call { id: call, until_us: now + REQUEST_US })
    }

    pub(crate) fn on_member(&mut self, m: usize, message: Message) {
        let Message::Told { epoch, call, answer } = message else { return };
        let asleep = self.members[m].is_asleep(self.now_us) && !self.healing;
        let Some(life) = self.members[m].life.as_mut().filter(|_| !asleep) else { return };
        match *answer {
            Answer::ConsumerHeartbeat(answer) if life.beat.is_some_and(|c| c.id == call) => {
                life.beat = None;
                self.on_beat(m, epoch, &answer);
            }
            Answer::OffsetCommit(answer) if life.commit.is_some_and(|(c, ..)| c.id == call) => {
                self.on_committed(m, &answer);
            }
            Answer::OffsetFetch(answer) if life.fetch.is_some_and(|c| c.id == call) => {
                life.fetch = None;
                self.on_positions(m, &answer);
            }
            _ => {}
        }
    }

    fn on_beat(&mut self, m: usize, epoch: LeaderEpoch, answer: &ConsumerGroupHeartbeatResponse) {
        let slow_us = match self.random.index(3) {
            0 => self.random.range(0, 150_000),
            _ => 0,
        };
        let (now, healing) = (self.now_us, self.healing);
        let Some(life) = self.members[m].life.as_mut() else { return };
        let is = |error: ResponseError| answer.error_code == error.code();
        if answer.error_code == 0 {
            life.epoch = answer.member_epoch;
            life.full &= !life.asked_full;
            let history = History { losses: life.losses_asked, epoch };
            if life.coming.is_none() {
                life.history = history;
            }
            life.beat_due_us = now + u64::try_from(answer.heartbeat_interval_ms).unwrap_or(0) * 1_000;
            let Some(assignment) = &answer.assignment else { return };
            let given = assignment.topic_partitions.iter().flat_map(|topic| topic.partitions.iter().copied());
            let slow_us = if healing { 0 } else { slow_us };
            life.coming = Some(Coming { at_us: now + slow_us, partitions: given.collect(), history });
            life.beat_due_us = now;
            self.arrive(m);
            return self.beat_if_news(m);
        }
        if is(ResponseError::FencedMemberEpoch) || is(ResponseError::UnknownMemberId) {
            self.trace(Party::Member(m), format_args!("is fenced"));
            if let Some(life) = self.members[m].life.as_mut() {
                life.begin_anew();
            }
            return;
        }
        life.full = true;
        self.reconnect(m);
    }

    /// What it has given up or got it says at once.
    fn beat_if_news(&mut self, m: usize) {
        let Some(life) = self.members[m].life.as_ref() else { return };
        if life.told.as_ref() != Some(&life.owns()) {
            self.beat_member(m);
        }
    }

    fn on_committed(&mut self, m: usize, answer: &OffsetCommitResponse) {
        let Some(life) = self.members[m].life.as_mut() else { return };
        let Some((_, partition, position)) = life.commit.take() else { return };
        let results = answer.topics.iter().flat_map(|topic| &topic.partitions);
        let error = results.map(|result| result.error_code).find(|code| *code != 0);
        match error {
            None => {
                self.counts.commits += 1;
                if let Some(at) = life.owned.get_mut(&partition) {
                    *at = Some(position);
                }
                if self.random.chance(500) {
                    self.commit_position(m);
                }
            }
            Some(code) => {
                self.counts.refused_commits += 1;
                if moved(code) {
                    self.reconnect(m);
                }
            }
        }
    }

    fn on_positions(&mut self, m: usize, answer: &OffsetFetchResponse) {
        let Some(life) = self.members[m].life.as_mut() else { return };
        for group in &answer.groups {
            if moved(group.error_code) {
                return self.reconnect(m);
            }
            let told = group.topics.iter().flat_map(|topic| &topic.partitions);
            for told in told.filter(|told| told.error_code == 0) {
                if let Some(at) = life.owned.get_mut(&told.partition_index).filter(|at| at.is_none()) {
                    *at = Some(told.committed_offset);
                    self.counts.positions += 1;
                }
            }
        }
        // What is short is read at once.
        if self.random.chance(500) {
            self.commit_position(m);
        }
    }
}

/// Somebody else is the coordinator, or nobody knows.
fn moved(code: i16) -> bool {
    code == ResponseError::NotCoordinator.code() || code == ResponseError::CoordinatorNotAvailable.code()
}

fn heartbeat(group: &str, member: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest::default()
        .with_group_id(text(group).into())
        .with_member_id(text(member))
        .with_member_epoch(epoch)
        .with_rebalance_timeout_ms(-1)
        .with_topic_partitions(None)
}

fn owning(topic: uuid::Uuid, owned: &BTreeSet<i32>) -> Vec<TopicPartitions> {
    match owned.is_empty() {
        true => Vec::new(),
        false => {
            let partitions = owned.iter().copied().collect();
            vec![TopicPartitions::default().with_topic_id(topic).with_partitions(partitions)]
        }
    }
}

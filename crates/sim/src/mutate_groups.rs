//! Where mutations bend what goes into a coordinator's decisions and what comes out.

use group::{Answer, Call, Entry, Step};
use wire::messages::{
    OffsetCommitResponse,
    offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic},
};

use crate::{groups_setup::READ_TOPIC, mutation::Mutation, world::World};

impl World {
    /// A call on its way into the coordinator.
    pub(crate) fn bent_call(&self, call: Call) -> Call {
        match (self.mutation, call) {
            (Some(Mutation::RevokedUnheard), Call::ConsumerHeartbeat(request))
                if request.member_epoch > 0 =>
            {
                Call::ConsumerHeartbeat(request.with_topic_partitions(Some(Vec::new())))
            }
            (_, call) => call,
        }
    }

    /// What was decided on it.
    pub(crate) fn bent_step(&self, call: &Call, step: Step) -> Step {
        let (Some(Mutation::NoCommitFencing), Call::OffsetCommit(request)) = (self.mutation, call) else {
            return step;
        };
        let (mut records, mut partitions) = (Vec::new(), Vec::new());
        for partition in request.topics.iter().flat_map(|topic| &topic.partitions) {
            let index = partition.partition_index;
            partitions.push(OffsetCommitResponsePartition::default().with_partition_index(index));
            records.push(Entry::OffsetCommit {
                group: request.group_id.to_string(),
                topic: READ_TOPIC.to_owned(),
                partition: domain::PartitionIndex(index),
                value: Some(group::CommittedOffset {
                    offset: domain::Offset(partition.committed_offset),
                    leader_epoch: domain::LeaderEpoch::UNKNOWN,
                    metadata: String::new(),
                    committed_at_ms: self.now_ms() as i64,
                    expires_at_ms: None,
                    topic_id: None,
                }),
            });
        }
        let topics = vec![OffsetCommitResponseTopic::default().with_partitions(partitions)];
        let answer = Answer::OffsetCommit(OffsetCommitResponse::default().with_topics(topics));
        let answers = step.answers.into_iter().map(|(token, _)| (token, answer.clone())).collect();
        Step { records, answers }
    }

    /// A coordinator's clockwork, after it has run.
    pub(crate) fn bent_tick(&mut self, n: usize) {
        let coordinates = self.coordinator(n).is_some_and(|c| c.groups.is_some());
        if self.mutation != Some(Mutation::ExpireWhileAlive) || !coordinates || !self.random.chance(100) {
            return;
        }
        let Some((group, partition)) = self.groups_ghost.positions.keys().next().cloned() else { return };
        let (topic, partition) = (READ_TOPIC.to_owned(), domain::PartitionIndex(partition));
        let records = vec![Entry::OffsetCommit { group, topic, partition, value: None }];
        self.carry_out(n, Step { records, answers: Vec::new() });
    }
}

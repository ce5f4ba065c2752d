use wire::messages::OffsetCommitRequest;

use super::{classic::Classic, consumer::Consumer};
use crate::{
    Answer, Call,
    tests::messages::{Owned, commit, text},
};

/// A consumer as its program sees it.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) kind: Kind,
    /// What it reads from, as far as it knows.
    pub(super) owned: Owned,
    pub(super) next_ms: u64,
    /// Some are slow to give up or take over partitions.
    pub(super) slow_ms: u64,
}

#[derive(Debug)]
pub(super) enum Kind {
    Consumer(Consumer),
    Classic(Classic),
}

impl Client {
    pub(super) fn member(&self) -> &str {
        match &self.kind {
            Kind::Consumer(consumer) => &consumer.member,
            Kind::Classic(classic) => &classic.member,
        }
    }

    /// It is its turn; what it sends.
    pub(super) fn act(&mut self, now_ms: u64) -> (i16, Call) {
        match &mut self.kind {
            Kind::Consumer(consumer) => {
                self.next_ms = now_ms + 1000;
                (1, Call::ConsumerHeartbeat(consumer.request(&mut self.owned, now_ms)))
            }
            Kind::Classic(classic) => classic.request(&mut self.owned, now_ms, &mut self.next_ms),
        }
    }

    /// An answer arrives, or (`None`) the client learns that none will.
    pub(super) fn hear(&mut self, answer: Option<Answer>, now_ms: u64) {
        let slow_ms = self.slow_ms;
        match (&mut self.kind, answer) {
            (Kind::Consumer(consumer), Some(Answer::ConsumerHeartbeat(answer))) => {
                self.next_ms = consumer.hear(&mut self.owned, &answer, now_ms, slow_ms);
            }
            (Kind::Consumer(consumer), None) => {
                consumer.full = true;
                self.next_ms = now_ms + 500;
            }
            (Kind::Classic(classic), answer) => {
                self.next_ms = classic.hear(&mut self.owned, answer, now_ms);
            }
            (kind, answer) => panic!("{kind:?} heard {answer:?}"),
        }
    }

    pub(super) fn commit(&self, topic: &str, partition: i32, offset: i64) -> OffsetCommitRequest {
        let mut request = commit(topic, offset).with_member_id(text(self.member()));
        request.generation_id_or_member_epoch = match &self.kind {
            Kind::Consumer(consumer) => consumer.epoch,
            Kind::Classic(classic) => classic.generation,
        };
        request.topics[0].partitions[0].partition_index = partition;
        request
    }
}

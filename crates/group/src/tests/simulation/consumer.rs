use wire::{
    ResponseError,
    messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse},
};

use crate::tests::messages::{Owned, first, given, heartbeat, owning, text};

/// A member of the consumer protocol.
#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) member: String,
    pub(super) instance: Option<String>,
    pub(super) epoch: i32,
    /// It may have missed an answer: it says everything.
    pub(super) full: bool,
    /// What it said last was everything.
    asked_full: bool,
    /// What it is on its way to, and when it will be there.
    coming: Option<(u64, Owned)>,
    told: Owned,
}

impl Consumer {
    pub(super) fn new(member: String, instance: Option<String>) -> Self {
        Self { member, instance, epoch: 0, full: false, asked_full: false, coming: None, told: Owned::new() }
    }

    pub(super) fn request(&mut self, owned: &mut Owned, now_ms: u64) -> ConsumerGroupHeartbeatRequest {
        if let Some((_, new)) = self.coming.take_if(|(at_ms, _)| *at_ms <= now_ms) {
            *owned = new;
        }
        let said = match self.epoch {
            0 => first(&self.member),
            // On its way it says little: it cannot know what it will own when it is heard.
            _ if self.coming.is_some() => heartbeat(&self.member, self.epoch),
            epoch if self.full => {
                first(&self.member).with_member_epoch(epoch).with_topic_partitions(owning(owned))
            }
            epoch if self.told != *owned => {
                heartbeat(&self.member, epoch).with_topic_partitions(owning(owned))
            }
            epoch => heartbeat(&self.member, epoch),
        };
        self.asked_full = self.full && self.coming.is_none() || self.epoch == 0;
        if said.topic_partitions.is_some() {
            self.told = owned.clone();
        }
        said.with_instance_id(self.instance.as_deref().map(text))
    }

    /// When it will speak next.
    pub(super) fn hear(
        &mut self,
        owned: &mut Owned,
        answer: &ConsumerGroupHeartbeatResponse,
        now_ms: u64,
        slow_ms: u64,
    ) -> u64 {
        let code = |error: ResponseError| error.code();
        match answer.error_code {
            0 => {
                self.epoch = answer.member_epoch;
                self.full &= !self.asked_full;
                if let Some(given) = given(answer) {
                    if given == *owned && slow_ms == 0 {
                        self.coming = None;
                    } else {
                        self.coming = Some((now_ms + slow_ms, given));
                    }
                    return now_ms + slow_ms;
                }
                now_ms + u64::try_from(answer.heartbeat_interval_ms).unwrap()
            }
            e if e == code(ResponseError::FencedMemberEpoch) || e == code(ResponseError::UnknownMemberId) => {
                owned.clear();
                *self = Self::new(self.member.clone(), self.instance.clone());
                now_ms + 10
            }
            e if e == code(ResponseError::NotCoordinator) => {
                self.full = true;
                now_ms + 300
            }
            e if e == code(ResponseError::UnreleasedInstanceId) => now_ms + 1000,
            other => panic!("error {other}: {:?}", answer.error_message),
        }
    }

    /// It stops, and begins again under another id.
    pub(super) fn restart(&mut self, member: String) {
        *self = Self::new(member, self.instance.take());
    }
}

use wire::messages::LeaveGroupRequest;

use super::{client::Kind, world::World};
use crate::{
    Call, Topics,
    tests::messages::{heartbeat, text},
};

const CLIENTS_MAX: usize = 6;

impl World {
    /// Something goes wrong, or somebody comes or goes.
    pub(super) fn event(&mut self) {
        let now_ms = self.bench.now_ms;
        match self.random.below(12) {
            0..=3 if self.clients.len() < CLIENTS_MAX => self.add(),
            4 => self.leave(),
            // A crash says nothing.
            5 => drop(self.any().and_then(|id| self.clients.remove(&id))),
            6 | 7 => {
                // It is paused, and believes what it believed.
                let ms = self.random.below(40_000);
                if let Some(client) = self.any().and_then(|id| self.clients.get_mut(&id)) {
                    client.next_ms = client.next_ms.max(now_ms + ms);
                }
            }
            8 => self.restart(),
            9 => {
                let partitions = self.bench.topics.by_name("t").unwrap().1;
                if partitions < 12 {
                    self.bench.topics.grow("t", partitions + 1);
                    self.bench.topics_changed();
                }
            }
            10 => self.fail_over(),
            11 => {
                self.bench.now_ms += self.random.below(60_000);
                self.bench.groups.was_deaf(self.bench.now_ms);
            }
            _ => {}
        }
    }

    fn any(&mut self) -> Option<u64> {
        let nth = self.random.below(self.clients.len() as u64) as usize;
        self.clients.keys().nth(nth).copied()
    }

    fn leave(&mut self) {
        let Some(client) = self.any().and_then(|id| self.clients.remove(&id)) else { return };
        let call = match &client.kind {
            Kind::Consumer(consumer) => Call::ConsumerHeartbeat(
                heartbeat(&consumer.member, -1).with_instance_id(consumer.instance.as_deref().map(text)),
            ),
            Kind::Classic(classic) => Call::Leave(
                LeaveGroupRequest::default()
                    .with_group_id(text("g").into())
                    .with_member_id(text(&classic.member)),
            ),
        };
        self.bench.send(1, call);
    }

    /// A static member stops and comes back under a new id.
    fn restart(&mut self) {
        let Some(id) = self.any() else { return };
        self.made += 1;
        let member = format!("m{}", self.made);
        let Some(client) = self.clients.get_mut(&id) else { return };
        let Kind::Consumer(consumer) = &mut client.kind else { return };
        let Some(instance) = consumer.instance.clone() else { return };
        let request = heartbeat(&consumer.member, -2).with_instance_id(Some(text(&instance)));
        consumer.restart(member);
        client.owned.clear();
        client.next_ms = self.bench.now_ms + self.random.below(5000);
        self.waiting.retain(|_, waiting| *waiting != id);
        self.bench.send(1, Call::ConsumerHeartbeat(request));
    }

    /// Another node becomes the coordinator.
    fn fail_over(&mut self) {
        for (token, answer) in self.bench.reload() {
            self.bench.answers.insert(token, answer);
        }
        self.deliver(true);
    }
}

use std::collections::BTreeSet;

use wire::{ResponseError, StrBytes, messages::JoinGroupRequest};

use super::{CONSUMER, Classic, Phase, Waiting, join};
use crate::{Answer, Caller, migrate::Embedded, text::wire, turn::Turn};

/// From this version on a leader can be told that there is nothing for it to assign.
const SKIP_ASSIGNMENT_VERSION: i16 = 9;

impl Classic {
    /// A static member is back under a new id, which takes the place of the old one (KIP-345).
    pub(super) fn replace(
        &mut self,
        turn: &mut Turn<'_>,
        caller: &Caller,
        request: &JoinGroupRequest,
        old: &str,
        new: String,
        waiting: Waiting,
    ) {
        let Some(mut member) = self.members.remove(old) else { return };
        member.refuse(old, ResponseError::FencedInstanceId, turn);
        let led = self.leader.clone();
        if led.as_deref() == Some(old) {
            self.leader = Some(new.clone());
        }
        let topics_before = self.topics_of(&member.metadata(self.protocol.as_deref().unwrap_or_default()));
        member.client_id = caller.client_id.clone();
        member.client_host = caller.host.clone();
        self.members.insert(new.clone(), member);
        self.update(turn, request, &new, waiting);
        if self.phase == Phase::Stable && self.goes_on_with(&new, topics_before) {
            return self.hand_over(turn, &new, led);
        }
        self.rebalance_or_complete(turn);
    }

    /// Whether nothing that the assignment was made from has changed: neither the protocol nor the topics. What else a
    /// consumer's metadata holds (what it owns, its generation) always has.
    fn goes_on_with(&self, id: &str, topics_before: Option<BTreeSet<String>>) -> bool {
        let Some(member) = self.members.get(id) else { return false };
        let protocol = self.protocol.as_deref().unwrap_or_default();
        self.select_protocol().as_deref() == Some(protocol)
            && self.topics_of(&member.metadata(protocol)) == topics_before
    }

    fn topics_of(&self, metadata: &[u8]) -> Option<BTreeSet<String>> {
        match self.protocol_type.as_deref() {
            Some(CONSUMER) => Embedded::subscription(metadata).ok().map(|subscription| subscription.topics),
            _ => None,
        }
    }

    /// The new id gets what the old one had, without a rebalance.
    fn hand_over(&mut self, turn: &mut Turn<'_>, id: &str, led: Option<String>) {
        turn.record(self.record(turn.group));
        let mut answer = self.joined(id);
        let Some(waiting) = self.members.get_mut(id).and_then(|member| member.joining.take()) else { return };
        if waiting.version >= SKIP_ASSIGNMENT_VERSION {
            answer.skip_assignment = self.leader.as_deref() == Some(id);
        } else {
            // Told of the old id, it does not take itself for the leader, and assigns nothing.
            answer.leader = led.as_deref().map_or_else(StrBytes::new, wire);
            answer.members.clear();
        }
        turn.answer(waiting.token, Answer::Join(answer));
    }

    /// The protocol that all support and most prefer.
    pub(crate) fn select_protocol(&self) -> Option<String> {
        let first = self.members.values().next()?;
        let common: Vec<&str> = first.protocols.iter().map(|p| p.name.as_str()).collect();
        let common: Vec<&str> =
            common.into_iter().filter(|name| self.members.values().all(|m| m.supports(name))).collect();
        let preferred = |member: &super::Member| {
            member.protocols.iter().map(|p| p.name.clone()).find(|name| common.contains(&name.as_str()))
        };
        let ballots: Vec<String> = self.members.values().filter_map(preferred).collect();
        let votes = |name: &str| ballots.iter().filter(|ballot| ballot.as_str() == name).count();
        // The first of those with as many votes, in the first member's order.
        let best = common.iter().copied().rev().max_by_key(|name| votes(name));
        best.map(str::to_owned).or_else(|| first.protocols.first().map(|p| p.name.clone()))
    }

    /// Kept apart from `join`'s answers because a postponed rebalance answers later.
    pub(super) fn answer_join(&mut self, turn: &mut Turn<'_>, id: &str) {
        let Some(waiting) = self.members.get_mut(id).and_then(|member| member.joining.take()) else { return };
        let answer = match self.phase {
            Phase::Completing | Phase::Stable => self.joined(id),
            Phase::Empty | Phase::Preparing { .. } => {
                join::refused(id, ResponseError::RebalanceInProgress, waiting.version)
            }
        };
        turn.answer(waiting.token, Answer::Join(answer));
    }
}

use super::{Classic, Member, Phase};
use crate::{ClassicMember, ClassicMetadata, ClassicProtocol, Entry, turn::deadline};

impl Classic {
    /// The present generation, as it is kept.
    pub(crate) fn record(&self, group: &str) -> Entry {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let member = |(id, member): (&String, &Member)| ClassicMember {
            member: id.clone(),
            instance: member.instance.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            session_timeout_ms: member.session_timeout_ms,
            subscription: member.metadata(protocol),
            assignment: member.assignment.clone(),
        };
        let value = ClassicMetadata {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            state_since_ms: self.state_since_ms,
            members: self.members.iter().map(member).collect(),
        };
        Entry::ClassicGroup { group: group.to_owned(), value: Some(value) }
    }

    /// Whether this is the record of what already lives here.
    pub(crate) fn is_of(&self, kept: &ClassicMetadata) -> bool {
        matches!(self.phase, Phase::Empty | Phase::Stable)
            && self.generation == kept.generation
            && self.members.len() == kept.members.len()
            && kept.members.iter().all(|member| self.members.contains_key(&member.member))
            // A group that was never heard of has no protocol type.
            && (self.protocol_type.is_some() || kept.protocol_type.is_empty())
    }

    /// The group as the record has it; sessions begin at `now_ms`.
    pub(crate) fn of(kept: &ClassicMetadata, now_ms: u64) -> Self {
        let mut classic = Self {
            phase: if kept.members.is_empty() { Phase::Empty } else { Phase::Stable },
            generation: kept.generation,
            protocol_type: Some(kept.protocol_type.clone()).filter(|of| !of.is_empty()),
            protocol: kept.protocol.clone(),
            leader: kept.leader.clone(),
            state_since_ms: kept.state_since_ms,
            ..Default::default()
        };
        classic.take_over(kept, now_ms);
        classic
    }

    /// Members that are not here are made, and all have the assignments of the record.
    pub(super) fn take_over(&mut self, kept: &ClassicMetadata, now_ms: u64) {
        self.members.values_mut().for_each(|member| member.assignment = Default::default());
        let protocol = kept.protocol.as_deref().unwrap_or_default();
        for member in &kept.members {
            let is_replaced =
                member.instance.as_deref().is_some_and(|instance| self.instance_owner(instance).is_some());
            if let Some(here) = self.members.get_mut(&member.member) {
                here.assignment = member.assignment.clone();
            } else if !is_replaced {
                self.members.insert(member.member.clone(), Member::of(member, protocol, now_ms));
            }
        }
    }
}

impl Member {
    /// Which other protocols it supports it says when it joins the next time.
    fn of(kept: &ClassicMember, protocol: &str, now_ms: u64) -> Self {
        Self {
            instance: kept.instance.clone(),
            client_id: kept.client_id.clone(),
            client_host: kept.client_host.clone(),
            rebalance_timeout_ms: kept.rebalance_timeout_ms,
            session_timeout_ms: kept.session_timeout_ms,
            protocols: vec![ClassicProtocol {
                name: protocol.to_owned(),
                metadata: kept.subscription.clone(),
            }],
            assignment: kept.assignment.clone(),
            deadline_ms: deadline(now_ms, kept.session_timeout_ms),
            is_new: false,
            unsynced: false,
            joining: None,
            syncing: None,
        }
    }
}

use std::collections::BTreeSet;

use wire::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};

use super::{CONSUMER, Classic, Member, Phase};
use crate::{migrate::Embedded, text::wire};

impl Classic {
    pub(crate) fn describe(&self) -> DescribedGroup {
        let protocol = self.protocol.as_deref().filter(|_| self.phase == Phase::Stable);
        let member = |(id, member): (&String, &Member)| {
            let described = DescribedGroupMember::default()
                .with_member_id(wire(id))
                .with_group_instance_id(member.instance.as_deref().map(wire))
                .with_client_id(wire(&member.client_id))
                .with_client_host(wire(&member.client_host));
            match protocol {
                Some(protocol) => described
                    .with_member_metadata(member.metadata(protocol))
                    .with_member_assignment(member.assignment.clone()),
                // What they sent and what they have is of different generations now.
                None => described,
            }
        };
        DescribedGroup::default()
            .with_group_state(self.phase.name().into())
            .with_protocol_type(wire(self.protocol_type.as_deref().unwrap_or_default()))
            .with_protocol_data(wire(protocol.unwrap_or_default()))
            .with_members(self.members.iter().map(member).collect())
    }

    /// The topics that any member subscribes to; `None` if that cannot be known.
    pub(crate) fn subscribed(&self) -> Option<BTreeSet<String>> {
        if self.protocol_type.as_deref() != Some(CONSUMER) {
            return None;
        }
        let protocol = self.protocol.as_deref()?;
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            topics.extend(Embedded::subscription(&member.metadata(protocol)).ok()?.topics);
        }
        Some(topics)
    }
}

use assign::Partitions;
use wire::messages::consumer_group_describe_response::{Assignment, DescribedGroup, Member, TopicPartitions};

use super::{Consumer, target};
use crate::{Topics, text::wire};

impl Consumer {
    pub(crate) fn describe(&self, topics: &dyn Topics) -> DescribedGroup {
        let members = self.members.iter().map(|(id, member)| {
            let subscription = &member.subscription;
            Member::default()
                .with_member_id(wire(id))
                .with_instance_id(subscription.instance.as_deref().map(wire))
                .with_rack_id(subscription.rack.as_deref().map(wire))
                .with_member_epoch(member.epoch())
                .with_client_id(wire(&subscription.client_id))
                .with_client_host(wire(&subscription.client_host))
                .with_subscribed_topic_names(subscription.topics.iter().map(|t| wire(t).into()).collect())
                .with_subscribed_topic_regex(subscription.regex.as_deref().map(wire))
                .with_assignment(assignment(&member.current.assigned, topics))
                .with_target_assignment(assignment(&target::target_of(self, id), topics))
                // 0: classic, 1: consumer.
                .with_member_type(i8::from(!member.is_classic()))
        });
        DescribedGroup::default()
            .with_group_state(self.state().into())
            .with_group_epoch(self.epoch)
            .with_assignment_epoch(self.target_epoch)
            .with_assignor_name(target::preferred(self).name().into())
            .with_members(members.collect())
    }
}

/// Topics that are no more cannot be named.
fn assignment(partitions: &Partitions, topics: &dyn Topics) -> Assignment {
    let named = partitions.iter().filter_map(|(id, partitions)| {
        let (name, _) = topics.by_id(*id)?;
        let partitions = partitions.iter().map(|partition| partition.0).collect();
        let topic = TopicPartitions::default().with_topic_id(id.0).with_partitions(partitions);
        Some(topic.with_topic_name(wire(name.as_str()).into()))
    });
    Assignment::default().with_topic_partitions(named.collect())
}

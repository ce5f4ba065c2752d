use std::collections::BTreeSet;

use domain::{NodeId, PartitionIndex};
use wire::messages::{
    consumer_group_describe_response::{self, Assignment},
    describe_groups_response,
};

/// A group of consumers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) id: String,
    pub(crate) kind: GroupKind,
    /// As its coordinator names it: `Stable`, `PreparingRebalance`.
    pub(crate) state: String,
    /// Empty where none is in force.
    pub(crate) assignor: String,
    /// Positions were stored under its name, but nobody ever joined it.
    pub(crate) is_simple: bool,
    /// Members of both protocols.
    pub(crate) is_mixed: bool,
    pub(crate) coordinator: Option<NodeId>,
    /// By their ids.
    pub(crate) members: Vec<Member>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GroupKind {
    Classic,
    Consumer,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) id: String,
    pub(crate) instance: Option<String>,
    pub(crate) client: String,
    pub(crate) assigned: BTreeSet<(String, PartitionIndex)>,
}

/// The protocol type of groups of consumers; Kafka Connect's is another.
pub(super) const CONSUMER: &str = "consumer";
/// How members are marked that speak the classic protocol in a group of the newer one.
const CLASSIC_MEMBER: i8 = 0;

impl Group {
    pub(super) fn of_consumer(
        described: consumer_group_describe_response::DescribedGroup,
        coordinator: Option<NodeId>,
    ) -> Self {
        let classic = described.members.iter().filter(|m| m.member_type == CLASSIC_MEMBER).count();
        let members = described.members.iter().map(|member| Member {
            id: member.member_id.to_string(),
            instance: member.instance_id.as_ref().map(ToString::to_string),
            client: member.client_id.to_string(),
            assigned: assigned(&member.assignment),
        });
        Self {
            id: described.group_id.to_string(),
            kind: GroupKind::Consumer,
            state: described.group_state.to_string(),
            assignor: described.assignor_name.to_string(),
            is_simple: false,
            is_mixed: classic > 0 && classic < described.members.len(),
            coordinator,
            members: by_id(members),
        }
    }

    /// `None`: it is no group of consumers.
    pub(super) fn of_classic(
        described: describe_groups_response::DescribedGroup,
        coordinator: Option<NodeId>,
    ) -> Option<Self> {
        let protocol_type = described.protocol_type.as_str();
        if protocol_type != CONSUMER && !protocol_type.is_empty() {
            return None;
        }
        let members = described.members.iter().map(|member| Member {
            id: member.member_id.to_string(),
            instance: member.group_instance_id.as_ref().map(ToString::to_string),
            client: member.client_id.to_string(),
            assigned: embedded(&member.member_assignment),
        });
        Some(Self {
            id: described.group_id.to_string(),
            kind: GroupKind::Classic,
            state: described.group_state.to_string(),
            assignor: described.protocol_data.to_string(),
            is_simple: protocol_type.is_empty(),
            is_mixed: false,
            coordinator,
            members: by_id(members),
        })
    }

    pub(crate) fn member(&self, id: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.id == id)
    }
}

fn by_id(members: impl Iterator<Item = Member>) -> Vec<Member> {
    let mut members: Vec<Member> = members.collect();
    members.sort_by(|a, b| a.id.cmp(&b.id));
    members
}

fn assigned(assignment: &Assignment) -> BTreeSet<(String, PartitionIndex)> {
    let topics = assignment.topic_partitions.iter();
    topics.flat_map(|t| of_topic(t.topic_name.to_string(), &t.partitions)).collect()
}

/// What cannot be read is shown as nothing: it is between the members what it means.
fn embedded(bytes: &[u8]) -> BTreeSet<(String, PartitionIndex)> {
    let topics = ::group::assigned_partitions(bytes).unwrap_or_default();
    topics.into_iter().flat_map(|(topic, partitions)| of_topic(topic, &partitions)).collect()
}

fn of_topic(topic: String, partitions: &[i32]) -> Vec<(String, PartitionIndex)> {
    partitions.iter().map(|partition| (topic.clone(), PartitionIndex(*partition))).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use wire::messages::{
        consumer_group_describe_response::{DescribedGroup, Member, TopicPartitions},
        describe_groups_response::{DescribedGroup as ClassicGroup, DescribedGroupMember},
    };

    use super::*;

    #[test]
    fn a_group_is_mixed_when_members_of_both_protocols_are_in_it() {
        let mixed = |types: &[i8]| {
            let members = types.iter().map(|t| Member::default().with_member_type(*t)).collect();
            Group::of_consumer(DescribedGroup::default().with_members(members), None).is_mixed
        };
        assert!(mixed(&[0, 1]));
        assert!(!mixed(&[1, 1]) && !mixed(&[0]) && !mixed(&[]) && !mixed(&[-1, -1]));
    }

    #[test]
    fn members_of_both_protocols_show_what_they_have() {
        let topic = TopicPartitions::default()
            .with_topic_name(wire::WireTopicName("t".into()))
            .with_partitions(vec![2, 0]);
        let member =
            Member::default().with_assignment(Assignment::default().with_topic_partitions(vec![topic]));
        let group = Group::of_consumer(DescribedGroup::default().with_members(vec![member]), None);
        let expected =
            BTreeSet::from([("t".to_owned(), PartitionIndex(0)), ("t".to_owned(), PartitionIndex(2))]);
        assert_eq!(group.members[0].assigned, expected);
        let bytes =
            Bytes::from_static(b"\0\x01\0\0\0\x01\0\x01t\0\0\0\x02\0\0\0\x02\0\0\0\0\xff\xff\xff\xff");
        let classic = |protocol_type: &'static str, bytes: Bytes| {
            let member = DescribedGroupMember::default().with_member_assignment(bytes);
            let group = ClassicGroup::default().with_protocol_type(protocol_type.into());
            Group::of_classic(group.with_members(vec![member]), None)
        };
        assert_eq!(classic("consumer", bytes).unwrap().members[0].assigned, expected);
        let odd = classic("consumer", Bytes::from_static(b"odd")).unwrap();
        assert!(odd.members[0].assigned.is_empty() && !odd.is_simple);
        assert_eq!(classic("connect", Bytes::new()), None);
    }
}

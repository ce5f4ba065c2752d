use std::collections::BTreeMap;

use domain::TopicId;

use crate::{Partitions, Subscription, assignor};

/// Each topic by itself: its partitions in ranges of equal length, the first members with one more where it does not come
/// out even. What a member had before does not count, because the same members must always get the same ranges.
pub(crate) fn assign(
    members: &BTreeMap<String, Subscription>,
    topics: &BTreeMap<TopicId, i32>,
) -> BTreeMap<String, Partitions> {
    let mut assignment = assignor::nothing(members);
    let ordered = assignor::in_order(members);
    for (topic, count) in topics {
        let subscribed: Vec<&String> =
            ordered.iter().filter(|(_, member)| member.topics.contains(topic)).map(|(id, _)| *id).collect();
        let mut partitions = assignor::indexes(*count);
        let total = partitions.len();
        for (place, id) in subscribed.iter().enumerate() {
            let longer = usize::from(place < total % subscribed.len());
            let range = partitions.by_ref().take(total / subscribed.len() + longer).collect();
            if let Some(member) = assignment.get_mut(*id)
                && place < total
            {
                member.insert(*topic, range);
            }
        }
    }
    assignment
}

#[cfg(test)]
mod tests {
    use crate::{Assignor, assign, fixture::*};

    #[test]
    fn topics_that_are_alike_are_divided_alike() {
        let members = members([("a", &[1, 2]), ("b", &[1, 2])]);
        let assignment = assign(Assignor::Range, &members, &topics([(1, 3), (2, 3)]));
        assert_eq!(assignment["a"], partitions([(1, &[0, 1]), (2, &[0, 1])]));
        assert_eq!(assignment["b"], partitions([(1, &[2]), (2, &[2])]));
    }

    #[test]
    fn only_subscribed_members_share_a_topic_and_the_surplus_gets_nothing() {
        let members = members([("a", &[1]), ("b", &[1, 2]), ("c", &[1]), ("d", &[])]);
        let assignment = assign(Assignor::Range, &members, &topics([(1, 2), (2, 3), (3, 9)]));
        assert_eq!(assignment["a"], partitions([(1, &[0])]));
        assert_eq!(assignment["b"], partitions([(1, &[1]), (2, &[0, 1, 2])]));
        assert_eq!(assignment["c"], partitions([]));
        assert_eq!(assignment["d"], partitions([]));
    }
}

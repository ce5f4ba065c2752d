use std::collections::BTreeMap;

use domain::TopicId;

use crate::{Partitions, Subscription, assignor};

/// All partitions in order over all members in order; a member that does not subscribe to the partition's topic is
/// passed over, and the turn goes on from who got it.
pub(crate) fn assign(
    members: &BTreeMap<String, Subscription>,
    topics: &BTreeMap<TopicId, i32>,
) -> BTreeMap<String, Partitions> {
    let mut assignment = assignor::nothing(members);
    let ordered = assignor::in_order(members);
    let mut turn = 0;
    for (topic, count) in topics {
        for partition in assignor::indexes(*count) {
            let (before, from) = ordered.split_at(turn);
            let next = from.iter().chain(before).position(|(_, member)| member.topics.contains(topic));
            // Nobody wants this topic.
            let Some(passed_over) = next else { break };
            let place = (turn + passed_over) % ordered.len();
            turn = (place + 1) % ordered.len();
            if let Some(member) = assignment.get_mut(ordered[place].0) {
                member.entry(*topic).or_default().insert(partition);
            }
        }
    }
    assignment
}

#[cfg(test)]
mod tests {
    use crate::{Assignor, assign, fixture::*};

    #[test]
    fn the_turn_goes_on_from_topic_to_topic() {
        let members = members([("a", &[1, 2]), ("b", &[1, 2])]);
        let assignment = assign(Assignor::RoundRobin, &members, &topics([(1, 3), (2, 3)]));
        assert_eq!(assignment["a"], partitions([(1, &[0, 2]), (2, &[1])]));
        assert_eq!(assignment["b"], partitions([(1, &[1]), (2, &[0, 2])]));
    }

    #[test]
    fn who_does_not_subscribe_is_passed_over() {
        let members = members([("a", &[1]), ("b", &[1, 2]), ("c", &[1, 2, 3])]);
        let assignment = assign(Assignor::RoundRobin, &members, &topics([(1, 1), (2, 2), (3, 3), (4, 4)]));
        assert_eq!(assignment["a"], partitions([(1, &[0])]));
        assert_eq!(assignment["b"], partitions([(2, &[0])]));
        assert_eq!(assignment["c"], partitions([(2, &[1]), (3, &[0, 1, 2])]));
    }
}

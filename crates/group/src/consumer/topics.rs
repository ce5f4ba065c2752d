use std::collections::{BTreeMap, BTreeSet};

use domain::TopicId;

use super::Consumer;
use crate::{MemberSubscription, turn::Turn};

/// The topics that a member subscribes to and that there are, with their numbers of partitions.
pub(super) fn subscribed(subscription: &MemberSubscription, turn: &mut Turn<'_>) -> BTreeMap<TopicId, i32> {
    let mut found: BTreeMap<TopicId, i32> =
        subscription.topics.iter().filter_map(|name| turn.topics.by_name(name)).collect();
    if let Some(regex) = &subscription.regex {
        let matched = turn.patterns.resolve(regex, turn.topics);
        found.extend(matched.iter().filter_map(|name| turn.topics.by_name(name.as_str())));
    }
    found
}

/// Says whether the subscribed topics or their partitions have changed: 64 bits of FNV-1a, never 0.
pub(super) fn metadata_hash(group: &Consumer, turn: &mut Turn<'_>) -> i64 {
    let mut topics = BTreeMap::new();
    // Most members of a group subscribe to the same.
    let mut seen: BTreeSet<(&BTreeSet<String>, Option<&str>)> = BTreeSet::new();
    for member in group.members.values() {
        let subscription = &member.subscription;
        if seen.insert((&subscription.topics, subscription.regex.as_deref())) {
            topics.extend(subscribed(subscription, turn));
        }
    }
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for (id, partitions) in topics {
        add(id.0.as_bytes());
        add(&partitions.to_be_bytes());
    }
    (hash as i64) | 1
}

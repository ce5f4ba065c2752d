use std::collections::{BTreeMap, BTreeSet};

use assign::{Assignor, Partitions, Subscription, assign};
use domain::TopicId;

use super::{Consumer, Draft, topics};
use crate::turn::Turn;

/// The server's choice where the members have none.
const DEFAULT: Assignor = Assignor::Uniform;

/// Gives the group a new epoch if its members changed, or if the topics did that they subscribe to.
pub(crate) fn refresh(draft: &mut Draft<'_>, turn: &mut Turn<'_>, changed: bool) {
    let hash = topics::metadata_hash(draft, turn);
    if changed || hash != draft.metadata_hash {
        draft.write_epoch(draft.epoch.saturating_add(1), hash);
    }
}

/// Works out who is to have what, if the present target is of an older epoch.
pub(crate) fn retarget(draft: &mut Draft<'_>, turn: &mut Turn<'_>) {
    if draft.target_epoch >= draft.epoch {
        return;
    }
    let mut all: BTreeMap<TopicId, i32> = BTreeMap::new();
    let mut known: BTreeMap<(BTreeSet<String>, Option<String>), BTreeSet<TopicId>> = BTreeMap::new();
    let mut members = BTreeMap::new();
    for (id, member) in &draft.members {
        let of = (member.subscription.topics.clone(), member.subscription.regex.clone());
        let topics = known.entry(of).or_insert_with(|| {
            let found = topics::subscribed(&member.subscription, turn);
            let ids = found.keys().copied().collect();
            all.extend(found);
            ids
        });
        let previous =
            draft.target.get(id).map_or_else(|| member.current.assigned.clone(), |t| (**t).clone());
        let instance = member.subscription.instance.clone();
        members.insert(id.to_string(), Subscription { topics: topics.clone(), previous, instance });
    }
    for (id, target) in assign(preferred(draft), &members, &all) {
        if draft.target.get(id.as_str()).is_none_or(|before| **before != target) {
            draft.write_target(&id, target);
        }
    }
    draft.write_target_epoch(draft.epoch);
}

/// What most of the members that have a preference prefer.
pub(super) fn preferred(group: &Consumer) -> Assignor {
    let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
    for name in group.members.values().filter_map(|member| member.subscription.assignor.as_deref()) {
        *votes.entry(name).or_default() += 1;
    }
    let most = votes.into_iter().max_by_key(|(_, votes)| *votes);
    most.and_then(|(name, _)| Assignor::named(name)).unwrap_or(DEFAULT)
}

/// What a member is to have.
pub(crate) fn target_of(group: &Consumer, id: &str) -> Partitions {
    group.target.get(id).map(|target| (**target).clone()).unwrap_or_default()
}

use std::collections::VecDeque;

use super::ledger::Ledger;

/// Moves partitions to who has least until nobody can be given one by somebody that has at least two more, whether
/// directly or along a chain of members each of which passes one on.
pub(super) fn balance(ledger: &mut Ledger) {
    let mut settled =
        Settled { members: vec![false; ledger.members()], topics: vec![false; ledger.topics()] };
    loop {
        let Some(poorest) = ledger.ascending().find(|member| !settled.members[*member]) else { return };
        let enough = ledger.load(poorest) + 2;
        if ledger.ascending().next_back().is_none_or(|richest| ledger.load(richest) < enough) {
            return;
        }
        match giver(ledger, poorest, enough) {
            Some((topic, giver)) => ledger.pass_on(topic, giver, poorest),
            None => along_a_chain(ledger, &mut settled, poorest, enough),
        }
    }
}

/// Who can give nothing to anybody poorer, and the topics that only they have. Nothing that happens later changes that:
/// whoever is served later has no less, and chains do not lead through them.
struct Settled {
    members: Vec<bool>,
    topics: Vec<bool>,
}

/// The richest of those who have enough to give and have a partition that the member wants.
fn giver(ledger: &Ledger, to: usize, enough: usize) -> Option<(usize, usize)> {
    if ledger.subscribed(to).is_empty() {
        return None;
    }
    let mut rich = ledger.ascending().rev().take_while(|member| ledger.load(*member) >= enough);
    rich.find_map(|member| Some((ledger.owned(member).find(|topic| ledger.subscribes(to, *topic))?, member)))
}

/// Searches backwards from the member, the shortest chains first, for somebody that has enough to give, and passes a
/// partition on along the chain. Where there is nobody, all who were found are settled.
fn along_a_chain(ledger: &mut Ledger, settled: &mut Settled, to: usize, enough: usize) {
    // For each member that was found: the topic of which it can pass a partition on, and to whom.
    let mut next: Vec<Option<(usize, usize)>> = vec![None; ledger.members()];
    let mut seen_topics = settled.topics.clone();
    let mut seen_members = settled.members.clone();
    seen_members[to] = true;
    let mut queue = VecDeque::from([to]);
    while let Some(receiver) = queue.pop_front() {
        for topic in ledger.subscribed(receiver).to_vec() {
            if std::mem::replace(&mut seen_topics[topic], true) {
                continue;
            }
            for owner in ledger.owners(topic).collect::<Vec<_>>() {
                if std::mem::replace(&mut seen_members[owner], true) {
                    continue;
                }
                next[owner] = Some((topic, receiver));
                if ledger.load(owner) >= enough {
                    return pass_along(ledger, &next, owner);
                }
                queue.push_back(owner);
            }
        }
    }
    *settled = Settled { members: seen_members, topics: seen_topics };
}

fn pass_along(ledger: &mut Ledger, next: &[Option<(usize, usize)>], first: usize) {
    let mut from = first;
    while let Some((topic, to)) = next[from] {
        ledger.pass_on(topic, from, to);
        from = to;
    }
}

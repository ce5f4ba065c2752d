use std::collections::BTreeMap;

use quorum::{Member, RaftId};

/// What a seed answered when it was asked who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) raft_id: RaftId,
    pub(crate) ordinal: u32,
    pub(crate) initialized: bool,
    pub(crate) seeds: Vec<String>,
    pub(crate) leader: Option<String>,
}

/// What an empty member does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Ask again: not everybody answered, or they do not agree.
    Wait(String),
    /// Everybody is empty and has the same list: form the group, as everybody else does.
    Initialize(BTreeMap<RaftId, Member>),
    /// There is a group: ask its leader to be taken in.
    Join(String),
}

/// Decides from the answers of all seeds, in the order of the list (DESIGN §3, bootstrap).
pub(crate) fn next_step(seeds: &[String], answers: &[Option<Identity>]) -> Step {
    let group = answers.iter().flatten().find(|a| a.initialized);
    if let Some(member) = group {
        return match &member.leader {
            Some(leader) => Step::Join(leader.clone()),
            None => Step::Wait("the group has no leader now".to_owned()),
        };
    }
    let mut members = BTreeMap::new();
    for (ordinal, (seed, answer)) in seeds.iter().zip(answers).enumerate() {
        let Some(answer) = answer else {
            return Step::Wait(format!("seed {seed} does not answer"));
        };
        if answer.ordinal as usize != ordinal {
            return Step::Wait(format!("seed {seed} has ordinal {}, not {ordinal}", answer.ordinal));
        }
        if answer.seeds != seeds {
            return Step::Wait(format!("seed {seed} has another seed list: {}", answer.seeds.join(", ")));
        }
        members.insert(answer.raft_id, Member { ordinal: answer.ordinal, address: seed.clone() });
    }
    match members.len() == seeds.len() {
        true => Step::Initialize(members),
        false => Step::Wait("two seeds answer with the same raft id".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seeds() -> Vec<String> {
        ["a:1", "b:1", "c:1"].map(str::to_owned).to_vec()
    }

    fn empty(ordinal: u32) -> Option<Identity> {
        let raft_id = u64::from(ordinal) + 70;
        Some(Identity { raft_id, ordinal, initialized: false, seeds: seeds(), leader: None })
    }

    #[test]
    fn the_group_is_formed_only_when_everybody_is_empty_and_agrees() {
        let Step::Initialize(members) = next_step(&seeds(), &[empty(0), empty(1), empty(2)]) else {
            panic!()
        };
        assert_eq!(members.keys().copied().collect::<Vec<_>>(), [70, 71, 72]);
        assert!(matches!(next_step(&seeds(), &[empty(0), None, empty(2)]), Step::Wait(_)));
        let other = empty(1).map(|i| Identity { seeds: vec!["x:1".into()], ..i });
        assert!(matches!(next_step(&seeds(), &[empty(0), other, empty(2)]), Step::Wait(_)));
        assert!(matches!(next_step(&seeds(), &[empty(1), empty(0), empty(2)]), Step::Wait(_)));
    }

    #[test]
    fn an_empty_member_joins_a_group_that_exists() {
        let member = empty(1).map(|i| Identity { initialized: true, leader: Some("b:1".into()), ..i });
        assert_eq!(next_step(&seeds(), &[empty(0), member.clone(), None]), Step::Join("b:1".into()));
        let leaderless = member.map(|i| Identity { leader: None, ..i });
        assert!(matches!(next_step(&seeds(), &[empty(0), leaderless, empty(2)]), Step::Wait(_)));
    }
}

//! The protocol as it is, within the quick bounds: every state visited, no rule broken, nothing interesting missed.

use std::hash::{BuildHasher, RandomState};

use model::{
    bounds::Bounds,
    check::check,
    ids::NodeId,
    log::Log,
    rules::{Event, Rule},
    state::State,
};

#[test]
fn the_protocol_keeps_every_rule_in_every_state() {
    let mut seen = Vec::new();
    for bounds in Bounds::quick() {
        let outcome = check(bounds, None, &Rule::ALL, 50_000_000, 2);
        println!(
            "{} ({bounds}): {} generated, {} unique, depth {}, {:.1} s",
            bounds.name,
            outcome.generated,
            outcome.unique,
            outcome.depth,
            outcome.took.as_secs_f64()
        );
        if let Some((rule, lines)) = outcome.broken.first() {
            lines.iter().for_each(|line| println!("{}\n    {}", line.action, line.state));
            panic!("{} is broken at {bounds}", rule.name());
        }
        assert!(outcome.complete, "not every state was visited at {bounds}");
        seen.extend(outcome.seen);
    }
    for event in Event::ALL {
        assert!(seen.contains(&event), "never seen: {}", event.name());
    }
}

#[test]
fn two_states_that_differ_in_names_only_are_one() {
    let bounds = Bounds::quick()[0];
    let hasher = RandomState::new();
    let state = State::start(&bounds);
    let with_record_on = |node: usize| {
        let mut state = state;
        state.nodes[node].log = Log::of(&[1]);
        hasher.hash_one(state)
    };
    assert_eq!(with_record_on(1), with_record_on(2));
    assert_ne!(with_record_on(1), with_record_on(NodeId(0).index()), "the leader is not a follower");
    assert_ne!(with_record_on(1), hasher.hash_one(state));
}

#[test]
fn logs_part_after_the_last_agreed_epoch() {
    let leader = Log::of(&[1, 1, 3]);
    assert_eq!(leader.end_of(model::ids::LeaderEpoch(2)), (model::ids::LeaderEpoch(1), 2));
    assert_eq!(leader.agreed(&Log::of(&[1, 1, 2])), 2);
    assert!(leader.contains(&Log::of(&[1, 1])));
    assert!(!leader.contains(&Log::of(&[1, 2])));
}

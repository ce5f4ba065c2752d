use wire::ResponseError;

use super::{
    bench::Bench,
    messages::{assigned, join, sync, text},
};
use crate::GroupConfig;

/// Two members that have joined at the same time; the leader first.
fn two(bench: &mut Bench) -> (String, String) {
    let tokens = [bench.join(3, join("", &["range"])), bench.join(3, join("", &["range"]))];
    bench.pass(1500);
    let joined = tokens.map(|token| bench.joined(token).unwrap());
    assert!(joined.iter().all(|joined| joined.error_code == 0 && joined.generation_id == 1));
    let leader = joined.iter().find(|joined| joined.leader == joined.member_id).unwrap();
    assert_eq!(leader.members.len(), 2);
    let follower = joined.iter().find(|joined| joined.leader != joined.member_id).unwrap();
    assert!(follower.members.is_empty());
    (leader.member_id.to_string(), follower.member_id.to_string())
}

/// The same, with their assignments.
fn two_stable(bench: &mut Bench) -> (String, String) {
    let (leader, follower) = two(bench);
    let waits = bench.sync(sync(&follower, 1, &[]));
    assert!(bench.synced(waits).is_none());
    let led = bench.sync(sync(&leader, 1, &[(&leader, &[0, 1, 2]), (&follower, &[3, 4, 5])]));
    assert_eq!(assigned(&bench.synced(led).unwrap().assignment), [0, 1, 2]);
    assert_eq!(assigned(&bench.synced(waits).unwrap().assignment), [3, 4, 5]);
    (leader, follower)
}

#[test]
fn members_come_together_and_the_leader_assigns() {
    let mut bench = Bench::new();
    let (leader, follower) = two_stable(&mut bench);
    assert_eq!(bench.classic_beat(&leader, 1), 0);
    assert_eq!(bench.classic_beat(&follower, 1), 0);
    assert_eq!(bench.classic_beat(&follower, 0), ResponseError::IllegalGeneration.code());
    assert_eq!(bench.classic_beat("x", 1), ResponseError::UnknownMemberId.code());
    bench.reload();
    assert_eq!(bench.classic_beat(&leader, 1), 0);
    let again = bench.sync(sync(&follower, 1, &[]));
    assert_eq!(
        assigned(&bench.synced(again).unwrap().assignment),
        [3, 4, 5],
        "the new coordinator knows, too"
    );
}

#[test]
fn the_first_rebalance_waits_for_more_members() {
    let mut bench = Bench::new();
    let first = bench.join(3, join("", &["range"]));
    bench.pass(400);
    let second = bench.join(3, join("", &["range"]));
    bench.pass(400);
    assert!(bench.joined(first).is_none(), "more came, so it waits once more");
    bench.pass(400);
    assert_eq!(bench.joined(first).unwrap().generation_id, 1);
    assert_eq!(bench.joined(second).unwrap().generation_id, 1);
}

#[test]
fn a_newer_client_gets_its_id_before_it_joins() {
    let mut bench = Bench::new();
    let asked = bench.join(4, join("", &["range"]));
    let refused = bench.joined(asked).unwrap();
    assert_eq!(refused.error_code, ResponseError::MemberIdRequired.code());
    assert!(refused.member_id.starts_with("client-"));
    let joins = bench.join(4, join(&refused.member_id, &["range"]));
    bench.pass(1000);
    assert_eq!(bench.joined(joins).unwrap().member_id, refused.member_id);
    let stranger = bench.join(4, join("never-given", &["range"]));
    assert_eq!(bench.joined(stranger).unwrap().error_code, ResponseError::UnknownMemberId.code());
}

#[test]
fn an_id_that_nobody_comes_with_is_forgotten() {
    let mut bench = Bench::new();
    let asked = bench.join(4, join("", &["range"]));
    let id = bench.joined(asked).unwrap().member_id;
    bench.pass(10_001);
    let late = bench.join(4, join(&id, &["range"]));
    assert_eq!(bench.joined(late).unwrap().error_code, ResponseError::UnknownMemberId.code());
    assert_eq!((bench.groups.counts(), bench.groups.next_deadline()), (Default::default(), None));
}

#[test]
fn a_joining_member_calls_the_others_together() {
    let mut bench = Bench::new();
    let (leader, follower) = two_stable(&mut bench);
    let third = bench.join(3, join("", &["range"]));
    let again = ResponseError::RebalanceInProgress.code();
    assert_eq!((bench.classic_beat(&leader, 1), bench.classic_beat(&follower, 1)), (again, again));
    let late = bench.sync(sync(&leader, 1, &[]));
    assert_eq!(bench.synced(late).unwrap().error_code, again);
    let back = bench.join(3, join(&leader, &["range"]));
    assert!(bench.joined(back).is_none(), "one is missing");
    let other = bench.join(3, join(&follower, &["range"]));
    for token in [third, back, other] {
        assert_eq!(bench.joined(token).unwrap().generation_id, 2);
    }
}

#[test]
fn who_does_not_come_back_in_time_is_left_out() {
    let mut bench = Bench::new();
    let (leader, follower) = two_stable(&mut bench);
    let third = bench.join(3, join("", &["range"]));
    let back = bench.join(3, join(&follower, &["range"]));
    for _ in 0..5 {
        bench.pass(4000);
        bench.classic_beat(&leader, 1);
    }
    let joined = [third, back].map(|token| bench.joined(token).unwrap());
    assert!(joined.iter().all(|joined| joined.generation_id == 2 && joined.leader.as_str() != leader));
    assert_eq!(bench.classic_beat(&leader, 1), ResponseError::UnknownMemberId.code());
}

#[test]
fn a_silent_member_is_removed_and_the_others_rebalance() {
    let mut bench = Bench::new();
    let (leader, follower) = two_stable(&mut bench);
    bench.pass(6000);
    assert_eq!(bench.classic_beat(&follower, 1), 0);
    bench.pass(4001);
    assert_eq!(bench.classic_beat(&follower, 1), ResponseError::RebalanceInProgress.code());
    let alone = bench.join(3, join(&follower, &["range"]));
    let alone = bench.joined(alone).expect("nobody else to wait for");
    assert_eq!((alone.generation_id, alone.members.len(), alone.leader.as_str()), (2, 1, follower.as_str()));
    assert_eq!(bench.classic_beat(&leader, 1), ResponseError::UnknownMemberId.code());
}

#[test]
fn who_does_not_fetch_its_assignment_is_removed() {
    let mut bench = Bench::new();
    let (leader, follower) = two(&mut bench);
    let led = bench.sync(sync(&leader, 1, &[(&leader, &[0])]));
    bench.synced(led).unwrap();
    for _ in 0..5 {
        assert_eq!((bench.classic_beat(&leader, 1), bench.classic_beat(&follower, 1)), (0, 0));
        bench.pass(4000);
    }
    assert_eq!(bench.classic_beat(&follower, 1), ResponseError::UnknownMemberId.code());
    assert_eq!(bench.classic_beat(&leader, 1), ResponseError::RebalanceInProgress.code());
}

#[test]
fn a_leader_that_joins_again_gets_a_rebalance_and_a_follower_its_answer() {
    let mut bench = Bench::new();
    let (leader, follower) = two_stable(&mut bench);
    let lost = bench.join(3, join(&follower, &["range"]));
    assert_eq!(bench.joined(lost).expect("at once").generation_id, 1);
    let anew = bench.join(3, join(&leader, &["range"]));
    assert!(bench.joined(anew).is_none());
    assert_eq!(bench.classic_beat(&follower, 1), ResponseError::RebalanceInProgress.code());
}

#[test]
fn the_protocol_is_one_that_all_support_and_most_prefer() {
    let mut bench = Bench::new();
    let lists: [&[&str]; 3] = [&["x", "a", "b"], &["b", "a"], &["b", "a"]];
    let tokens = lists.map(|list| bench.join(7, join("", list)));
    let ids = tokens.map(|token| bench.joined(token).unwrap().member_id);
    let tokens: Vec<_> = ids.iter().zip(lists).map(|(id, list)| bench.join(7, join(id, list))).collect();
    let stranger = bench.join(3, join("", &["z"]));
    let inconsistent = ResponseError::InconsistentGroupProtocol.code();
    assert_eq!(bench.joined(stranger).unwrap().error_code, inconsistent);
    let other = bench.join(3, join("", &["a"]).with_protocol_type(text("connect")));
    assert_eq!(bench.joined(other).unwrap().error_code, inconsistent);
    bench.pass(1500);
    for token in tokens {
        let joined = bench.joined(token).unwrap();
        assert_eq!(joined.protocol_name.unwrap().as_str(), "b");
        assert_eq!(joined.protocol_type.unwrap().as_str(), "consumer");
    }
    let wrong = bench.sync(sync(&ids[0], 1, &[]).with_protocol_name(Some(text("a"))));
    assert_eq!(bench.synced(wrong).unwrap().error_code, inconsistent);
}

#[test]
fn what_a_member_asks_for_has_limits() {
    let mut bench = Bench::with(GroupConfig { max_size: 1, ..Default::default() });
    let error = |bench: &mut Bench, request| {
        let token = bench.join(3, request);
        bench.joined(token).unwrap().error_code
    };
    let nameless = join("", &["range"]).with_group_id(text("").into());
    assert_eq!(error(&mut bench, nameless), ResponseError::InvalidGroupId.code());
    for timeout_ms in [5999, 1_800_001] {
        let request = join("", &["range"]).with_session_timeout_ms(timeout_ms);
        assert_eq!(error(&mut bench, request), ResponseError::InvalidSessionTimeout.code());
    }
    assert_eq!(error(&mut bench, join("", &[])), ResponseError::InconsistentGroupProtocol.code());
    let long = join("", &["range"]).with_group_instance_id(Some(text(&"i".repeat(40_000))));
    assert_eq!(error(&mut bench, long), ResponseError::InvalidRequest.code());
    let one = bench.join(3, join("", &["range"]));
    assert_eq!(error(&mut bench, join("", &["range"])), ResponseError::GroupMaxSizeReached.code());
    bench.pass(1000);
    bench.joined(one).unwrap();
}

#[test]
fn leaving_answers_what_waits_and_empties_the_group() {
    let mut bench = Bench::new();
    let (leader, follower) = two(&mut bench);
    let waits = bench.sync(sync(&follower, 1, &[]));
    assert_eq!(bench.leave(&[(&follower, None)]), [0]);
    assert_eq!(bench.synced(waits).unwrap().error_code, ResponseError::UnknownMemberId.code());
    assert_eq!(bench.leave(&[(&leader, None)]), [0]);
    assert_eq!(bench.groups.counts().classic.get("Empty"), Some(&1));
    bench.reload();
    assert_eq!(bench.groups.counts().classic.get("Empty"), Some(&1));
}

#[test]
fn a_coordinator_that_gives_up_answers_all_that_waits() {
    let mut bench = Bench::new();
    let joins = bench.join(3, join("", &["range"]));
    let given_up = bench.reload();
    assert_eq!(given_up.len(), 1);
    assert_eq!(given_up[0].0, joins);
}

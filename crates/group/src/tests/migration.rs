use wire::ResponseError;

use super::{
    bench::Bench,
    messages::{assigned, first, heartbeat, join, join_with, subscription, sync, text},
};
use crate::Kept;

const AGAIN: i16 = 27;

/// One stable classic member that has all of `t`.
fn classic(bench: &mut Bench) -> String {
    let joins = bench.join(3, join("", &["range"]));
    bench.pass(1000);
    let id = bench.joined(joins).unwrap().member_id.to_string();
    let synced = bench.sync(sync(&id, 1, &[(&id, &[0, 1, 2, 3, 4, 5])]));
    bench.synced(synced).unwrap();
    id
}

/// The generation, and what is assigned.
fn rejoin(bench: &mut Bench, id: &str, owned: &[i32]) -> (i32, Vec<i32>) {
    let joins = bench.join(3, join_with(id, &["range"], subscription(&["t"], owned)));
    let joined = bench.joined(joins).expect("a consumer group lets nobody wait");
    assert_eq!((joined.error_code, joined.leader.as_str()), (0, ""));
    let synced = bench.sync(sync(id, joined.generation_id, &[]));
    let synced = bench.synced(synced).unwrap();
    assert_eq!(synced.error_code, 0);
    (joined.generation_id, assigned(&synced.assignment))
}

#[test]
fn an_eager_member_shares_with_a_consumer_and_gets_all_back_when_that_leaves() {
    let mut bench = Bench::new();
    let id = classic(&mut bench);
    assert_eq!(bench.good_beat(first("new")), (2, Some(vec![])), "all is still owned");
    assert_eq!(bench.groups.counts().consumer.get("Reconciling"), Some(&1));
    bench.reload();
    assert_eq!(bench.classic_beat(&id, 1), AGAIN);
    let (generation, kept) = rejoin(&mut bench, &id, &[]);
    assert_eq!((generation, kept.len()), (2, 3));
    assert_eq!(bench.classic_beat(&id, 2), 0);
    assert_eq!(bench.good_beat(heartbeat("new", 2)).1.unwrap().len(), 3);
    assert_eq!(bench.commit(&id, 2, 5), 0);
    assert_eq!(bench.commit(&id, 1, 6), ResponseError::IllegalGeneration.code());

    assert_eq!(bench.good_beat(heartbeat("new", -1)).0, -1);
    assert!(matches!(bench.groups.kept()["g"].0, Kept::Classic(_)));
    bench.pass(1);
    assert_eq!(bench.classic_beat(&id, 2), AGAIN);
    let joins = bench.join(3, join(&id, &["range"]));
    let joined = bench.joined(joins).expect("all members are here");
    assert_eq!((joined.generation_id, &joined.leader), (3, &joined.member_id));
    assert_eq!(bench.fetch("t"), 5);
    bench.reload();
}

#[test]
fn a_cooperative_member_gives_up_only_what_moves() {
    let mut bench = Bench::new();
    let id = classic(&mut bench);
    bench.good_beat(first("new"));
    assert_eq!(bench.classic_beat(&id, 1), AGAIN);
    let (generation, kept) = rejoin(&mut bench, &id, &[0, 1, 2, 3, 4, 5]);
    assert_eq!((generation, kept.len()), (1, 3), "it is told what to give up");
    assert_eq!(bench.good_beat(heartbeat("new", 2)), (2, None));
    let (generation, same) = rejoin(&mut bench, &id, &kept);
    assert_eq!((generation, &same), (2, &kept));
    assert_eq!(bench.good_beat(heartbeat("new", 2)).1.unwrap().len(), 3);
    bench.reload();
}

#[test]
fn a_classic_member_that_does_not_join_again_in_time_is_fenced() {
    let mut bench = Bench::new();
    let id = classic(&mut bench);
    bench.good_beat(first("new"));
    for _ in 0..5 {
        assert_eq!(bench.classic_beat(&id, 1), AGAIN);
        bench.pass(4000);
    }
    assert_eq!(bench.classic_beat(&id, 1), ResponseError::UnknownMemberId.code());
    assert_eq!(bench.good_beat(heartbeat("new", 2)).1.unwrap().len(), 6);
}

#[test]
fn a_classic_member_joins_a_consumer_group() {
    let mut bench = Bench::new();
    bench.good_beat(first("new"));
    let connect = bench.join(9, join("", &["range"]).with_protocol_type(text("connect")));
    let inconsistent = ResponseError::InconsistentGroupProtocol.code();
    assert_eq!(bench.joined(connect).unwrap().error_code, inconsistent);
    let asks = bench.join(9, join("", &["range"]));
    let asked = bench.joined(asks).unwrap();
    assert_eq!(asked.error_code, ResponseError::MemberIdRequired.code());
    let id = asked.member_id.to_string();
    assert_eq!(rejoin(&mut bench, &id, &[]), (2, vec![]));
    assert_eq!(bench.classic_beat(&id, 2), 0, "nothing is free yet");
    let (_, left) = bench.good_beat(heartbeat("new", 1));
    assert_eq!(bench.owns("new", 1, &left.unwrap()).0, 2);
    assert_eq!(bench.classic_beat(&id, 2), AGAIN, "now all that it waits for is free");
    assert_eq!(rejoin(&mut bench, &id, &[]).1.len(), 3);
    assert_eq!(bench.leave(&[(&id, None), ("new", None)]), [0, ResponseError::UnknownMemberId.code()]);
    assert_eq!(bench.good_beat(heartbeat("new", 2)).1.unwrap().len(), 6);
}

#[test]
fn members_that_wait_for_a_classic_rebalance_are_sent_into_the_consumer_group() {
    let mut bench = Bench::new();
    let joins = bench.join(3, join("", &["range"]));
    bench.good_beat(first("new"));
    assert_eq!(bench.joined(joins).unwrap().error_code, AGAIN);
    bench.reload();
}

#[test]
fn what_is_no_group_of_consumers_is_not_upgraded() {
    let mut bench = Bench::new();
    bench.join(3, join("", &["x"]).with_protocol_type(text("connect")));
    let refused = bench.beat(first("new"));
    assert_eq!(refused.error_code, ResponseError::GroupIdNotFound.code());
    let message = refused.error_message.unwrap();
    assert_eq!(
        message.as_str(),
        "Group g is not a consumer group: its members do not use the consumer protocol type."
    );
}

#[test]
fn an_empty_group_is_of_the_kind_of_whoever_comes() {
    let mut bench = Bench::new();
    let id = classic(&mut bench);
    bench.commit(&id, 1, 5);
    bench.leave(&[(&id, None)]);
    assert_eq!(bench.good_beat(first("a")).1.unwrap().len(), 6);
    bench.reload();
    bench.good_beat(heartbeat("a", -1));
    let joins = bench.join(3, join("", &["range"]));
    bench.pass(1000);
    assert_eq!(bench.joined(joins).unwrap().error_code, 0);
    assert_eq!(bench.fetch("t"), 5);
    bench.reload();
}

#[test]
fn a_static_member_goes_over_under_its_instance() {
    let mut bench = Bench::new();
    let instance = Some(text("i"));
    let joins = bench.join(3, join("", &["range"]).with_group_instance_id(instance.clone()));
    bench.pass(1000);
    let id = bench.joined(joins).unwrap().member_id.to_string();
    let led = sync(&id, 1, &[(&id, &[0, 1, 2])]).with_group_instance_id(instance.clone());
    let synced = bench.sync(led);
    bench.synced(synced).unwrap();
    let (_, given) = bench.good_beat(first("new").with_instance_id(instance));
    assert_eq!(given.unwrap().len(), 6);
    assert_eq!(bench.groups.counts().members, 1);
    bench.reload();
}

#[test]
fn a_group_that_goes_back_and_forth_at_once_has_nothing_to_do_at_once() {
    let mut bench = Bench::new();
    classic(&mut bench);
    bench.good_beat(first("a"));
    bench.good_beat(heartbeat("a", -1));
    bench.good_beat(first("b"));
    let next_ms = bench.groups.next_deadline();
    bench.tick();
    assert!(bench.groups.next_deadline().is_some_and(|at_ms| at_ms > bench.now_ms + 1000), "{next_ms:?}");
}

#[test]
fn a_fenced_member_that_still_claims_partitions_is_told_so() {
    let mut bench = Bench::new();
    let id = classic(&mut bench);
    bench.good_beat(first("a"));
    bench.pass(20_000);
    let late = bench.join(6, join_with(&id, &["range"], subscription(&["t"], &[0, 1])));
    assert_eq!(bench.joined(late).unwrap().error_code, ResponseError::UnknownMemberId.code());
}

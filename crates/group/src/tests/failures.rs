use wire::ResponseError;

use super::{
    bench::Bench,
    messages::{first, heartbeat, join, sync},
};

#[test]
fn a_heartbeat_whose_records_are_refused_never_was() {
    let mut bench = Bench::new();
    bench.full = true;
    assert_eq!(bench.beat(first("a")).error_code, ResponseError::NotCoordinator.code());
    assert_eq!(bench.groups.counts(), Default::default());
    bench.full = false;
    assert_eq!(bench.good_beat(first("a")), (1, Some(vec![0, 1, 2, 3, 4, 5])));
    bench.topics.grow("t", 7);
    bench.full = true;
    assert_eq!(bench.beat(heartbeat("a", 1)).error_code, ResponseError::NotCoordinator.code());
    bench.full = false;
    assert_eq!(bench.good_beat(heartbeat("a", 1)).0, 2, "the new metadata is not forgotten");
}

#[test]
fn a_session_that_ends_while_the_log_is_full_ends_later() {
    let mut bench = Bench::new();
    bench.good_beat(first("a"));
    bench.full = true;
    bench.pass(50_000);
    assert_eq!(bench.groups.counts().members, 1);
    bench.full = false;
    bench.pass(1001);
    assert_eq!(bench.groups.counts().members, 0);
}

#[test]
fn an_assignment_that_is_refused_begins_the_rebalance_again() {
    let mut bench = Bench::new();
    let joins = bench.join(3, join("", &["range"]));
    bench.pass(1000);
    let id = bench.joined(joins).unwrap().member_id;
    bench.full = true;
    let synced = bench.sync(sync(&id, 1, &[(&id, &[0])]));
    assert_eq!(bench.synced(synced).unwrap().error_code, ResponseError::NotCoordinator.code());
    bench.full = false;
    assert_eq!(bench.classic_beat(&id, 1), ResponseError::RebalanceInProgress.code());
    let again = bench.join(3, join(&id, &["range"]));
    assert_eq!(bench.joined(again).unwrap().generation_id, 2);
    let synced = bench.sync(sync(&id, 2, &[(&id, &[0])]));
    assert_eq!(bench.synced(synced).unwrap().error_code, 0);
    bench.reload();
}

#[test]
fn an_upgrade_that_is_refused_leaves_a_classic_group() {
    let mut bench = Bench::new();
    let joins = bench.join(3, join("", &["range"]));
    bench.pass(1000);
    let id = bench.joined(joins).unwrap().member_id;
    let synced = bench.sync(sync(&id, 1, &[(&id, &[0])]));
    bench.synced(synced).unwrap();
    bench.full = true;
    assert_eq!(bench.beat(first("a")).error_code, ResponseError::NotCoordinator.code());
    bench.full = false;
    assert_eq!(bench.classic_beat(&id, 1), ResponseError::RebalanceInProgress.code());
    let again = bench.join(3, join(&id, &["range"]));
    assert_eq!(bench.joined(again).unwrap().generation_id, 2);
}

#[test]
fn a_group_that_is_empty_but_could_not_say_so_says_it_later() {
    let mut bench = Bench::new();
    let joins = bench.join(3, join("", &["range"]));
    bench.pass(1000);
    let id = bench.joined(joins).unwrap().member_id;
    let synced = bench.sync(sync(&id, 1, &[(&id, &[0])]));
    bench.synced(synced).unwrap();
    bench.full = true;
    bench.leave(&[(&id, None)]);
    bench.full = false;
    bench.pass(60_000);
    assert_eq!(bench.groups.counts().classic.get("Empty"), Some(&1));
    bench.reload();
    assert_eq!(bench.groups.counts().classic.get("Empty"), Some(&1));
}

use wire::{ResponseError, messages::ConsumerGroupHeartbeatRequest};

use super::{
    bench::Bench,
    messages::{first, heartbeat, join, sync, text},
};

fn instance(request: ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatRequest {
    request.with_instance_id(Some(text("i")))
}

#[test]
fn a_static_consumer_is_back_under_a_new_id_with_what_it_had() {
    let mut bench = Bench::new();
    bench.good_beat(instance(first("a")));
    bench.good_beat(first("z"));
    bench.good_beat(heartbeat("a", 1));
    assert_eq!(bench.owns("a", 1, &[0, 1, 2]).0, 2);
    assert_eq!(bench.good_beat(instance(heartbeat("a", -2))).0, -2);
    assert_eq!(bench.good_beat(heartbeat("z", 2)).1, Some(vec![3, 4, 5]), "nothing else moves");
    assert_eq!(bench.good_beat(instance(first("b"))), (2, Some(vec![0, 1, 2])));
    let fenced = bench.beat(instance(heartbeat("a", 2)));
    assert_eq!(fenced.error_code, ResponseError::FencedInstanceId.code());
    assert_eq!(bench.beat(heartbeat("a", 2)).error_code, ResponseError::UnknownMemberId.code());
    bench.reload();
}

#[test]
fn an_instance_that_has_not_left_is_not_released() {
    let mut bench = Bench::new();
    bench.good_beat(instance(first("a")));
    let refused = bench.beat(instance(first("b")));
    assert_eq!(refused.error_code, ResponseError::UnreleasedInstanceId.code());
    assert_eq!(refused.error_message.unwrap().as_str(), "Instance id i is still used by member a.");
}

#[test]
fn a_static_consumer_that_does_not_come_back_loses_its_place() {
    let mut bench = Bench::new();
    bench.good_beat(instance(first("a")));
    bench.good_beat(instance(heartbeat("a", -2)));
    bench.pass(46_000);
    assert_eq!(bench.groups.counts().members, 0);
}

#[test]
fn a_static_member_of_a_classic_group_is_replaced_without_a_rebalance() {
    let mut bench = Bench::new();
    let join = |member: &str| join(member, &["range"]).with_group_instance_id(Some(text("i")));
    let first = bench.join(9, join(""));
    bench.pass(1500);
    let old = bench.joined(first).unwrap();
    let synced = bench
        .sync(sync(&old.member_id, 1, &[(&old.member_id, &[0, 1])]).with_group_instance_id(Some(text("i"))));
    assert_eq!(bench.synced(synced).unwrap().error_code, 0);

    let again = bench.join(9, join(""));
    let new = bench.joined(again).expect("at once");
    assert_eq!((new.error_code, new.generation_id, new.skip_assignment), (0, 1, true));
    assert_eq!((&new.leader, new.members.len()), (&new.member_id, 1), "it leads, as the old one did");
    let synced = bench
        .sync(sync(&new.member_id, 1, &[(&new.member_id, &[5])]).with_group_instance_id(Some(text("i"))));
    let synced = bench.synced(synced).unwrap();
    assert_eq!(super::messages::assigned(&synced.assignment), [0, 1], "and has what the old one had");
    let late = bench.sync(sync(&old.member_id, 1, &[]).with_group_instance_id(Some(text("i"))));
    assert_eq!(bench.synced(late).unwrap().error_code, ResponseError::FencedInstanceId.code());
    bench.reload();
    assert_eq!(bench.classic_beat(&new.member_id, 1), 0, "the new id was kept");

    let older = bench.join(8, join(""));
    let older = bench.joined(older).unwrap();
    assert_eq!((older.members.len(), older.skip_assignment), (0, false));
    assert_eq!(older.leader, new.member_id, "so that it does not take itself for the leader");
}

#[test]
fn a_static_member_that_brings_other_topics_causes_a_rebalance() {
    let mut bench = Bench::new();
    bench.topics.make("u", 1);
    let with = |topics: &[&str]| {
        super::messages::join_with("", &["range"], super::messages::subscription(topics, &[]))
            .with_group_instance_id(Some(text("i")))
    };
    let first = bench.join(9, with(&["t"]));
    bench.pass(1500);
    let old = bench.joined(first).unwrap();
    let synced = bench
        .sync(sync(&old.member_id, 1, &[(&old.member_id, &[0])]).with_group_instance_id(Some(text("i"))));
    bench.synced(synced).unwrap();
    let again = bench.join(9, with(&["t", "u"]));
    assert_eq!(bench.joined(again).unwrap().generation_id, 2);
}

#[test]
fn an_administrator_removes_a_static_member_by_its_instance() {
    let mut bench = Bench::new();
    let first = bench.join(9, join("", &["range"]).with_group_instance_id(Some(text("i"))));
    bench.pass(1500);
    bench.joined(first).unwrap();
    let unknown = ResponseError::UnknownMemberId.code();
    assert_eq!(bench.leave(&[("", Some("j")), ("", Some("i")), ("x", None)]), [unknown, 0, unknown]);
    assert_eq!(bench.groups.counts().members, 0);
}

#[test]
fn a_static_consumer_that_owed_partitions_when_it_left_for_now_loses_its_place_in_time_as_well() {
    let mut bench = Bench::new();
    bench.topics.make("u", 1);
    let on = |topics: &[&str]| Some(topics.iter().map(|topic| text(topic).into()).collect::<Vec<_>>());
    let both = instance(first("a")).with_subscribed_topic_names(on(&["t", "u"]));
    bench.good_beat(both.with_rebalance_timeout_ms(2_000));
    let fewer = instance(heartbeat("a", 1)).with_subscribed_topic_names(on(&["t"]));
    bench.good_beat(fewer);
    bench.good_beat(instance(heartbeat("a", -2)));
    bench.pass(46_000);
    assert_eq!(bench.groups.counts().members, 0);
}

#[test]
fn a_debt_that_never_came_into_the_log_hides_no_session() {
    let mut bench = Bench::new();
    bench.topics.make("u", 1);
    let on = |topics: &[&str]| Some(topics.iter().map(|topic| text(topic).into()).collect::<Vec<_>>());
    let both = instance(first("a")).with_subscribed_topic_names(on(&["t", "u"]));
    bench.good_beat(both.with_rebalance_timeout_ms(2_000));
    bench.full = true;
    bench.beat(instance(heartbeat("a", 1)).with_subscribed_topic_names(on(&["t"])));
    bench.full = false;
    bench.pass(46_000);
    assert_eq!(bench.groups.counts().members, 0);
}

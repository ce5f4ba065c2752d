use wire::{ResponseError, messages::ConsumerGroupHeartbeatRequest};

use super::{
    bench::Bench,
    messages::{first, heartbeat, text},
};
use crate::GroupConfig;

fn refused(bench: &mut Bench, request: ConsumerGroupHeartbeatRequest) -> (i16, String) {
    let answer = bench.beat(request);
    (answer.error_code, answer.error_message.map(|message| message.to_string()).unwrap_or_default())
}

#[test]
fn the_first_member_gets_everything_at_once() {
    let mut bench = Bench::new();
    assert_eq!(bench.good_beat(first("a")), (1, Some(vec![0, 1, 2, 3, 4, 5])));
    assert_eq!(bench.good_beat(heartbeat("a", 1)), (1, None), "nothing new is not said again");
    bench.reload();
}

#[test]
fn a_partition_moves_only_once_its_owner_has_given_it_up() {
    let mut bench = Bench::new();
    bench.good_beat(first("a"));
    assert_eq!(bench.good_beat(first("b")), (2, Some(vec![])), "all is still owned");
    let (epoch, left) = bench.good_beat(heartbeat("a", 1));
    assert_eq!(
        (epoch, left.as_ref().map(Vec::len)),
        (1, Some(3)),
        "a stays in its epoch until it has revoked"
    );
    let left = left.unwrap();
    assert_eq!(bench.good_beat(heartbeat("b", 2)), (2, None), "not acknowledged, not given");
    bench.owns("a", 1, &[0, 1, 2, 3, 4, 5]);
    assert_eq!(bench.good_beat(heartbeat("b", 2)), (2, None), "a still has all");
    assert_eq!(bench.owns("a", 1, &left), (2, None));
    let (epoch, got) = bench.good_beat(heartbeat("b", 2));
    let mut all = [left, got.unwrap()].concat();
    all.sort_unstable();
    assert_eq!((epoch, all), (2, vec![0, 1, 2, 3, 4, 5]));
    bench.reload();
}

#[test]
fn a_member_that_does_not_revoke_in_time_is_fenced() {
    let mut bench = Bench::new();
    bench.good_beat(first("a"));
    bench.good_beat(first("b"));
    bench.good_beat(heartbeat("a", 1));
    for _ in 0..10 {
        bench.pass(1000);
        bench.beat(heartbeat("a", 1));
        bench.beat(heartbeat("b", bench_epoch(&bench, "b")));
    }
    assert_eq!(refused(&mut bench, heartbeat("a", 1)).0, ResponseError::UnknownMemberId.code());
    let epoch = bench_epoch(&bench, "b");
    let (epoch, given) = bench.good_beat(first("b").with_member_epoch(epoch));
    // A full heartbeat is not a first one: it says what it owns, which is nothing yet.
    assert_eq!((epoch, given.map(|given| given.len())), (3, Some(6)));
}

fn bench_epoch(bench: &Bench, member: &str) -> i32 {
    match bench.groups.kept().get("g") {
        Some((crate::Kept::Consumer(group), _)) => group.members[member].epoch(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_silent_member_is_fenced_when_its_session_ends() {
    let mut bench = Bench::new();
    bench.good_beat(first("a"));
    bench.pass(30_000);
    bench.good_beat(first("b"));
    bench.pass(14_999);
    assert_eq!(bench.good_beat(heartbeat("b", 2)).0, 2);
    bench.pass(2);
    let (epoch, given) = bench.good_beat(heartbeat("b", 2));
    assert_eq!((epoch, given.unwrap().len()), (3, 6));
    bench.reload();
}

#[test]
fn a_member_that_dies_before_its_second_heartbeat_is_fenced_too() {
    let mut bench = Bench::new();
    bench.good_beat(first("a"));
    bench.pass(46_000);
    assert_eq!(bench.groups.counts().members, 0);
    assert_eq!(bench.groups.counts().consumer.get("Empty"), Some(&1));
    assert_eq!(bench.groups.counts().offsets, 0);
}

#[test]
fn a_surplus_member_takes_over_within_a_second_of_a_leave() {
    let mut bench = Bench::new();
    bench.topics.make("one", 1);
    let one = |member| first(member).with_subscribed_topic_names(Some(vec![text("one").into()]));
    bench.good_beat(one("a"));
    let waits = bench.beat(one("b"));
    assert!(waits.heartbeat_interval_ms <= 500, "{}", waits.heartbeat_interval_ms);
    bench.good_beat(heartbeat("a", 1));
    bench.good_beat(heartbeat("b", 2));
    bench.good_beat(heartbeat("a", -1));
    assert_eq!(bench.good_beat(heartbeat("b", 2)), (3, Some(vec![0])));
}

#[test]
fn few_partitions_move_when_a_member_joins() {
    let mut bench = Bench::new();
    bench.topics.make("wide", 100);
    let wide = |member: &str| first(member).with_subscribed_topic_names(Some(vec![text("wide").into()]));
    let mut owned = std::collections::BTreeMap::new();
    for member in 0..20 {
        let id = format!("m{member:02}");
        bench.beat(wide(&id));
        owned = settle(&mut bench, member + 1);
    }
    assert!(owned.values().all(|of: &Vec<i32>| of.len() == 5));
    bench.beat(wide("x"));
    let after = settle(&mut bench, 21);
    let stayed: usize = owned
        .iter()
        .map(|(member, before)| before.iter().filter(|p| after[member].contains(p)).count())
        .sum();
    assert_eq!(stayed, 96, "the newcomer's four, and no other");
}

/// Members obey until nothing changes; who has what.
fn settle(bench: &mut Bench, members: usize) -> std::collections::BTreeMap<String, Vec<i32>> {
    let topic = {
        use crate::Topics;
        bench.topics.by_name("wide").unwrap().0
    };
    loop {
        let current: Vec<(String, i32, Vec<i32>)> = match bench.groups.kept().get("g") {
            Some((crate::Kept::Consumer(group), _)) => group
                .members
                .iter()
                .map(|(id, member)| {
                    let assigned = member.current.assigned.get(&topic).into_iter().flatten().map(|p| p.0);
                    (id.to_string(), member.epoch(), assigned.collect())
                })
                .collect(),
            other => panic!("{other:?}"),
        };
        assert_eq!(current.len(), members);
        let before = bench.log.len();
        for (id, epoch, assigned) in &current {
            let owned = assigned.iter().map(|partition| (topic, *partition)).collect();
            bench.beat(heartbeat(id, *epoch).with_topic_partitions(super::messages::owning(&owned)));
        }
        if bench.log.len() == before {
            return current.into_iter().map(|(id, _, assigned)| (id, assigned)).collect();
        }
    }
}

#[test]
fn a_lost_answer_is_asked_for_again_with_the_epoch_before() {
    let mut bench = Bench::new();
    bench.good_beat(first("a"));
    bench.good_beat(first("b"));
    bench.good_beat(heartbeat("a", 1));
    assert_eq!(bench.owns("a", 1, &[0, 1, 2]).0, 2, "this answer is lost");
    assert_eq!(bench.owns("a", 1, &[0, 1, 2]).0, 2, "it owns no more than it has");
    let (error, message) = refused(&mut bench, heartbeat("a", 1));
    assert_eq!(error, ResponseError::FencedMemberEpoch.code(), "it does not say what it owns");
    assert!(message.contains("smaller member epoch (1)") && message.contains("(2)"), "{message}");
    let (error, message) = refused(&mut bench, heartbeat("a", 7));
    assert_eq!(error, ResponseError::FencedMemberEpoch.code());
    assert!(message.contains("greater member epoch (7)"), "{message}");
}

#[test]
fn a_member_that_joins_again_keeps_what_it_has() {
    let mut bench = Bench::new();
    bench.good_beat(first("a"));
    bench.good_beat(heartbeat("a", 1));
    let log = bench.log.len();
    assert_eq!(bench.good_beat(first("a")), (1, Some(vec![0, 1, 2, 3, 4, 5])));
    assert_eq!(bench.log.len(), log, "nothing had to be written");
}

#[test]
fn what_is_wrong_with_a_heartbeat_is_named() {
    let mut bench = Bench::new();
    let invalid = ResponseError::InvalidRequest.code();
    let cases = [
        (first("a").with_group_id(text("").into()), "GroupId can't be empty."),
        (first(""), "MemberId can't be empty."),
        (first("a").with_instance_id(Some(text(""))), "InstanceId can't be empty."),
        (first("a").with_rack_id(Some(text(""))), "RackId can't be empty."),
        (first("a").with_rebalance_timeout_ms(-1), "RebalanceTimeoutMs must be provided in first request."),
        (first("a").with_topic_partitions(None), "TopicPartitions must be empty when (re-)joining."),
        (
            first("a").with_subscribed_topic_names(None),
            "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
        ),
        (heartbeat("a", -2), "InstanceId can't be null."),
        (heartbeat("a", -3), "MemberEpoch -3 is invalid."),
    ];
    for (request, message) in cases {
        assert_eq!(refused(&mut bench, request), (invalid, message.to_owned()));
    }
    let unknown = first("a").with_server_assignor(Some(text("best")));
    assert_eq!(
        refused(&mut bench, unknown),
        (
            ResponseError::UnsupportedAssignor.code(),
            "ServerAssignor best is not supported. Supported assignors: uniform, range, roundrobin."
                .to_owned()
        )
    );
    assert!(bench.log.is_empty());
    assert_eq!(bench.groups.counts(), Default::default());
}

#[test]
fn a_member_of_an_older_client_gets_an_id() {
    let mut bench = Bench::new();
    let answer = bench.call(0, crate::Call::ConsumerHeartbeat(first("")));
    let crate::Answer::ConsumerHeartbeat(answer) = answer else { panic!() };
    assert_eq!(answer.member_id.unwrap().len(), 36);
}

#[test]
fn an_expression_subscribes_to_the_topics_that_it_matches_as_a_whole() {
    let mut bench = Bench::new();
    bench.topics.make("orders-eu", 1);
    bench.topics.make("old-orders", 1);
    let orders = |member| {
        first(member).with_subscribed_topic_names(None).with_subscribed_topic_regex(Some(text("orders.*")))
    };
    assert_eq!(bench.good_beat(orders("a")), (1, Some(vec![0])));
    bench.topics.make("orders-us", 1);
    bench.topics_changed();
    let (epoch, given) = bench.good_beat(heartbeat("a", 1));
    assert_eq!((epoch, given), (2, Some(vec![0, 0])), "the new topic's, too");
    let broken = orders("b").with_subscribed_topic_regex(Some(text("a)|(b")));
    let (error, message) = refused(&mut bench, broken);
    assert_eq!(error, ResponseError::InvalidRegularExpression.code());
    assert!(
        message.starts_with("SubscribedTopicRegex `a)|(b` is not a valid regular expression"),
        "{message}"
    );
    let huge = orders("b").with_subscribed_topic_regex(Some(text("(((a{100}){100}){100})")));
    assert_eq!(refused(&mut bench, huge).0, ResponseError::InvalidRegularExpression.code());
    bench.reload();
}

#[test]
fn a_topic_that_grows_is_assigned_anew() {
    let mut bench = Bench::new();
    bench.good_beat(first("a"));
    bench.topics.make("other", 3);
    bench.topics_changed();
    assert_eq!(
        bench.good_beat(heartbeat("a", 1)),
        (1, None),
        "what it does not subscribe to is nothing to it"
    );
    bench.topics.grow("t", 8);
    bench.topics_changed();
    assert_eq!(bench.good_beat(heartbeat("a", 1)), (2, Some((0..8).collect())));
    bench.reload();
    assert_eq!(bench.good_beat(heartbeat("a", 2)), (2, None), "a new coordinator knows that this is old");
    bench.topics.delete("t");
    bench.topics_changed();
    let (epoch, given) = bench.good_beat(heartbeat("a", 2));
    assert_eq!((epoch, given), (2, Some(vec![])), "to be given up");
    let given_up = heartbeat("a", 2).with_topic_partitions(Some(Vec::new()));
    assert_eq!(bench.good_beat(given_up), (3, None));
}

#[test]
fn a_full_group_takes_no_more() {
    let mut bench = Bench::with(GroupConfig { consumer_max_size: 1, ..Default::default() });
    bench.good_beat(first("a"));
    bench.good_beat(first("a"));
    let (error, message) = refused(&mut bench, first("b"));
    assert_eq!(error, ResponseError::GroupMaxSizeReached.code());
    assert_eq!(message, "The consumer group has reached its maximum capacity of 1 members.");
}

#[test]
fn the_assignor_that_most_ask_for_is_used() {
    let mut bench = Bench::new();
    let ranged = |member| first(member).with_server_assignor(Some(text("range")));
    bench.good_beat(ranged("a"));
    bench.good_beat(ranged("b"));
    bench.good_beat(heartbeat("a", 1));
    assert_eq!(bench.owns("a", 1, &[0, 1, 2]).0, 2);
    assert_eq!(bench.good_beat(heartbeat("b", 2)), (2, Some(vec![3, 4, 5])));
}

#[test]
fn a_coordinator_that_was_deaf_fences_nobody() {
    let mut bench = Bench::new();
    bench.good_beat(first("a"));
    bench.now_ms += 100_000;
    bench.groups.was_deaf(bench.now_ms);
    bench.pass(44_000);
    assert_eq!(bench.good_beat(heartbeat("a", 1)), (1, None));
    bench.pass(46_000);
    assert_eq!(refused(&mut bench, heartbeat("a", 1)).0, ResponseError::UnknownMemberId.code());
}

#[test]
fn many_members_are_asked_to_come_less_often() {
    let mut bench = Bench::new();
    let mut interval_ms = 0;
    for group in 0..2000 {
        let request = first("a").with_group_id(text(&format!("g{group}")).into());
        interval_ms = bench.beat(request).heartbeat_interval_ms;
    }
    assert!((1990..=2000).contains(&interval_ms), "{interval_ms}");
    assert_eq!(bench.groups.next_deadline(), Some(45_000));
}

#[test]
fn members_of_the_other_coordinators_here_are_heard_by_the_same_process() {
    let mut bench = Bench::new();
    bench.members_elsewhere = 3000;
    assert_eq!(bench.beat(first("a")).heartbeat_interval_ms, 3000);
    assert_eq!(bench.beat(heartbeat("a", 1)).heartbeat_interval_ms, 3001, "and itself");
    bench.members_elsewhere = 1_000_000;
    assert_eq!(bench.beat(heartbeat("a", 1)).heartbeat_interval_ms, 5000, "no more than the setting says");
}

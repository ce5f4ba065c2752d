use wire::ResponseError;

use super::{
    bench::Bench,
    messages::{commit, first, heartbeat, join, sync, text},
};

/// The longest there is, so that days are short.
const SESSION_MS: i32 = 1_800_000;
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

fn classic_member(bench: &mut Bench) -> String {
    let joins = bench.join(3, join("", &["range"]).with_session_timeout_ms(SESSION_MS));
    bench.pass(1000);
    let id = bench.joined(joins).unwrap().member_id.to_string();
    let synced = bench.sync(sync(&id, 1, &[(&id, &[0])]));
    bench.synced(synced).unwrap();
    id
}

#[test]
fn a_simple_consumer_commits_and_fetches() {
    let mut bench = Bench::new();
    assert_eq!(bench.fetch("t"), -1);
    assert_eq!(bench.commit("", -1, 7), 0);
    assert_eq!(bench.fetch("t"), 7);
    bench.reload();
    assert_eq!(bench.fetch("t"), 7);
}

#[test]
fn a_commit_is_checked_partition_by_partition() {
    let mut bench = Bench::new();
    let unknown = ResponseError::UnknownTopicOrPartition.code();
    assert_eq!(bench.commit_as(9, commit("nowhere", 1)), unknown);
    let mut beyond = commit("t", 1);
    beyond.topics[0].partitions[0].partition_index = 6;
    assert_eq!(bench.commit_as(9, beyond), unknown);
    let mut long = commit("t", 1);
    long.topics[0].partitions[0].committed_metadata = Some(text(&"x".repeat(4097)));
    assert_eq!(bench.commit_as(9, long), ResponseError::OffsetMetadataTooLarge.code());
    assert!(bench.log.is_empty());
    assert_eq!(bench.groups.counts(), Default::default());
}

#[test]
fn a_commit_in_a_classic_group_is_fenced_by_its_generation() {
    let mut bench = Bench::new();
    assert_eq!(bench.commit("x", 3, 1), ResponseError::IllegalGeneration.code(), "there is no such group");
    let id = classic_member(&mut bench);
    assert_eq!(bench.commit(&id, 1, 5), 0);
    assert_eq!(bench.commit(&id, 0, 6), ResponseError::IllegalGeneration.code());
    assert_eq!(bench.commit("x", 1, 6), ResponseError::UnknownMemberId.code());
    assert_eq!(
        bench.commit("", -1, 6),
        ResponseError::UnknownMemberId.code(),
        "only members, while there are some"
    );
    let instance = commit("t", 6)
        .with_member_id(text(&id))
        .with_generation_id_or_member_epoch(1)
        .with_group_instance_id(Some(text("i")));
    assert_eq!(bench.commit_as(9, instance), ResponseError::UnknownMemberId.code());
    bench.join(3, join("", &["range"]));
    assert_eq!(bench.commit(&id, 1, 6), 0, "before it joins again it says how far it came");
    bench.join(3, join(&id, &["range"]));
    assert_eq!(bench.commit(&id, 2, 7), ResponseError::RebalanceInProgress.code());
    assert_eq!(bench.fetch("t"), 6);
}

#[test]
fn a_commit_in_a_consumer_group_is_fenced_by_its_epoch() {
    let mut bench = Bench::new();
    bench.good_beat(first("a"));
    assert_eq!(bench.commit("a", 1, 5), 0);
    assert_eq!(bench.commit("a", 0, 6), ResponseError::StaleMemberEpoch.code());
    assert_eq!(bench.commit("x", 1, 6), ResponseError::UnknownMemberId.code());
    assert_eq!(bench.commit("", -1, 6), ResponseError::UnknownMemberId.code());
    let older = commit("t", 6).with_member_id(text("a")).with_generation_id_or_member_epoch(1);
    assert_eq!(bench.commit_as(8, older), ResponseError::UnsupportedVersion.code());
    bench.good_beat(heartbeat("a", -1));
    assert_eq!(bench.commit("", -1, 9), 0, "the group is empty");
    assert_eq!(bench.fetch("t"), 9);
}

#[test]
fn a_replaced_static_member_commits_no_more() {
    let mut bench = Bench::new();
    let instance =
        |request: wire::messages::ConsumerGroupHeartbeatRequest| request.with_instance_id(Some(text("i")));
    bench.good_beat(instance(first("a")));
    bench.good_beat(instance(heartbeat("a", -2)));
    assert_eq!(bench.commit("a", -2, 6), ResponseError::StaleMemberEpoch.code(), "it has left for now");
    bench.good_beat(instance(first("b")));
    let late = commit("t", 6)
        .with_member_id(text("a"))
        .with_generation_id_or_member_epoch(1)
        .with_group_instance_id(Some(text("i")));
    assert_eq!(bench.commit_as(9, late), ResponseError::FencedInstanceId.code());
}

#[test]
fn no_offset_expires_while_its_group_lives() {
    let mut bench = Bench::new();
    let id = classic_member(&mut bench);
    assert_eq!(bench.commit(&id, 1, 5), 0);
    for _ in 0..8 * 24 * 3 {
        bench.pass(20 * 60 * 1000);
        assert_eq!(bench.classic_beat(&id, 1), 0);
    }
    assert_eq!(bench.fetch("t"), 5);
    bench.leave(&[(&id, None)]);
    bench.pass(7 * DAY_MS - 1_000_000);
    assert_eq!(bench.fetch("t"), 5, "from when the group became empty");
    bench.pass(2_000_000);
    assert_eq!(bench.fetch("t"), -1);
    assert_eq!(bench.groups.counts(), Default::default(), "nothing is left, not even the group");
    bench.reload();
}

#[test]
fn the_offsets_of_an_empty_consumer_group_expire_as_well() {
    let mut bench = Bench::new();
    bench.good_beat(first("a"));
    bench.commit("a", 1, 5);
    bench.good_beat(heartbeat("a", -1));
    bench.pass(7 * DAY_MS - 1_000_000);
    assert_eq!(bench.fetch("t"), 5);
    bench.pass(2_000_000);
    assert_eq!((bench.fetch("t"), bench.groups.counts()), (-1, Default::default()));
    bench.reload();
}

#[test]
fn what_a_simple_consumer_committed_expires_from_the_commit_on() {
    let mut bench = Bench::new();
    bench.commit("", -1, 5);
    bench.pass(DAY_MS);
    bench.commit("", -1, 6);
    bench.pass(7 * DAY_MS - 1_000_000);
    assert_eq!(bench.fetch("t"), 6);
    bench.pass(2_000_000);
    assert_eq!((bench.fetch("t"), bench.groups.counts()), (-1, Default::default()));
}

#[test]
fn a_client_of_long_ago_may_ask_for_a_retention_of_its_own() {
    let mut bench = Bench::new();
    bench.commit_as(4, commit("t", 5).with_retention_time_ms(DAY_MS as i64));
    bench.reload();
    bench.pass(DAY_MS - 1_000_000);
    assert_eq!(bench.fetch("t"), 5);
    bench.pass(2_000_000);
    assert_eq!(bench.fetch("t"), -1);
}

#[test]
fn only_topics_that_are_not_subscribed_expire_in_a_live_group() {
    let mut bench = Bench::new();
    bench.topics.make("old", 1);
    let id = classic_member(&mut bench);
    bench.commit(&id, 1, 5);
    let old = commit("old", 9).with_member_id(text(&id)).with_generation_id_or_member_epoch(1);
    assert_eq!(bench.commit_as(9, old), 0);
    for _ in 0..8 * 24 * 3 {
        bench.pass(20 * 60 * 1000);
        bench.classic_beat(&id, 1);
    }
    assert_eq!((bench.fetch("t"), bench.fetch("old")), (5, -1));
}

#[test]
fn the_offsets_of_a_deleted_topic_are_forgotten_even_if_it_is_made_again() {
    let mut bench = Bench::new();
    bench.topics.make("u", 1);
    bench.commit("", -1, 5);
    bench.commit_as(9, commit("u", 6));
    bench.topics_changed();
    bench.topics.delete("u");
    bench.topics.make("u", 1);
    bench.topics_changed();
    assert_eq!((bench.fetch("t"), bench.fetch("u")), (5, -1));
}

#[test]
fn a_topic_that_this_node_has_not_heard_of_yet_is_not_a_deleted_one() {
    let mut bench = Bench::new();
    let before = bench.topics.clone();
    bench.topics.make("new", 1);
    bench.commit_as(9, commit("new", 6));
    let after = std::mem::replace(&mut bench.topics, before);
    bench.reload();
    bench.topics.make("something", 1);
    bench.topics_changed();
    assert_eq!(bench.fetch("new"), 6);
    bench.topics = after;
    bench.topics_changed();
    assert_eq!(bench.fetch("new"), 6);
    bench.topics.delete("new");
    bench.topics_changed();
    assert_eq!(bench.fetch("new"), -1);
}

#[test]
fn a_commit_to_a_topic_made_again_stays_though_the_old_offsets_could_not_be_forgotten_in_time() {
    let mut bench = Bench::new();
    bench.topics.make("u", 2);
    bench.commit_as(9, commit("u", 1000));
    bench.full = true;
    bench.topics.delete("u");
    bench.topics_changed();
    bench.topics.make("u", 2);
    bench.topics_changed();
    assert_eq!(bench.fetch("u"), -1, "nobody has read anything of the new one");
    bench.full = false;
    let mut other = commit("u", 5);
    other.topics[0].partitions[0].partition_index = 1;
    assert_eq!((bench.commit_as(9, commit("u", 6)), bench.commit_as(9, other)), (0, 0));
    bench.topics.make("unrelated", 1);
    bench.topics_changed();
    assert_eq!(bench.fetch("u"), 6);
    bench.reload();
    bench.groups.topics_are_current(bench.now_ms);
    bench.pass(DAY_MS);
    assert_eq!((bench.fetch("u"), bench.groups.counts().offsets), (6, 2));
}

#[test]
fn offsets_of_a_deleted_topic_are_forgotten_as_soon_as_the_log_takes_it() {
    let mut bench = Bench::new();
    bench.topics.make("u", 1);
    bench.commit_as(9, commit("u", 6));
    bench.topics_changed();
    bench.full = true;
    bench.topics.delete("u");
    bench.topics_changed();
    bench.pass(10_000);
    assert_eq!(bench.groups.counts().offsets, 1);
    bench.full = false;
    bench.pass(1_000);
    assert_eq!(bench.groups.counts().offsets, 0);
}

#[test]
fn a_topic_that_was_made_again_while_nobody_coordinated_starts_without_offsets() {
    let mut bench = Bench::new();
    bench.topics.make("u", 1);
    bench.commit_as(9, commit("u", 6));
    bench.topics.delete("u");
    bench.topics.make("u", 1);
    bench.reload();
    assert_eq!(bench.fetch("u"), 6, "this node's metadata may be of before the commit");
    bench.groups.topics_are_current(bench.now_ms);
    assert_eq!(bench.fetch("u"), -1);
    bench.tick();
    assert_eq!(bench.groups.counts().offsets, 0);
    bench.reload();
}

#[test]
fn a_commit_without_a_topics_id_waits_until_those_of_the_former_topic_are_forgotten() {
    let mut bench = Bench::new();
    let old = |offset| commit("u", offset).with_retention_time_ms(DAY_MS as i64);
    bench.topics.make("u", 1);
    bench.commit_as(4, old(6));
    bench.topics_changed();
    bench.full = true;
    bench.topics.delete("u");
    bench.topics.make("u", 1);
    bench.topics_changed();
    bench.full = false;
    assert_eq!(bench.commit_as(4, old(7)), ResponseError::CoordinatorLoadInProgress.code());
    bench.tick();
    assert_eq!(bench.commit_as(4, old(7)), 0);
    bench.topics_changed();
    assert_eq!(bench.fetch("u"), 7);
}

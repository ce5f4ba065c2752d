use wire::{
    ResponseError,
    messages::{
        ConsumerGroupDescribeRequest, DeleteGroupsRequest, DescribeGroupsRequest, ListGroupsRequest,
        OffsetDeleteRequest, OffsetFetchRequest,
        offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic},
        offset_fetch_request::OffsetFetchRequestGroup,
    },
};

use super::{
    bench::Bench,
    messages::{commit, first, heartbeat, join, sync, text},
};
use crate::{Answer, Call};

fn delete(bench: &mut Bench, group: &str) -> i16 {
    let request = DeleteGroupsRequest::default().with_groups_names(vec![text(group).into()]);
    match bench.call(2, Call::DeleteGroups(request)) {
        Answer::DeleteGroups(answer) => answer.results[0].error_code,
        other => panic!("{other:?}"),
    }
}

fn delete_offset(bench: &mut Bench, topic: &str) -> (i16, Option<i16>) {
    let topic = OffsetDeleteRequestTopic::default()
        .with_name(text(topic).into())
        .with_partitions(vec![OffsetDeleteRequestPartition::default()]);
    let request = OffsetDeleteRequest::default().with_group_id(text("g").into()).with_topics(vec![topic]);
    match bench.call(0, Call::OffsetDelete(request)) {
        Answer::OffsetDelete(answer) => {
            (answer.error_code, answer.topics.first().map(|topic| topic.partitions[0].error_code))
        }
        other => panic!("{other:?}"),
    }
}

fn list(bench: &mut Bench, states: &[&str], types: &[&str]) -> Vec<(String, String, String, String)> {
    let request = ListGroupsRequest::default()
        .with_states_filter(states.iter().map(|state| text(state)).collect())
        .with_types_filter(types.iter().map(|of| text(of)).collect());
    let Answer::List(answer) = bench.call(5, Call::List(request)) else { panic!() };
    let listed = answer.groups.iter().map(|group| {
        let of = |text: &wire::StrBytes| text.to_string();
        (group.group_id.to_string(), of(&group.protocol_type), of(&group.group_state), of(&group.group_type))
    });
    listed.collect()
}

fn row(group: &str, protocol: &str, state: &str, of: &str) -> (String, String, String, String) {
    (group.to_owned(), protocol.to_owned(), state.to_owned(), of.to_owned())
}

#[test]
fn groups_are_listed_by_state_and_type() {
    let mut bench = Bench::new();
    bench.good_beat(first("a"));
    bench.commit_as(9, commit("t", 1).with_group_id(text("simple").into()));
    bench.join(3, join("", &["range"]).with_group_id(text("classic").into()));
    let classic = row("classic", "consumer", "PreparingRebalance", "classic");
    let consumer = row("g", "consumer", "Stable", "consumer");
    let simple = row("simple", "", "Empty", "classic");
    assert_eq!(list(&mut bench, &[], &[]), [classic.clone(), consumer.clone(), simple.clone()]);
    assert_eq!(list(&mut bench, &["stable"], &[]), std::slice::from_ref(&consumer));
    assert_eq!(list(&mut bench, &[], &["Classic"]), [classic, simple]);
    assert_eq!(list(&mut bench, &["Empty"], &["consumer"]), []);
}

#[test]
fn a_classic_group_is_described() {
    let mut bench = Bench::new();
    let joins = bench.join(3, join("", &["range"]));
    bench.pass(1000);
    let id = bench.joined(joins).unwrap().member_id;
    let synced = bench.sync(sync(&id, 1, &[(&id, &[0])]));
    bench.synced(synced).unwrap();
    bench.good_beat(first("a").with_group_id(text("new").into()));
    let groups = ["g", "new", "none"].map(|group| text(group).into()).to_vec();
    let request = DescribeGroupsRequest::default().with_groups(groups);
    let Answer::Describe(answer) = bench.call(6, Call::Describe(request.clone())) else { panic!() };
    let group = &answer.groups[0];
    assert_eq!((group.group_state.as_str(), group.protocol_type.as_str()), ("Stable", "consumer"));
    assert_eq!((group.protocol_data.as_str(), group.members.len()), ("range", 1));
    let member = &group.members[0];
    assert_eq!((&member.member_id, member.client_host.as_str()), (&id, "/127.0.0.1"));
    assert_eq!(super::messages::assigned(&member.member_assignment), [0]);
    let not_found = ResponseError::GroupIdNotFound.code();
    assert_eq!((answer.groups[1].error_code, answer.groups[2].error_code), (not_found, not_found));
    assert_eq!(
        answer.groups[1].error_message.as_ref().unwrap().as_str(),
        "Group new is not a classic group."
    );
    let Answer::Describe(older) = bench.call(5, Call::Describe(request)) else { panic!() };
    assert_eq!((older.groups[2].error_code, older.groups[2].group_state.as_str()), (0, "Dead"));
}

#[test]
fn a_consumer_group_is_described() {
    let mut bench = Bench::new();
    bench.good_beat(first("a"));
    bench.good_beat(first("b"));
    bench.commit_as(9, commit("t", 1).with_group_id(text("simple").into()));
    let groups = ["g", "simple", "none"].map(|group| text(group).into()).to_vec();
    let request = ConsumerGroupDescribeRequest::default().with_group_ids(groups);
    let Answer::ConsumerDescribe(answer) = bench.call(1, Call::ConsumerDescribe(request)) else { panic!() };
    let group = &answer.groups[0];
    assert_eq!(
        (group.group_state.as_str(), group.group_epoch, group.assignment_epoch),
        ("Reconciling", 2, 2)
    );
    assert_eq!((group.assignor_name.as_str(), group.members.len()), ("uniform", 2));
    let member = &group.members[0];
    assert_eq!((member.member_id.as_str(), member.member_epoch, member.member_type), ("a", 1, 1));
    assert_eq!(member.assignment.topic_partitions[0].partitions.len(), 6);
    assert_eq!(member.target_assignment.topic_partitions[0].partitions.len(), 3);
    assert_eq!(member.target_assignment.topic_partitions[0].topic_name.as_str(), "t");
    let not_found = ResponseError::GroupIdNotFound.code();
    assert_eq!((answer.groups[1].error_code, answer.groups[2].error_code), (not_found, not_found));
}

#[test]
fn only_an_empty_group_is_deleted_and_then_wholly() {
    let mut bench = Bench::new();
    assert_eq!(delete(&mut bench, "g"), ResponseError::GroupIdNotFound.code());
    bench.good_beat(first("a"));
    bench.commit("a", 1, 5);
    assert_eq!(delete(&mut bench, "g"), ResponseError::NonEmptyGroup.code());
    bench.good_beat(heartbeat("a", -1));
    assert_eq!(delete(&mut bench, "g"), 0);
    assert_eq!((bench.fetch("t"), bench.groups.kept().len()), (-1, 0));
    bench.reload();
    assert_eq!(delete(&mut bench, "g"), ResponseError::GroupIdNotFound.code());

    let joins = bench.join(3, join("", &["range"]));
    bench.pass(1000);
    let id = bench.joined(joins).unwrap().member_id;
    assert_eq!(delete(&mut bench, "g"), ResponseError::NonEmptyGroup.code());
    bench.leave(&[(&id, None)]);
    assert_eq!((delete(&mut bench, "g"), bench.groups.counts()), (0, Default::default()));
    bench.reload();
}

#[test]
fn offsets_of_subscribed_topics_are_not_deleted() {
    let mut bench = Bench::new();
    assert_eq!(delete_offset(&mut bench, "t"), (ResponseError::GroupIdNotFound.code(), None));
    bench.topics.make("u", 1);
    bench.good_beat(first("a"));
    bench.commit("a", 1, 5);
    let other = commit("u", 6).with_member_id(text("a")).with_generation_id_or_member_epoch(1);
    assert_eq!(bench.commit_as(9, other), 0);
    assert_eq!(delete_offset(&mut bench, "t"), (0, Some(ResponseError::GroupSubscribedToTopic.code())));
    assert_eq!(delete_offset(&mut bench, "u"), (0, Some(0)));
    assert_eq!((bench.fetch("t"), bench.fetch("u")), (5, -1));
    assert_eq!(delete_offset(&mut bench, "x"), (0, Some(ResponseError::UnknownTopicOrPartition.code())));
}

#[test]
fn all_offsets_of_a_group_are_fetched_by_a_member_that_is_up_to_date() {
    let mut bench = Bench::new();
    bench.good_beat(first("a"));
    bench.commit("a", 1, 5);
    let mut fetch = |member: Option<&str>, epoch| {
        let group = OffsetFetchRequestGroup::default()
            .with_group_id(text("g").into())
            .with_member_id(member.map(text))
            .with_member_epoch(epoch)
            .with_topics(None);
        let request = OffsetFetchRequest::default().with_groups(vec![group]);
        let Answer::OffsetFetch(answer) = bench.call(9, Call::OffsetFetch(request)) else { panic!() };
        (answer.groups[0].error_code, answer.groups[0].topics.len())
    };
    assert_eq!(fetch(None, -1), (0, 1));
    assert_eq!(fetch(Some("a"), 1), (0, 1));
    assert_eq!(fetch(Some("a"), 2), (ResponseError::StaleMemberEpoch.code(), 0));
    assert_eq!(fetch(Some("b"), 1), (ResponseError::UnknownMemberId.code(), 0));
}

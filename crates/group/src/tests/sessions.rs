use std::collections::BTreeSet;

use assign::Partitions;
use domain::{Offset, PartitionIndex};

use super::{
    bench::Bench,
    messages::{first, heartbeat},
};
use crate::{
    Answer, BeginPoll, Call, Commit, EndPoll, Entry, OffsetReset, PollBegun, Range, RecordFormat,
    SessionCall, SessionError, SessionOp, SessionOptions, SessionReply, Subscribed, TopicPlace,
};

const AUTO: bool = true;
const BY_HAND: bool = false;

fn create(member: &str, options: SessionOptions) -> SessionOp {
    SessionOp::Create { options, member: format!("member-{member}") }
}

type Outcome = Result<SessionReply, SessionError>;

impl Bench {
    pub(super) fn session(&mut self, instance: &str, op: SessionOp) -> Outcome {
        let call = SessionCall { group: "g".to_owned(), instance: instance.to_owned(), op };
        match self.call(0, Call::Session(call)) {
            Answer::Session(outcome) => outcome,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn done_session(&mut self, instance: &str, op: SessionOp) {
        assert_eq!(self.session(instance, op), Ok(SessionReply::Done));
    }

    pub(super) fn subscriber(&mut self, instance: &str, auto_commit: bool) {
        let options = SessionOptions { auto_commit, reset: OffsetReset::Earliest, ..Default::default() };
        self.done_session(instance, create(instance, options));
        let topics = Subscribed::Topics(BTreeSet::from(["t".to_owned()]));
        self.done_session(instance, SessionOp::Subscribe(topics));
        self.pass(1);
    }

    pub(super) fn place(&self, partition: i32) -> TopicPlace {
        TopicPlace { topic: self.topic(), partition: PartitionIndex(partition) }
    }

    fn range(&self, partition: i32, from: i64, to: i64) -> Range {
        Range { place: self.place(partition), from: Offset(from), to: Offset(to) }
    }

    pub(super) fn begin(&mut self, instance: &str, request: Option<&str>) -> PollBegun {
        let begin = BeginPoll { request: request.map(str::to_owned), ..Default::default() };
        match self.session(instance, SessionOp::BeginPoll(begin)) {
            Ok(SessionReply::PollBegun(begun)) => begun,
            other => panic!("{other:?}"),
        }
    }

    fn end(&mut self, instance: &str, poll: u64, delivered: Vec<Range>) -> Outcome {
        self.session(instance, SessionOp::EndPoll(EndPoll { poll, began: Vec::new(), delivered }))
    }

    /// A poll that delivers these; what it could have read.
    fn poll(&mut self, instance: &str, delivered: &[(i32, i64, i64)]) -> Vec<i32> {
        let begun = self.begin(instance, None);
        let delivered = delivered.iter().map(|(p, from, to)| self.range(*p, *from, *to)).collect();
        assert_eq!(self.end(instance, begun.poll, delivered), Ok(SessionReply::Done));
        partitions(&begun)
    }

    fn committed(&self, partition: i32) -> Option<i64> {
        let group = self.groups.groups.get("g")?;
        group.offsets.get("t", PartitionIndex(partition)).map(|committed| committed.offset.0)
    }

    fn commit_these(&mut self, instance: &str, partition: i32, offset: i64) -> Outcome {
        let these = vec![(self.place(partition), Offset(offset), String::new())];
        self.session(instance, SessionOp::Commit(Commit::These(these)))
    }
}

fn partitions(begun: &PollBegun) -> Vec<i32> {
    begun.positions.iter().map(|(place, _)| place.partition.0).collect()
}

fn position(begun: &PollBegun, partition: i32) -> Option<i64> {
    let found = begun.positions.iter().find(|(place, _)| place.partition.0 == partition);
    found.and_then(|(_, offset)| offset.map(|offset| offset.0))
}

#[test]
fn a_consumer_is_made_once_and_is_gone_when_it_is_deleted() {
    let mut bench = Bench::new();
    assert_eq!(bench.session("a", SessionOp::Describe), Err(SessionError::Unknown));
    bench.done_session("a", create("1", SessionOptions::default()));
    bench.done_session("a", create("1", SessionOptions::default()));
    assert_eq!(bench.session("a", create("2", SessionOptions::default())), Err(SessionError::Exists));
    bench.reload();
    bench.done_session("a", SessionOp::Delete);
    assert_eq!(bench.session("a", SessionOp::Describe), Err(SessionError::Unknown));
    assert!(bench.groups.groups.is_empty(), "nothing is left of it");
}

#[test]
fn a_subscription_is_assigned_when_it_is_made() {
    let mut bench = Bench::new();
    bench.subscriber("a", AUTO);
    let begun = bench.begin("a", None);
    assert_eq!(partitions(&begun), [0, 1, 2, 3, 4, 5]);
    assert_eq!(position(&begun, 0), None, "nothing is committed");
    bench.reload();
}

#[test]
fn a_poll_acknowledges_the_one_before_it_and_the_commit_follows_within_a_second() {
    let mut bench = Bench::new();
    bench.subscriber("a", AUTO);
    bench.poll("a", &[(0, 0, 5)]);
    bench.pass(5_000);
    assert_eq!(bench.committed(0), None, "the answer may have been lost");
    let begun = bench.begin("a", None);
    assert_eq!(position(&begun, 0), Some(5));
    bench.pass(1_000);
    assert_eq!(bench.committed(0), Some(5));
    let commits =
        |bench: &Bench| bench.log.iter().filter(|e| matches!(e, Entry::OffsetCommit { .. })).count();
    let before = commits(&bench);
    for offset in 5..120 {
        bench.poll("a", &[(0, offset, offset + 1)]);
        bench.pass(10);
    }
    assert_eq!(commits(&bench) - before, 1, "115 polls in little over a second are one write");
    bench.reload();
}

#[test]
fn a_poll_under_the_same_request_id_gets_the_same_again_and_acknowledges_nothing() {
    let mut bench = Bench::new();
    bench.subscriber("a", AUTO);
    let begun = bench.begin("a", Some("r1"));
    let delivered = vec![bench.range(3, 0, 7), bench.range(1, 0, 2)];
    bench.end("a", begun.poll, delivered.clone()).unwrap();
    for _ in 0..2 {
        let again = bench.begin("a", Some("r1"));
        assert_eq!(again.replay, delivered);
        bench.pass(2_000);
        assert_eq!(bench.committed(3), None);
    }
    let next = bench.begin("a", Some("r2"));
    assert_eq!((next.replay.len(), position(&next, 3), position(&next, 1)), (0, Some(7), Some(2)));
    bench.pass(1_000);
    assert_eq!((bench.committed(3), bench.committed(1)), (Some(7), Some(2)));
}

#[test]
fn a_poll_that_was_overtaken_delivers_nothing_and_acknowledges_nothing() {
    let mut bench = Bench::new();
    bench.subscriber("a", AUTO);
    let (first, second) = (bench.begin("a", None), bench.begin("a", None));
    let range = bench.range(0, 0, 5);
    assert_eq!(bench.end("a", first.poll, vec![range]), Err(SessionError::Superseded));
    bench.end("a", second.poll, vec![range]).unwrap();
    bench.end("a", second.poll, vec![range]).expect("its answer may have been lost");
    let again = BeginPoll { again: Some(first.poll), ..Default::default() };
    assert_eq!(bench.session("a", SessionOp::BeginPoll(again)), Err(SessionError::Superseded));
    bench.pass(2_000);
    assert_eq!(bench.committed(0), None);
    let other = bench.range(0, 5, 6);
    assert_eq!(bench.end("a", second.poll, vec![other]), Err(SessionError::Superseded), "it has ended");
}

#[test]
fn a_poll_in_another_form_is_refused_and_acknowledges_nothing() {
    let mut bench = Bench::new();
    bench.subscriber("a", AUTO);
    bench.poll("a", &[(0, 0, 5)]);
    let wrong = BeginPoll { format: Some(RecordFormat::Json), ..Default::default() };
    let outcome = bench.session("a", SessionOp::BeginPoll(wrong));
    assert_eq!(outcome, Err(SessionError::OtherFormat(RecordFormat::Binary)));
    bench.session("a", SessionOp::Committed(BTreeSet::new())).unwrap();
    assert_eq!(bench.committed(0), Some(0));
}

#[test]
fn what_certainly_did_not_arrive_is_delivered_again() {
    let mut bench = Bench::new();
    bench.subscriber("a", AUTO);
    bench.poll("a", &[(0, 0, 5)]);
    let begun = bench.begin("a", None);
    let ranges = vec![bench.range(0, 5, 9)];
    bench.end("a", begun.poll, ranges).unwrap();
    bench.done_session("a", SessionOp::Undelivered { poll: begun.poll });
    assert_eq!(position(&bench.begin("a", None), 0), Some(5));
    bench.done_session("a", SessionOp::Undelivered { poll: begun.poll });
    assert_eq!(position(&bench.begin("a", None), 0), Some(5));
}

#[test]
fn partitions_that_nobody_works_on_move_at_once_and_others_with_the_next_poll() {
    let mut bench = Bench::new();
    bench.subscriber("a", AUTO);
    let all: Vec<(i32, i64, i64)> = (0..6).map(|p| (p, 0, 3)).collect();
    bench.poll("a", &all[..5]);
    bench.subscriber("b", AUTO);
    let of_b = bench.poll("b", &[]);
    assert!(of_b.iter().all(|partition| *partition == 5), "the others may be in work: {of_b:?}");
    let of_a = bench.poll("a", &[]);
    assert_eq!(of_a.len(), 3);
    bench.pass(1);
    let begun = bench.begin("b", None);
    assert_eq!(partitions(&begun).len(), 3);
    for partition in partitions(&begun).into_iter().filter(|p| *p < 5) {
        assert_eq!(position(&begun, partition), Some(3), "after what was acknowledged");
        assert_eq!(bench.committed(partition), Some(3));
    }
    bench.reload();
}

#[test]
fn a_consumer_by_hand_keeps_what_it_has_not_committed_until_it_polls() {
    let mut bench = Bench::new();
    bench.subscriber("a", BY_HAND);
    let all: Vec<(i32, i64, i64)> = (0..6).map(|p| (p, 0, 3)).collect();
    bench.poll("a", &all);
    bench.subscriber("b", BY_HAND);
    assert_eq!(bench.poll("b", &[]), [0; 0]);
    bench.done_session("a", SessionOp::Commit(Commit::Delivered));
    bench.pass(1);
    let begun = bench.begin("b", None);
    assert_eq!(partitions(&begun).len(), 3, "a commit frees them too");
    assert!(begun.positions.iter().all(|(_, offset)| *offset == Some(Offset(3))));
    let taken = partitions(&begun)[0];
    let outcome = bench.commit_these("a", taken, 2);
    assert!(matches!(outcome, Err(SessionError::NotOwned { .. })), "{outcome:?}");
}

#[test]
fn rest_and_kafka_consumers_share_a_group() {
    let mut bench = Bench::new();
    bench.good_beat(first("k"));
    bench.subscriber("a", AUTO);
    assert_eq!(bench.poll("a", &[]), [0; 0], "all is still owned");
    let (_, left) = bench.good_beat(heartbeat("k", 1));
    let left = left.unwrap();
    bench.owns("k", 1, &left);
    bench.pass(1);
    assert_eq!(bench.poll("a", &[]).len(), 3);
    bench.done_session("a", SessionOp::Delete);
    bench.pass(1);
    let (_, given) = bench.good_beat(heartbeat("k", 2));
    assert_eq!(given.map(|given| given.len()), Some(6));
}

#[test]
fn a_consumer_that_is_silent_for_its_lease_is_gone_and_what_it_acknowledged_is_committed() {
    let mut bench = Bench::new();
    bench.subscriber("a", AUTO);
    bench.subscriber("b", AUTO);
    let of_a = bench.poll("a", &[]);
    bench.poll("a", &[(of_a[0], 0, 4)]);
    let begun = bench.begin("a", None);
    let ranges = vec![bench.range(of_a[0], 4, 9)];
    bench.end("a", begun.poll, ranges).unwrap();
    for _ in 0..29 {
        bench.pass(10_000);
        bench.poll("b", &[]);
    }
    assert!(bench.session("a", SessionOp::Describe).is_ok(), "a lease is 300 s");
    for _ in 0..31 {
        bench.pass(10_000);
        bench.poll("b", &[]);
    }
    assert_eq!(bench.session("a", SessionOp::Describe), Err(SessionError::Unknown));
    let begun = bench.begin("b", None);
    assert_eq!(partitions(&begun).len(), 6);
    assert_eq!(position(&begun, of_a[0]), Some(4), "what was not acknowledged is delivered again");
    bench.reload();
}

#[test]
fn a_new_coordinator_goes_on_from_what_was_committed_or_from_where_reading_began() {
    let mut bench = Bench::new();
    bench.subscriber("a", BY_HAND);
    let begun = bench.begin("a", None);
    let began = vec![(bench.place(0), Offset(40)), (bench.place(1), Offset(50))];
    let delivered = vec![bench.range(0, 40, 45), bench.range(1, 50, 55)];
    let end = EndPoll { poll: begun.poll, began, delivered };
    bench.done_session("a", SessionOp::EndPoll(end));
    bench.commit_these("a", 0, 43).unwrap();
    bench.reload();
    let begun = bench.begin("a", None);
    assert_eq!((position(&begun, 0), position(&begun, 1), position(&begun, 2)), (Some(43), Some(50), None));
    assert_eq!(partitions(&begun).len(), 6, "it is a member still");
}

#[test]
fn a_seek_counts_until_something_is_committed() {
    let mut bench = Bench::new();
    bench.subscriber("a", BY_HAND);
    bench.poll("a", &[(0, 0, 9)]);
    bench.done_session("a", SessionOp::Commit(Commit::Delivered));
    let seek = vec![(bench.place(0), Offset(2))];
    bench.done_session("a", SessionOp::Seek(seek));
    bench.reload();
    assert_eq!(position(&bench.begin("a", None), 0), Some(2));
    bench.commit_these("a", 0, 4).unwrap();
    bench.reload();
    assert_eq!(position(&bench.begin("a", None), 0), Some(4));
}

#[test]
fn a_seek_is_not_undone_by_what_was_under_way() {
    let mut bench = Bench::new();
    bench.subscriber("a", AUTO);
    bench.poll("a", &[(0, 0, 9)]);
    let seek = vec![(bench.place(0), Offset(2))];
    bench.done_session("a", SessionOp::Seek(seek.clone()));
    let begun = bench.begin("a", None);
    assert_eq!(position(&begun, 0), Some(2), "the poll acknowledged nothing of it");
    bench.done_session("a", SessionOp::Seek(seek));
    let range = bench.range(0, 9, 12);
    assert_eq!(bench.end("a", begun.poll, vec![range]), Err(SessionError::Superseded));
    bench.pass(1_000);
    assert_eq!(bench.committed(0), Some(2));
}

#[test]
fn assigned_by_hand_it_reads_beside_the_group_and_commits_where_nobody_else_does() {
    let mut bench = Bench::new();
    let options = SessionOptions { auto_commit: AUTO, ..Default::default() };
    bench.done_session("a", create("a", options));
    let one = Partitions::from([(bench.topic(), BTreeSet::from([PartitionIndex(2)]))]);
    bench.done_session("a", SessionOp::Assign(one.clone()));
    let topics = Subscribed::Topics(BTreeSet::from(["t".to_owned()]));
    assert_eq!(bench.session("a", SessionOp::Subscribe(topics)), Err(SessionError::Assigned));
    assert_eq!(bench.poll("a", &[(2, 0, 5)]), [2]);
    assert_eq!(position(&bench.begin("a", None), 2), Some(5));
    bench.pass(1_000);
    assert_eq!(bench.committed(2), Some(5));
    assert_eq!(bench.groups.counts().members, 0);
    bench.subscriber("b", AUTO);
    assert_eq!(bench.session("b", SessionOp::Assign(one)), Err(SessionError::Subscribed));
    assert_eq!(bench.session("a", SessionOp::Commit(Commit::Delivered)), Err(SessionError::GroupHasMembers));
    bench.poll("a", &[(2, 5, 8)]);
    bench.poll("a", &[]);
    bench.pass(1_000);
    assert_eq!(bench.committed(2), Some(5), "nor behind its back");
    bench.reload();
}

#[test]
fn one_that_does_not_poll_when_it_must_give_up_is_put_out_and_comes_back_without_its_positions() {
    let mut bench = Bench::new();
    bench.subscriber("a", AUTO);
    let all: Vec<(i32, i64, i64)> = (0..6).map(|p| (p, 0, 3)).collect();
    bench.poll("a", &all);
    bench.subscriber("b", AUTO);
    bench.pass(59_000);
    assert_eq!(bench.poll("b", &[]), [0; 0]);
    bench.pass(2_000);
    assert_eq!(bench.poll("b", &all).len(), 6, "delivered again, for nobody knows");
    assert!(matches!(bench.commit_these("a", 0, 1), Err(SessionError::NotOwned { .. })));
    let further: Vec<(i32, i64, i64)> = (0..6).map(|p| (p, 3, 6)).collect();
    bench.poll("b", &further);
    bench.poll("b", &[]);
    bench.begin("a", None);
    bench.pass(1);
    let begun = bench.begin("a", None);
    assert_eq!(partitions(&begun).len(), 3);
    assert!(begun.positions.iter().all(|(_, offset)| *offset == Some(Offset(6))), "{begun:?}");
}

#[test]
fn a_poll_whose_partitions_were_taken_away_is_begun_again() {
    let mut bench = Bench::new();
    bench.subscriber("a", AUTO);
    let begun = bench.begin("a", None);
    bench.subscriber("b", AUTO);
    let taken = bench.poll("b", &[])[0];
    let range = bench.range(taken, 0, 5);
    assert_eq!(bench.end("a", begun.poll, vec![range]), Err(SessionError::Moved));
    let again = BeginPoll { again: Some(begun.poll), ..Default::default() };
    let Ok(SessionReply::PollBegun(begun)) = bench.session("a", SessionOp::BeginPoll(again)) else {
        panic!()
    };
    assert_eq!(partitions(&begun).len(), 3);
    assert!(!partitions(&begun).contains(&taken));
}

#[test]
fn a_subscription_may_change_and_end() {
    let mut bench = Bench::new();
    bench.topics.make("u", 2);
    bench.subscriber("a", AUTO);
    bench.poll("a", &[(0, 0, 5)]);
    let both = Subscribed::Topics(BTreeSet::from(["t".to_owned(), "u".to_owned()]));
    bench.done_session("a", SessionOp::Subscribe(both));
    bench.pass(1);
    let begun = bench.begin("a", None);
    assert_eq!((begun.positions.len(), position(&begun, 0).is_some()), (8, true), "{begun:?}");
    bench.done_session("a", SessionOp::Subscribe(Subscribed::Pattern("u.*".to_owned())));
    bench.pass(1);
    let begun = bench.begin("a", None);
    assert_eq!(begun.positions.len(), 2);
    assert_eq!(bench.committed(0), Some(5));
    let wrong = SessionOp::Subscribe(Subscribed::Pattern("(".to_owned()));
    assert!(matches!(bench.session("a", wrong), Err(SessionError::Refused { .. })));
    bench.done_session("a", SessionOp::Unsubscribe);
    assert_eq!(bench.poll("a", &[]), [0; 0]);
    assert_eq!(bench.groups.counts().members, 0);
    bench.reload();
}

#[test]
fn new_partitions_and_topics_come_without_any_heartbeat() {
    let mut bench = Bench::new();
    bench.subscriber("a", AUTO);
    bench.topics.grow("t", 8);
    bench.topics_changed();
    bench.pass(1);
    assert_eq!(bench.poll("a", &[]).len(), 8);
}

#[test]
fn what_the_log_refuses_did_not_happen() {
    let mut bench = Bench::new();
    bench.full = true;
    let create = create("a", SessionOptions::default());
    assert!(matches!(bench.session("a", create), Err(SessionError::Refused { .. })));
    bench.full = false;
    assert_eq!(bench.session("a", SessionOp::Describe), Err(SessionError::Unknown));
    bench.subscriber("a", AUTO);
    bench.poll("a", &[(0, 0, 5)]);
    bench.poll("a", &[]);
    bench.full = true;
    bench.pass(400_000);
    bench.full = false;
    bench.pass(10_000);
    assert_eq!(bench.session("a", SessionOp::Describe), Err(SessionError::Unknown), "its lease is over");
    assert_eq!(bench.committed(0), Some(5));
    assert_eq!(bench.groups.counts().members, 0);
    bench.reload();
}

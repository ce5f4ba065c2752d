//! What a replica decides, rule by rule.

use domain::{LeaderEpoch, NodeEpoch, NodeId, Offset, PartitionEpoch};

use crate::{Adopted, FollowerFetch, LogEnd, PartitionState, Proposal, Replica, ReplicaRefusal};

const LAG_MAX_MS: u64 = 10_000;

fn state(leader: i32, leader_epoch: i32, epoch: i32, isr: &[i32], min_isr: u32) -> PartitionState {
    PartitionState {
        leader: (leader >= 0).then_some(NodeId(leader)),
        leader_epoch: LeaderEpoch(leader_epoch),
        epoch: PartitionEpoch(epoch),
        replicas: vec![NodeId(0), NodeId(1), NodeId(2)],
        isr: isr.iter().copied().map(NodeId).collect(),
        min_isr,
        recovering: false,
    }
}

fn at(end: i64) -> LogEnd {
    LogEnd::all(Offset(end))
}

/// Node 0, leading in epoch 5 with a log of 10 records of which 4 are known to be committed.
fn leader(isr: &[i32], min_isr: u32) -> Replica {
    let mut replica = Replica::new(NodeId(0), Offset(4));
    assert_eq!(replica.adopt(0, &state(0, 5, 1, isr, min_isr), at(10)), Adopted::Leads(LeaderEpoch(5)));
    replica
}

fn fetch(node: i32, offset: i64) -> FollowerFetch {
    FollowerFetch {
        node: NodeId(node),
        node_epoch: NodeEpoch(node.into()),
        leader_epoch: LeaderEpoch(5),
        offset: Offset(offset),
        start: Offset(0),
    }
}

/// Everybody is active, with the epoch that is its id.
fn registered(node: NodeId) -> Option<NodeEpoch> {
    Some(NodeEpoch(node.0.into()))
}

fn isr_of(proposal: &Proposal) -> Vec<i32> {
    proposal.isr.iter().map(|(node, _)| node.0).collect()
}

#[test]
fn the_high_watermark_is_the_smallest_end_in_the_isr() {
    let mut replica = leader(&[0, 1, 2], 2);
    assert!(!replica.fetched(1, fetch(1, 10)).unwrap().high_watermark_advanced, "node 2 was not heard of");
    assert!(replica.fetched(2, fetch(2, 7)).unwrap().high_watermark_advanced);
    assert_eq!(replica.high_watermark(), Offset(7));
    replica.fetched(3, fetch(2, 10)).unwrap();
    assert_eq!(replica.high_watermark(), Offset(10));
}

#[test]
fn the_high_watermark_never_goes_back() {
    let mut replica = leader(&[0, 1], 2);
    replica.fetched(1, fetch(1, 10)).unwrap();
    let restarted = FollowerFetch { node_epoch: NodeEpoch(9), ..fetch(1, 3) };
    replica.fetched(2, restarted).unwrap();
    assert_eq!(replica.high_watermark(), Offset(10));
}

#[test]
fn the_high_watermark_stands_still_below_the_minimum() {
    let mut replica = leader(&[0], 2);
    assert!(!replica.appended(1, at(11)));
    assert_eq!(replica.high_watermark(), Offset(4));
    let refused = replica.check_enough_in_sync();
    assert_eq!(refused, Err(ReplicaRefusal::NotEnoughReplicas { isr: 1, min: 2 }));
    let grown = replica.adopt(2, &state(0, 5, 2, &[0], 1), at(11));
    assert_eq!(grown, Adopted::LeadsOn { high_watermark_advanced: true });
    assert_eq!(replica.high_watermark(), Offset(11));
}

#[test]
fn ends_from_an_earlier_leader_epoch_count_for_nothing() {
    let mut replica = leader(&[0, 1], 2);
    replica.fetched(1, fetch(1, 10)).unwrap();
    assert_eq!(replica.adopt(2, &state(0, 6, 2, &[0, 1], 2), at(12)), Adopted::Leads(LeaderEpoch(6)));
    assert_eq!(replica.end_of(NodeId(1)), None);
    let stale = replica.fetched(3, fetch(1, 12));
    assert!(matches!(stale, Err(ReplicaRefusal::FencedEpoch { .. })), "{stale:?}");
    assert_eq!(replica.high_watermark(), Offset(10));
}

#[test]
fn a_follower_joins_at_the_high_watermark_and_the_epochs_start() {
    let mut replica = leader(&[0, 1], 2);
    assert!(!replica.fetched(1, fetch(2, 9)).unwrap().may_join, "the epoch starts at 10");
    assert_eq!(replica.propose(1, LAG_MAX_MS, registered), None);
    assert!(replica.fetched(2, fetch(2, 10)).unwrap().may_join);
    assert_eq!(isr_of(&replica.propose(2, LAG_MAX_MS, registered).unwrap()), [0, 1, 2]);
    assert_eq!(replica.propose(3, LAG_MAX_MS, registered), None, "one at a time");
    assert_eq!(isr_of(replica.outstanding().unwrap()), [0, 1, 2]);
}

#[test]
fn the_low_watermark_is_the_lowest_start_of_those_in_sync() {
    let mut replica = leader(&[0, 1], 2);
    assert_eq!(replica.low_watermark(Offset(7)), None, "nothing was heard of the follower");
    assert!(replica.fetched(1, FollowerFetch { start: Offset(3), ..fetch(1, 10) }).unwrap().start_moved);
    // Who is not in sync does not count.
    replica.fetched(1, fetch(2, 4)).unwrap();
    assert_eq!(replica.low_watermark(Offset(7)), Some(Offset(3)));
    assert!(!replica.fetched(2, FollowerFetch { start: Offset(3), ..fetch(1, 10) }).unwrap().start_moved);
    replica.fetched(3, FollowerFetch { start: Offset(9), ..fetch(1, 10) }).unwrap();
    assert_eq!(replica.low_watermark(Offset(7)), Some(Offset(7)));
    assert_eq!(leader(&[0], 1).low_watermark(Offset(7)), Some(Offset(7)));
}

#[test]
fn a_fenced_node_and_an_earlier_incarnation_do_not_join() {
    let mut replica = leader(&[0, 1], 2);
    replica.fetched(1, fetch(2, 10)).unwrap();
    let without_2 = |node| registered(node).filter(|_| node != NodeId(2));
    assert_eq!(replica.propose(2, LAG_MAX_MS, without_2), None, "KIP-841");
    let newer_2 = |node: NodeId| Some(NodeEpoch(if node == NodeId(2) { 77 } else { node.0.into() }));
    assert_eq!(replica.propose(3, LAG_MAX_MS, newer_2), None, "KIP-903");
}

#[test]
fn an_earlier_incarnation_s_fetch_is_refused() {
    let mut replica = leader(&[0, 1], 2);
    replica.fetched(1, FollowerFetch { node_epoch: NodeEpoch(9), ..fetch(1, 10) }).unwrap();
    let late = replica.fetched(2, fetch(1, 10));
    assert!(matches!(late, Err(ReplicaRefusal::StaleNode { .. })), "{late:?}");
}

#[test]
fn who_was_proposed_counts_until_the_partition_epoch_moves() {
    let mut replica = leader(&[0, 1], 2);
    replica.fetched(1, fetch(1, 10)).unwrap();
    replica.fetched(1, fetch(2, 10)).unwrap();
    replica.propose(2, LAG_MAX_MS, registered).unwrap();
    replica.appended(3, at(12));
    replica.fetched(3, fetch(1, 12)).unwrap();
    assert_eq!(replica.high_watermark(), Offset(10), "node 2 may be in the ISR by now");
    // Refused, but an earlier copy may still arrive at the controller.
    let instead = replica.refused(registered).unwrap();
    assert_eq!(isr_of(&instead), [0, 1]);
    assert!(!replica.appended(3, at(12)));
    assert_eq!(replica.maximal_isr(), [NodeId(0), NodeId(1), NodeId(2)]);
    let moved = replica.adopt(4, &state(0, 5, 2, &[0, 1], 2), at(12));
    assert_eq!(moved, Adopted::LeadsOn { high_watermark_advanced: true });
    assert_eq!(replica.high_watermark(), Offset(12));
}

#[test]
fn who_lags_is_proposed_out_and_counts_until_that_is_known() {
    let mut replica = leader(&[0, 1, 2], 2);
    replica.fetched(1, fetch(1, 10)).unwrap();
    replica.fetched(1, fetch(2, 10)).unwrap();
    replica.appended(1, at(20));
    replica.fetched(2, fetch(1, 20)).unwrap();
    assert_eq!(replica.propose(LAG_MAX_MS, LAG_MAX_MS, registered), None);
    let proposal = replica.propose(2 * LAG_MAX_MS, LAG_MAX_MS, registered).unwrap();
    assert_eq!(isr_of(&proposal), [0, 1]);
    assert_eq!(replica.high_watermark(), Offset(10));
    replica.adopt(3 * LAG_MAX_MS, &state(0, 5, 2, &[0, 1], 2), at(20));
    assert_eq!(replica.high_watermark(), Offset(20));
}

#[test]
fn who_has_everything_does_not_lag_however_long_it_is_silent() {
    let mut replica = leader(&[0, 1], 2);
    replica.fetched(1, fetch(1, 10)).unwrap();
    assert_eq!(replica.propose(100 * LAG_MAX_MS, LAG_MAX_MS, registered), None);
}

/// Its last fetch was long ago because there was nothing to fetch: the first record after that is not its lag.
#[test]
fn who_had_everything_begins_to_lag_with_the_next_record() {
    let mut replica = leader(&[0, 1], 2);
    replica.fetched(1, fetch(1, 10)).unwrap();
    replica.appended(50 * LAG_MAX_MS, at(11));
    assert_eq!(replica.propose(50 * LAG_MAX_MS + 5, LAG_MAX_MS, registered), None);
    assert_eq!(isr_of(&replica.propose(52 * LAG_MAX_MS, LAG_MAX_MS, registered).unwrap()), [0]);
}

#[test]
fn a_new_leader_shows_no_high_watermark_before_the_epochs_start() {
    let mut replica = leader(&[0, 1], 2);
    assert_eq!(replica.visible_high_watermark(), None);
    replica.fetched(1, fetch(1, 9)).unwrap();
    assert_eq!(replica.visible_high_watermark(), None);
    replica.fetched(2, fetch(1, 10)).unwrap();
    assert_eq!(replica.visible_high_watermark(), Some(Offset(10)));
}

#[test]
fn an_older_state_changes_nothing() {
    let mut replica = leader(&[0, 1], 2);
    assert_eq!(replica.adopt(1, &state(1, 4, 0, &[1], 1), at(10)), Adopted::Nothing);
    assert_eq!(replica.adopt(1, &state(1, 5, 1, &[1], 1), at(10)), Adopted::Nothing);
    assert_eq!(replica.leads(), Some(LeaderEpoch(5)));
}

#[test]
fn who_resigned_leads_again_only_in_a_new_epoch() {
    let mut replica = leader(&[0, 1], 2);
    replica.resign();
    assert_eq!(replica.adopt(1, &state(0, 5, 2, &[0], 1), at(10)), Adopted::Nothing);
    assert_eq!(replica.leads(), None);
    assert_eq!(replica.adopt(2, &state(0, 6, 3, &[0], 1), at(10)), Adopted::Leads(LeaderEpoch(6)));
}

#[test]
fn a_follower_takes_the_high_watermark_of_the_epoch_it_asked_in() {
    let mut replica = Replica::new(NodeId(1), Offset(0));
    let follows = replica.adopt(0, &state(0, 5, 1, &[0, 1], 2), at(8));
    assert_eq!(follows, Adopted::Follows { leader: NodeId(0), new: true });
    assert!(!replica.answered(LeaderEpoch(4), Offset(8), at(8)), "an answer from before");
    assert!(replica.answered(LeaderEpoch(5), Offset(9), at(8)));
    assert_eq!(replica.high_watermark(), Offset(8), "no further than its own log");
    assert!(!replica.truncated(Offset(8)));
    assert!(replica.truncated(Offset(5)), "that was committed");
    assert_eq!(replica.high_watermark(), Offset(5));
}

#[test]
fn a_recovering_leader_says_that_it_leads() {
    let mut replica = Replica::new(NodeId(0), Offset(0));
    let recovering = PartitionState { recovering: true, ..state(0, 5, 1, &[0], 1) };
    replica.adopt(0, &recovering, at(3));
    assert_eq!(isr_of(&replica.propose(0, LAG_MAX_MS, registered).unwrap()), [0]);
    replica.adopt(1, &state(0, 5, 2, &[0], 1), at(3));
    assert_eq!(replica.propose(1, LAG_MAX_MS, registered), None);
}

#[test]
fn a_consumer_is_sent_to_the_in_sync_follower_near_it() {
    let mut replica = leader(&[0, 1], 1);
    replica.fetched(1, fetch(1, 9)).unwrap();
    replica.fetched(1, fetch(2, 10)).unwrap();
    assert_eq!(replica.closest(Offset(9), |_| true), Some(NodeId(1)), "node 2 is not in sync");
    assert_eq!(replica.closest(Offset(10), |_| true), None);
    assert_eq!(replica.closest(Offset(9), |_| false), None);
}

/// Found by the simulation: a replica that had left fetched on in the new leader epoch, was added again and empty, and
/// came into the ISR by the fetch from before.
#[test]
fn who_holds_no_replica_any_more_follows_nobody() {
    let mut replica = Replica::new(NodeId(1), Offset(0));
    replica.adopt(0, &state(0, 5, 1, &[0, 1], 2), at(8));
    let left = PartitionState { replicas: vec![NodeId(0), NodeId(2)], ..state(0, 6, 2, &[0], 1) };
    assert_eq!(replica.adopt(1, &left, at(8)), Adopted::Leaderless);
    assert_eq!(replica.follows(), None);
    assert_eq!(replica.adopt(2, &state(0, 5, 1, &[0, 1], 2), at(8)), Adopted::Nothing, "told late");
}

/// A replica whose log was found damaged stopped fetching, and was taken in again for what it had fetched before.
#[test]
fn who_fetches_no_more_does_not_join_for_what_it_fetched_before() {
    let mut replica = leader(&[0, 1], 2);
    replica.fetched(1, fetch(2, 10)).unwrap();
    replica.left(NodeId(2));
    assert_eq!(replica.propose(2, LAG_MAX_MS, registered), None);
    replica.fetched(3, fetch(2, 10)).unwrap();
    assert_eq!(isr_of(&replica.propose(3, LAG_MAX_MS, registered).unwrap()), [0, 1, 2]);
}

/// Where a topic begins to flush, the leader's end that counts goes back to what is flushed; its followers were taken for
/// laggards, again and again.
#[test]
fn who_has_more_on_disk_than_the_leader_does_not_lag() {
    let mut replica = leader(&[0, 1], 2);
    replica.fetched(1, fetch(1, 10)).unwrap();
    replica.appended(2, LogEnd { end: Offset(10), counted: Offset(6) });
    assert_eq!(replica.propose(100 * LAG_MAX_MS, LAG_MAX_MS, registered), None);
}

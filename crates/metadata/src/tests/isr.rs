//! What leaders propose.

use domain::PartitionEpoch;

use super::*;
use crate::AlterRefusalKind as Kind;

#[test]
fn a_leader_shrinks_and_grows_its_isr() {
    let mut image = replicated(3, 2);
    let before = t0(&image).clone();
    let shrunk = propose(&mut image, &[0, 1]).unwrap();
    assert_eq!((shrunk.isr, shrunk.elr), (nodes(&[0, 1]), vec![]));
    assert_eq!((shrunk.epoch, shrunk.leader_epoch), (before.epoch.next(), before.leader_epoch));
    let alone = propose(&mut image, &[0]).unwrap();
    assert_eq!((alone.isr, alone.elr), (nodes(&[0]), nodes(&[1])), "nothing is committed without node 1");
    let grown = propose(&mut image, &[2, 0]).unwrap();
    assert_eq!((grown.isr, grown.elr), (nodes(&[0, 2]), vec![]), "in the order of assignment");
}

#[test]
fn an_unchanged_isr_still_moves_the_epoch() {
    let mut image = replicated(3, 2);
    let older = proposal(&image, &[0, 1]);
    let before = t0(&image).clone();
    let after = propose(&mut image, &[0, 1, 2]).unwrap();
    assert_eq!(after, Partition { epoch: before.epoch.next(), ..before });
    assert_eq!(alter(&mut image, 0, older), Err(Kind::StalePartitionEpoch));
}

#[test]
fn a_proposal_must_match_both_epochs_and_come_from_the_leader() {
    let mut image = replicated(3, 2);
    fence(&mut image, 0);
    unfence(&mut image, 0);
    let good = || proposal(&image, &[1, 2]);
    let (leader_epoch, partition_epoch) = (t0(&image).leader_epoch, t0(&image).epoch);
    let cases = [
        (1, IsrChange { partition: PartitionIndex(1), ..good() }, Kind::UnknownPartition),
        (1, IsrChange { topic: TopicId(Uuid::nil()), ..good() }, Kind::UnknownPartition),
        (0, IsrChange { leader_epoch: LeaderEpoch(0), ..good() }, Kind::FencedLeaderEpoch),
        (1, IsrChange { leader_epoch: leader_epoch.next(), ..good() }, Kind::UnknownLeaderEpoch),
        (2, good(), Kind::NotLeader),
        (1, IsrChange { partition_epoch: partition_epoch.next(), ..good() }, Kind::StalePartitionEpoch),
        (1, IsrChange { isr: vec![], ..good() }, Kind::InvalidIsr),
        (1, proposal(&image, &[2]), Kind::InvalidIsr),
        (1, proposal(&image, &[1, 2, 2]), Kind::InvalidIsr),
        (1, proposal(&image, &[1, 9]), Kind::InvalidIsr),
    ];
    for (sender, change, kind) in cases {
        assert_eq!(alter(&mut image, sender, change.clone()), Err(kind), "{change:?}");
    }
    let stale = Command::AlterPartitions { node: NodeId(1), node_epoch: NodeEpoch(0), changes: vec![] };
    assert_eq!(refused(&mut image, stale), RefusalKind::StaleNodeEpoch);
    let unknown = Command::AlterPartitions { node: NodeId(9), node_epoch: NodeEpoch(0), changes: vec![] };
    assert_eq!(refused(&mut image, unknown), RefusalKind::UnknownNode);
}

#[test]
fn epochs_are_compared_before_members_are_judged() {
    let mut image = replicated(3, 2);
    fence(&mut image, 2);
    let stale = IsrChange { partition_epoch: PartitionEpoch(1), ..proposal(&image, &[0, 1, 2]) };
    assert_eq!(alter(&mut image, 0, stale), Err(Kind::StalePartitionEpoch));
}

#[test]
fn a_fenced_or_stopping_node_is_not_taken_in() {
    let mut image = replicated(3, 1);
    fence(&mut image, 1);
    assert_eq!(propose(&mut image, &[0, 1, 2]), Err(Kind::Ineligible));
    stop(&mut image, 2);
    assert_eq!(propose(&mut image, &[0, 2]), Err(Kind::Ineligible));
    unfence(&mut image, 1);
    assert!(propose(&mut image, &[0, 1]).is_ok());
}

#[test]
fn another_incarnation_than_the_one_that_caught_up_is_not_taken_in() {
    let mut image = replicated(3, 1);
    propose(&mut image, &[0, 1]).unwrap();
    // Node 2 caught up, then lost its disk and came back before the proposal arrived.
    let caught_up = (NodeId(2), epoch_of(&image, 2));
    fence(&mut image, 2);
    wipe(&mut image, 2);
    unfence(&mut image, 2);
    let mut change = proposal(&image, &[0, 1]);
    change.isr.push(caught_up);
    assert_eq!(alter(&mut image, 0, change), Err(Kind::Ineligible));
}

#[test]
fn a_stopping_leader_that_is_alone_may_still_take_somebody_in_and_then_yields() {
    let mut image = replicated(2, 1);
    propose(&mut image, &[0]).unwrap();
    stop(&mut image, 0);
    let after = propose(&mut image, &[0, 1]).unwrap();
    assert_eq!((after.leader, after.isr), (Some(NodeId(1)), nodes(&[1])));
}

#[test]
fn proposals_are_taken_or_refused_one_by_one_and_in_order() {
    let mut image = replicated(3, 1);
    done(
        &mut image,
        Command::AddPartitions { topic: name("t"), count: 2, assignments: vec![nodes(&[0, 1, 2])] },
    );
    let first = proposal(&image, &[0]);
    let second = IsrChange { partition: PartitionIndex(1), ..first.clone() };
    let changes = vec![first.clone(), second, first];
    let command = Command::AlterPartitions { node: NodeId(0), node_epoch: NodeEpoch(0), changes };
    let Applied::Altered(results) = done(&mut image, command) else { panic!() };
    let kinds: Vec<_> = results.into_iter().map(|r| r.map(|p| p.epoch).map_err(|e| e.kind)).collect();
    assert_eq!(kinds, [Ok(PartitionEpoch(2)), Ok(PartitionEpoch(2)), Err(Kind::StalePartitionEpoch)]);
}

#[test]
fn a_raised_minimum_overtakes_no_shrink() {
    let mut image = replicated(3, 1);
    // The leader shrinks to itself under a minimum of 1; the minimum rises before the proposal arrives.
    let shrink = proposal(&image, &[0]);
    configure(&mut image, Some("t"), "min.insync.replicas", "2");
    assert_eq!(alter(&mut image, 0, shrink), Err(Kind::StalePartitionEpoch));
    // The other way round: what was committed by one replica alone makes nobody else eligible.
    let mut image = replicated(3, 1);
    propose(&mut image, &[0]).unwrap();
    configure(&mut image, Some("t"), "min.insync.replicas", "2");
    assert_eq!((state(&image), t0(&image).min_isr), ((0, vec![0], vec![]), 2));
}

#[test]
fn a_lowered_minimum_ends_eligibility_in_the_same_command() {
    let mut image = replicated(3, 2);
    propose(&mut image, &[0]).unwrap();
    assert_eq!(state(&image), (0, vec![0], vec![1, 2]));
    let before = t0(&image).epoch;
    configure(&mut image, Some("t"), "min.insync.replicas", "1");
    assert_eq!(state(&image), (0, vec![0], vec![]));
    assert_eq!(t0(&image).epoch, before.next());
}

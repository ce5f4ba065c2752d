//! Who leads when the leader is gone.

use super::*;

#[test]
fn the_first_active_member_of_the_isr_leads() {
    let mut image = replicated(3, 1);
    propose(&mut image, &[0, 2]).unwrap();
    fence(&mut image, 0);
    assert_eq!(state(&image), (2, vec![2], vec![]));
}

#[test]
fn a_member_that_leaves_below_the_minimum_stays_eligible() {
    let mut image = replicated(3, 2);
    fence(&mut image, 2);
    assert_eq!(state(&image), (0, vec![0, 1], vec![]), "what is committed from here on, node 2 lacks");
    fence(&mut image, 1);
    assert_eq!(state(&image), (0, vec![0], vec![1]));
    fence(&mut image, 0);
    assert_eq!(state(&image), (-1, vec![], vec![0, 1]));
    unfence(&mut image, 2);
    assert_eq!(state(&image), (-1, vec![], vec![0, 1]));
    unfence(&mut image, 1);
    assert_eq!(state(&image), (1, vec![1], vec![0]));
    assert!(!t0(&image).recovering, "nothing is lost");
}

#[test]
fn eligible_replicas_are_forgotten_once_the_isr_is_large_enough() {
    let mut image = replicated(3, 2);
    propose(&mut image, &[0]).unwrap();
    assert_eq!(propose(&mut image, &[0, 2]).unwrap().elr, []);
}

#[test]
fn every_change_of_the_leader_begins_an_epoch_and_nothing_else_does() {
    let mut image = replicated(3, 2);
    let epochs = |image: &Image| (t0(image).leader_epoch.0, t0(image).epoch.0);
    assert_eq!(epochs(&image), (0, 1));
    fence(&mut image, 2);
    assert_eq!(epochs(&image), (0, 2));
    fence(&mut image, 0);
    assert_eq!(epochs(&image), (1, 3));
    fence(&mut image, 1);
    assert_eq!(epochs(&image), (2, 4), "to nobody");
    unfence(&mut image, 0);
    assert_eq!(epochs(&image), (3, 5));
}

#[test]
fn unclean_election_needs_the_setting() {
    let mut image = replicated(2, 1);
    propose(&mut image, &[0]).unwrap();
    fence(&mut image, 0);
    assert_eq!(state(&image), (-1, vec![], vec![0]));
    configure(&mut image, Some("t"), "unclean.leader.election.enable", "true");
    assert_eq!(state(&image), (1, vec![1], vec![]));
    assert!(t0(&image).recovering);
    // Node 0 comes back with what was thrown away, and is not believed.
    restart(&mut image, 0);
    unfence(&mut image, 0);
    assert_eq!(state(&image), (1, vec![1], vec![]));
    assert!(!propose(&mut image, &[0, 1]).unwrap().recovering, "the first accepted ISR ends it");
}

#[test]
fn with_unclean_election_allowed_a_partition_is_led_as_soon_as_any_replica_is_active() {
    let mut image = replicated(2, 1);
    configure(&mut image, None, "unclean.leader.election.enable", "true");
    propose(&mut image, &[0]).unwrap();
    fence(&mut image, 1);
    fence(&mut image, 0);
    unfence(&mut image, 1);
    assert_eq!((state(&image).0, t0(&image).recovering), (1, true));
}

#[test]
fn an_operator_elects_any_active_replica_where_nobody_leads() {
    let mut image = replicated(2, 1);
    let unclean = ElectionKind::Unclean;
    assert_eq!(elect(&mut image, unclean), Err(ElectRefusalKind::ElectionNotNeeded));
    propose(&mut image, &[0]).unwrap();
    fence(&mut image, 1);
    fence(&mut image, 0);
    assert_eq!(elect(&mut image, unclean), Err(ElectRefusalKind::EligibleLeadersNotAvailable));
    unfence(&mut image, 1);
    assert_eq!(elect(&mut image, unclean), Ok(()));
    assert_eq!((state(&image), t0(&image).recovering), ((1, vec![1], vec![]), true));
    let partitions = vec![(name("no"), PartitionIndex(0)), (name("t"), PartitionIndex(5))];
    let Applied::Elected(results) = done(&mut image, Command::ElectLeaders { kind: unclean, partitions })
    else {
        panic!()
    };
    assert!(results.iter().all(|r| r.as_ref().is_err_and(|e| e.kind == ElectRefusalKind::UnknownPartition)));
}

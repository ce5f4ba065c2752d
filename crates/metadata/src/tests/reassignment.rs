//! Partitions move to other nodes (KIP-455).

use super::*;

/// Five active nodes; t-0 on 0, 1 and 2, led by 0.
fn five() -> Image {
    let mut image = cluster(5);
    let spec = TopicSpec {
        partitions: None,
        replication_factor: None,
        assignments: vec![nodes(&[0, 1, 2])],
        configs: ConfigOverrides::from([("min.insync.replicas".to_owned(), "2".to_owned())]),
        ..topic(7, "t", 1)
    };
    done(&mut image, Command::CreateTopic(spec));
    image
}

fn moving(image: &Image) -> (Vec<NodeId>, Vec<NodeId>, Vec<NodeId>) {
    let partition = t0(image);
    (partition.replicas.clone(), partition.adding.clone(), partition.removing.clone())
}

#[test]
fn replicas_are_added_caught_up_and_only_then_are_the_others_dropped() {
    let mut image = five();
    assert_eq!(reassign(&mut image, Some(&[3, 4, 0])), Ok(()));
    assert_eq!(moving(&image), (nodes(&[3, 4, 0, 1, 2]), nodes(&[3, 4]), nodes(&[1, 2])));
    assert_eq!(state(&image), (0, vec![0, 1, 2], vec![]));
    propose(&mut image, &[0, 1, 2, 3]).unwrap();
    let before = t0(&image).clone();
    assert!(before.is_reassigning());
    let after = propose(&mut image, &[0, 1, 2, 3, 4]).unwrap();
    assert_eq!(moving(&image), (nodes(&[3, 4, 0]), vec![], vec![]));
    assert_eq!((after.leader, after.isr), (Some(NodeId(0)), nodes(&[3, 4, 0])));
    assert_eq!(after.leader_epoch, before.leader_epoch.next(), "who left must be fenced out");
    assert_eq!(after.epoch, before.epoch.next());
}

#[test]
fn a_leader_that_leaves_is_replaced_when_the_move_is_complete() {
    let mut image = five();
    reassign(&mut image, Some(&[3, 4])).unwrap();
    propose(&mut image, &[0, 1, 2, 3, 4]).unwrap();
    assert_eq!((moving(&image).0, state(&image)), (nodes(&[3, 4]), (3, vec![3, 4], vec![])));
}

#[test]
fn a_move_with_nothing_to_add_is_complete_at_once() {
    let mut image = five();
    let before = t0(&image).leader_epoch;
    reassign(&mut image, Some(&[1, 0])).unwrap();
    assert_eq!((moving(&image).0, state(&image)), (nodes(&[1, 0]), (0, vec![1, 0], vec![])));
    assert_eq!(t0(&image).leader_epoch, before.next());
    let before = t0(&image).clone();
    reassign(&mut image, Some(&[0, 1])).unwrap();
    assert_eq!(t0(&image).leader_epoch, before.leader_epoch, "another order moves nobody");
    let before = image.clone();
    reassign(&mut image, Some(&[0, 1])).unwrap();
    assert_eq!(image, before);
}

#[test]
fn a_move_does_not_leave_fewer_in_sync_than_the_minimum() {
    let mut image = five();
    propose(&mut image, &[0, 2]).unwrap();
    reassign(&mut image, Some(&[0, 1])).unwrap();
    assert_eq!(moving(&image), (nodes(&[0, 1, 2]), vec![], nodes(&[2])));
    propose(&mut image, &[0, 1, 2]).unwrap();
    assert_eq!((moving(&image).0, state(&image)), (nodes(&[0, 1]), (0, vec![0, 1], vec![])));
}

#[test]
fn another_move_takes_the_place_of_the_one_under_way() {
    let mut image = five();
    reassign(&mut image, Some(&[3, 1, 2])).unwrap();
    propose(&mut image, &[0, 1, 2]).unwrap();
    reassign(&mut image, Some(&[4, 1, 2])).unwrap();
    assert_eq!(moving(&image), (nodes(&[4, 1, 2, 0]), nodes(&[4]), nodes(&[0])));
}

#[test]
fn a_cancelled_move_leaves_the_replicas_as_they_were() {
    let mut image = five();
    assert_eq!(reassign(&mut image, None), Err(RefusalKind::NoReassignmentInProgress));
    reassign(&mut image, Some(&[3, 4])).unwrap();
    propose(&mut image, &[0, 1, 3]).unwrap();
    fence(&mut image, 0);
    assert_eq!(state(&image), (3, vec![3, 1], vec![]));
    reassign(&mut image, None).unwrap();
    assert_eq!(moving(&image), (nodes(&[0, 1, 2]), vec![], vec![]));
    assert_eq!(state(&image), (1, vec![1], vec![]));
}

#[test]
fn replicas_that_leave_by_cancelling_are_fenced_out_too() {
    let mut image = five();
    reassign(&mut image, Some(&[0, 1, 3])).unwrap();
    let before = t0(&image).clone();
    reassign(&mut image, None).unwrap();
    assert_eq!((t0(&image).leader, t0(&image).leader_epoch), (before.leader, before.leader_epoch.next()));
}

#[test]
fn replicas_that_leave_because_another_move_takes_over_are_fenced_out_too() {
    let mut image = five();
    reassign(&mut image, Some(&[0, 1, 3])).unwrap();
    let before = t0(&image).clone();
    reassign(&mut image, Some(&[0, 1, 4])).unwrap();
    assert_eq!(moving(&image), (nodes(&[0, 1, 4, 2]), nodes(&[4]), nodes(&[2])));
    assert_eq!((t0(&image).leader, t0(&image).leader_epoch), (before.leader, before.leader_epoch.next()));
}

#[test]
fn the_only_replicas_in_sync_are_not_dropped_by_cancelling() {
    let mut image = five();
    configure(&mut image, Some("t"), "min.insync.replicas", "1");
    reassign(&mut image, Some(&[3, 4])).unwrap();
    propose(&mut image, &[0, 3]).unwrap();
    fence(&mut image, 0);
    assert_eq!(state(&image), (3, vec![3], vec![]));
    let before = image.clone();
    assert_eq!(reassign(&mut image, None), Err(RefusalKind::InvalidReplicaAssignment));
    assert_eq!(reassign(&mut image, Some(&[0, 1])), Err(RefusalKind::InvalidReplicaAssignment));
    assert_eq!(image, before);
}

#[test]
fn a_growing_factor_raises_the_minimum_only_when_the_move_is_complete() {
    let mut image = replicated(3, 2);
    reassign(&mut image, Some(&[0])).unwrap();
    assert_eq!(t0(&image).min_isr, 1);
    reassign(&mut image, Some(&[0, 1, 2])).unwrap();
    assert_eq!((t0(&image).min_isr, state(&image)), (1, (0, vec![0], vec![])), "writes go on meanwhile");
    propose(&mut image, &[0, 1]).unwrap();
    assert_eq!(t0(&image).min_isr, 1);
    propose(&mut image, &[0, 1, 2]).unwrap();
    assert_eq!((t0(&image).min_isr, t0(&image).is_reassigning()), (2, false));
}

#[test]
fn impossible_targets_are_refused() {
    let mut image = five();
    for target in [&[][..], &[0, 0], &[0, 9]] {
        assert_eq!(reassign(&mut image, Some(target)), Err(RefusalKind::InvalidReplicaAssignment));
    }
    let changes = vec![(name("no"), PartitionIndex(0), None), (name("t"), PartitionIndex(1), None)];
    let Applied::Reassigned(results) = done(&mut image, Command::Reassign { changes }) else { panic!() };
    let kinds: Vec<_> = results.into_iter().map(|r| r.unwrap_err().kind).collect();
    assert_eq!(kinds, [RefusalKind::UnknownTopic, RefusalKind::UnknownPartition]);
}

#[test]
fn a_fenced_node_can_be_a_target() {
    let mut image = five();
    fence(&mut image, 4);
    reassign(&mut image, Some(&[0, 1, 4])).unwrap();
    assert!(t0(&image).is_reassigning());
}

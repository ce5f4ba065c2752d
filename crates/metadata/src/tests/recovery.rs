//! When ISR and ELR are empty (INVARIANTS R13).

use super::*;

#[test]
fn a_power_cut_of_everything_elects_the_longest_log_once_all_are_back() {
    let mut image = replicated(3, 3);
    (0..3).for_each(|n| fence(&mut image, n));
    assert_eq!(state(&image), (-1, vec![], vec![0, 1, 2]));
    for node in 0..3 {
        assert!(last_known(&image).is_empty(), "node {node} may still prove its disk");
        power_cut(&mut image, node);
        unfence(&mut image, node);
    }
    assert_eq!(last_known(&image), [0, 1, 2]);
    let before = t0(&image).leader_epoch;
    report(&mut image, 0, 4, 100);
    report(&mut image, 1, 5, 90);
    assert_eq!(state(&image), (-1, vec![], vec![]));
    report(&mut image, 2, 5, 95);
    assert_eq!(state(&image), (2, vec![2], vec![]));
    assert_eq!((t0(&image).recovering, t0(&image).leader_epoch), (true, before.next()));
    assert_eq!((last_known(&image), t0(&image).unproven.len()), (vec![], 0));
}

#[test]
fn equal_logs_are_decided_by_the_order_of_assignment() {
    let mut image = replicated(2, 2);
    (0..2).for_each(|n| power_cut(&mut image, n));
    (0..2).for_each(|n| unfence(&mut image, n));
    (0..2).rev().for_each(|n| report(&mut image, n, 0, 10));
    assert_eq!(state(&image).0, 0);
}

#[test]
fn a_single_replica_leads_again_after_a_power_cut() {
    let mut image = replicated(1, 1);
    power_cut(&mut image, 0);
    report(&mut image, 0, 0, 10);
    assert_eq!(state(&image).0, -1, "it has not caught up with the metadata yet");
    unfence(&mut image, 0);
    assert_eq!((state(&image), t0(&image).recovering), ((0, vec![0], vec![]), true));
}

#[test]
fn an_empty_disk_is_never_elected() {
    let mut image = replicated(1, 1);
    fence(&mut image, 0);
    wipe(&mut image, 0);
    unfence(&mut image, 0);
    report(&mut image, 0, -1, 0);
    assert_eq!((state(&image).0, last_known(&image)), (-1, vec![0]));
    // The old disk is put back.
    fence(&mut image, 0);
    let old = registration(0, 100);
    assert_eq!(register(&mut image, old), Standing::OtherDirectory);
    unfence(&mut image, 0);
    report(&mut image, 0, 3, 50);
    assert_eq!(state(&image), (0, vec![0], vec![]));
}

#[test]
fn an_isr_member_with_an_empty_disk_is_out_before_it_is_heard_of() {
    let mut image = replicated(3, 2);
    fence(&mut image, 1);
    fence(&mut image, 2);
    fence(&mut image, 0);
    assert_eq!(state(&image), (-1, vec![], vec![0, 2]));
    wipe(&mut image, 2);
    unfence(&mut image, 2);
    assert_eq!(state(&image), (-1, vec![], vec![0]), "node 0 has everything, so it is waited for");
    restart(&mut image, 0);
    unfence(&mut image, 0);
    assert_eq!((state(&image), t0(&image).recovering), ((0, vec![0], vec![]), false));
}

#[test]
fn a_report_of_an_earlier_incarnation_does_not_count() {
    let mut image = replicated(2, 2);
    (0..2).for_each(|n| power_cut(&mut image, n));
    unfence(&mut image, 0);
    report(&mut image, 0, 0, 10);
    power_cut(&mut image, 0);
    unfence(&mut image, 0);
    unfence(&mut image, 1);
    report(&mut image, 1, 0, 5);
    assert_eq!(state(&image).0, -1);
    report(&mut image, 0, 0, 8);
    assert_eq!(state(&image).0, 0);
    let late = Command::ReportReplicas { node: NodeId(0), epoch: NodeEpoch(0), ends: vec![] };
    assert_eq!(refused(&mut image, late), RefusalKind::StaleNodeEpoch);
}

/// Sim seed 8055883: it was on its way since the time before, and the log has grown meanwhile.
#[test]
fn a_report_from_before_somebody_led_does_not_count() {
    let mut image = replicated(2, 2);
    (0..2).for_each(|n| power_cut(&mut image, n));
    (0..2).for_each(|n| unfence(&mut image, n));
    report(&mut image, 1, 0, 5);
    let (topic, partition, leader_epoch) = (image.topics["t"].id, PartitionIndex(0), t0(&image).leader_epoch);
    let (log_start, log_end, epochs) = (Offset(0), Offset(90), vec![(LeaderEpoch(0), Offset(0))]);
    let late = ReplicaReport {
        topic,
        partition,
        leader_epoch: LeaderEpoch(leader_epoch.0 - 1),
        log_start,
        log_end,
        epochs,
    };
    let epoch = epoch_of(&image, 0);
    done(&mut image, Command::ReportReplicas { node: NodeId(0), epoch, ends: vec![late] });
    assert_eq!(state(&image).0, -1);
    report(&mut image, 0, 0, 4);
    assert_eq!(state(&image).0, 1);
}

/// A node that could not go on for want of room said so, and was heard of only when nobody led any more.
#[test]
fn that_a_replica_leaves_does_not_count_for_its_log_later() {
    let mut image = replicated(2, 2);
    (0..2).for_each(|n| power_cut(&mut image, n));
    (0..2).for_each(|n| unfence(&mut image, n));
    let (topic, partition, leader_epoch) = (image.topics["t"].id, PartitionIndex(0), LeaderEpoch(0));
    let (log_start, log_end, epochs) = (Offset(0), Offset(-1), Vec::new());
    let late = ReplicaReport { topic, partition, leader_epoch, log_start, log_end, epochs };
    let epoch = epoch_of(&image, 0);
    done(&mut image, Command::ReportReplicas { node: NodeId(0), epoch, ends: vec![late] });
    report(&mut image, 1, 0, 5);
    assert_eq!(state(&image).0, -1);
    report(&mut image, 0, 0, 9);
    assert_eq!(state(&image).0, 0);
}

#[test]
fn a_fenced_members_report_does_not_count() {
    let mut image = replicated(2, 2);
    (0..2).for_each(|n| power_cut(&mut image, n));
    (0..2).for_each(|n| unfence(&mut image, n));
    report(&mut image, 0, 0, 10);
    fence(&mut image, 0);
    report(&mut image, 1, 0, 5);
    assert_eq!(state(&image).0, -1);
    unfence(&mut image, 0);
    assert_eq!(state(&image).0, 0);
}

#[test]
fn an_operator_waives_those_who_do_not_come_back() {
    let mut image = replicated(3, 3);
    (0..3).for_each(|n| power_cut(&mut image, n));
    (1..3).for_each(|n| unfence(&mut image, n));
    report(&mut image, 1, 0, 10);
    report(&mut image, 2, 0, 20);
    assert_eq!(state(&image).0, -1);
    assert_eq!(elect(&mut image, ElectionKind::Unclean), Ok(()));
    assert_eq!(
        (state(&image), t0(&image).recovering),
        ((2, vec![2], vec![]), true),
        "the longest that is there"
    );
}

#[test]
fn an_unclean_election_prefers_a_disk_that_was_in_sync() {
    let mut image = replicated(3, 2);
    configure(&mut image, Some("t"), "unclean.leader.election.enable", "true");
    (0..3).for_each(|n| fence(&mut image, n));
    assert_eq!(state(&image), (-1, vec![], vec![1, 2]));
    wipe(&mut image, 1);
    power_cut(&mut image, 2);
    assert_eq!(last_known(&image), [2]);
    // Both are active in the same command: the setting is turned on again while nobody leads.
    configure(&mut image, Some("t"), "unclean.leader.election.enable", "false");
    unfence(&mut image, 1);
    unfence(&mut image, 2);
    configure(&mut image, Some("t"), "unclean.leader.election.enable", "true");
    assert_eq!(state(&image).0, 2);
}

#[test]
fn a_replaced_disk_is_not_waited_for_while_others_have_the_data() {
    let mut image = replicated(2, 2);
    // Node 1 lost its power, and then its disk, while node 0 went on.
    power_cut(&mut image, 1);
    assert_eq!(t0(&image).unproven, [(NodeId(1), directory_id(101))]);
    wipe(&mut image, 1);
    assert_eq!(t0(&image).unproven, []);
    power_cut(&mut image, 0);
    assert_eq!(last_known(&image), [0]);
    unfence(&mut image, 0);
    report(&mut image, 0, 0, 10);
    assert_eq!(state(&image), (0, vec![0], vec![]));
}

#[test]
fn who_is_back_in_sync_is_not_among_the_last_known() {
    let mut image = replicated(3, 3);
    power_cut(&mut image, 1);
    unfence(&mut image, 1);
    power_cut(&mut image, 2);
    assert_eq!(t0(&image).unproven.len(), 2);
    propose(&mut image, &[0, 1]).unwrap();
    assert_eq!(t0(&image).unproven, [(NodeId(2), directory_id(102))]);
    power_cut(&mut image, 0);
    assert_eq!(state(&image), (1, vec![1], vec![]));
    power_cut(&mut image, 1);
    assert_eq!(last_known(&image), [2, 0, 1]);
}

/// Their machines lost their power at the same moment; that they are back is all that is ever heard of them.
#[test]
fn a_power_cut_of_nodes_and_controllers_elects_the_longest_log_whoever_came_last() {
    for min_isr in 1..=2 {
        let mut image = replicated(3, min_isr);
        (0..3).for_each(|n| power_cut(&mut image, n));
        (0..3).for_each(|n| unfence(&mut image, n));
        report(&mut image, 2, -1, 0);
        report(&mut image, 1, 0, 10);
        assert_eq!(state(&image), (-1, vec![], vec![]), "node 0 may have more");
        report(&mut image, 0, 0, 100);
        assert_eq!(state(&image), (0, vec![0], vec![]), "min ISR {min_isr}");
    }
}

#[test]
fn nodes_that_fall_silent_together_are_all_waited_for() {
    let mut image = replicated(3, 1);
    let nodes =
        (0..3).map(|n| (NodeId(n), epoch_of(&image, n))).chain([(NodeId(1), NodeEpoch(-7))]).collect();
    done(&mut image, Command::FenceNodes { nodes });
    assert_eq!(
        state(&image),
        (-1, vec![], vec![0, 1, 2]),
        "whoever was fenced last is no better than the others"
    );
    power_cut(&mut image, 2);
    unfence(&mut image, 2);
    report(&mut image, 2, 0, 0);
    assert_eq!(state(&image).0, -1);
}

/// Sim seed 6720660: what was asked was the disk that its node had had before, so that what it had now did not count.
#[test]
fn a_replica_is_asked_on_the_disk_that_it_has_now() {
    let mut image = replicated(2, 1);
    fence(&mut image, 0);
    power_cut(&mut image, 1);
    assert_eq!(last_known(&image), [1]);
    wipe(&mut image, 0);
    unfence(&mut image, 0);
    report(&mut image, 0, 0, 9);
    unfence(&mut image, 1);
    report(&mut image, 1, 0, 5);
    assert_eq!(state(&image).0, 0);
}

/// An operator who waives the rest waives no records for it that are there.
#[test]
fn an_empty_log_that_was_reported_is_not_preferred_to_one_that_was_not() {
    let mut image = replicated(2, 1);
    fence(&mut image, 0);
    power_cut(&mut image, 1);
    wipe(&mut image, 0);
    unfence(&mut image, 0);
    report(&mut image, 0, -1, 0);
    unfence(&mut image, 1);
    assert_eq!(state(&image).0, -1);
    assert_eq!(elect(&mut image, ElectionKind::Unclean), Ok(()));
    assert_eq!(state(&image).0, 1);
}

/// With one in sync nobody waits for who left before; but if it is there, it is asked.
#[test]
fn a_replica_that_was_out_of_the_isr_leads_if_it_has_more_than_the_last_member() {
    let mut image = replicated(3, 1);
    (0..3).for_each(|n| fence(&mut image, n));
    assert_eq!(state(&image), (-1, vec![], vec![2]));
    restart(&mut image, 0);
    unfence(&mut image, 0);
    power_cut(&mut image, 2);
    let waits_for = |image: &Image| t0(image).still_waits_for().map(|n| n.0).collect::<Vec<_>>();
    assert_eq!((last_known(&image), waits_for(&image)), (vec![2], vec![2]), "node 1 is not there");
    unfence(&mut image, 2);
    report(&mut image, 2, 0, 40);
    assert_eq!((state(&image).0, waits_for(&image)), (-1, vec![]));
    report(&mut image, 0, 0, 100);
    assert_eq!(state(&image), (0, vec![0], vec![]));
}

/// Sim seed 8176027.
#[test]
fn a_replica_that_comes_while_nobody_leads_is_asked_and_one_that_goes_is_not() {
    let mut image = replicated(3, 1);
    done(&mut image, Command::RegisterNode(registration(3, 103)));
    (0..3).for_each(|n| fence(&mut image, n));
    power_cut(&mut image, 2);
    let asked = |image: &Image| t0(image).last_known.iter().map(|k| k.node.0).collect::<Vec<_>>();
    assert_eq!(asked(&image), [2, 0, 1]);
    let replicas = [0, 2, 3].map(NodeId).to_vec();
    let changes = vec![(name("t"), PartitionIndex(0), Some(replicas))];
    done(&mut image, Command::Reassign { changes });
    assert_eq!(asked(&image), [2, 0, 1, 3], "node 1 is still a replica");
    let changes = vec![(name("t"), PartitionIndex(0), None)];
    done(&mut image, Command::Reassign { changes });
    assert_eq!(asked(&image), [2, 0, 1]);
}

/// Sim seed 8026937: node 0 led with records that were never committed, while the others went on without it in an epoch of
/// which they have no record yet.
#[test]
fn a_replica_that_was_left_behind_with_records_of_its_own_does_not_lead() {
    let mut image = replicated(3, 1);
    (0..3).for_each(|n| fence(&mut image, n));
    restart(&mut image, 0);
    unfence(&mut image, 0);
    power_cut(&mut image, 2);
    unfence(&mut image, 2);
    report_epochs(&mut image, 0, &[(0, 0), (1, 4)], 7);
    report_epochs(&mut image, 2, &[(0, 0)], 8);
    assert_eq!(state(&image), (2, vec![2], vec![]));
}

/// Sim seed 8002036: retention had removed what the last member's shortened log still has.
#[test]
fn a_log_that_begins_behind_the_last_members_end_leads() {
    let mut image = replicated(3, 1);
    (0..3).for_each(|n| fence(&mut image, n));
    restart(&mut image, 0);
    unfence(&mut image, 0);
    power_cut(&mut image, 2);
    unfence(&mut image, 2);
    report_from(&mut image, 0, 19, &[(1, 19)], 27);
    report_epochs(&mut image, 2, &[(0, 0)], 10);
    assert_eq!(state(&image), (0, vec![0], vec![]));
}

/// Sim seed 5426254: an old copy was put in the place of the last member's folder; what it has was removed long ago in one log
/// and written anew in the other.
#[test]
fn the_best_of_those_that_have_everything_leads_though_it_cannot_be_compared_with_the_last_member() {
    let mut image = replicated(3, 1);
    (0..3).for_each(|n| fence(&mut image, n));
    for node in 0..2 {
        restart(&mut image, node);
        unfence(&mut image, node);
    }
    power_cut(&mut image, 2);
    unfence(&mut image, 2);
    report_from(&mut image, 0, 41, &[(3, 40)], 51);
    report_epochs(&mut image, 1, &[(1, 0), (2, 9), (3, 21)], 62);
    report_epochs(&mut image, 2, &[(0, 0)], 1);
    assert_eq!(state(&image), (1, vec![1], vec![]));
}

#[test]
fn a_damaged_log_is_not_waited_for_when_another_is_there() {
    let mut image = replicated(3, 2);
    (0..3).for_each(|n| fence(&mut image, n));
    (1..3).for_each(|n| power_cut(&mut image, n));
    (1..3).for_each(|n| unfence(&mut image, n));
    report(&mut image, 1, 0, 100);
    report(&mut image, 2, -1, -1);
    assert_eq!((state(&image), t0(&image).recovering), ((1, vec![1], vec![]), true));
}

#[test]
fn an_empty_log_does_not_take_a_damaged_ones_place() {
    let mut image = replicated(2, 1);
    (0..2).for_each(|n| fence(&mut image, n));
    (0..2).for_each(|n| power_cut(&mut image, n));
    (0..2).for_each(|n| unfence(&mut image, n));
    report(&mut image, 0, -1, 0);
    report(&mut image, 1, -1, -1);
    assert_eq!(state(&image), (-1, vec![], vec![]), "that is an operator's to decide");
    elect(&mut image, ElectionKind::Unclean).unwrap();
    assert_eq!(state(&image).0, 0);
}

#[test]
fn a_damaged_replica_leaves_the_isr_and_another_leads_while_its_node_goes_on() {
    let mut image = replicated(3, 2);
    assert_eq!(state(&image), (0, vec![0, 1, 2], vec![]));
    report(&mut image, 0, -1, -1);
    assert_eq!(state(&image), (1, vec![1, 2], vec![]));
    report(&mut image, 1, -1, -1);
    assert_eq!(state(&image), (2, vec![2], vec![]), "not eligible either");
    report(&mut image, 2, -1, -1);
    assert_eq!(state(&image), (-1, vec![], vec![]), "nobody has what was committed");
    elect(&mut image, ElectionKind::Unclean).unwrap();
    assert_eq!((state(&image).0 >= 0, t0(&image).recovering), (true, true));
}

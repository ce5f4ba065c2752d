//! Registration, fencing, controlled shutdown.

use super::*;

#[test]
fn a_fenced_nodes_partitions_have_no_leader_until_it_comes_back() {
    let mut image = replicated(1, 1);
    fence(&mut image, 0);
    assert_eq!(state(&image), (-1, vec![], vec![0]), "only this node has the data");
    assert_eq!(t0(&image).leader_epoch, LeaderEpoch(1));
    restart(&mut image, 0);
    assert_eq!(state(&image), (-1, vec![], vec![0]));
    unfence(&mut image, 0);
    assert_eq!(state(&image), (0, vec![0], vec![]));
    assert_eq!(t0(&image).leader_epoch, LeaderEpoch(2));
}

#[test]
fn a_new_incarnation_never_leads_in_the_epoch_of_the_old() {
    for nodes in 1..=3 {
        let mut image = replicated(nodes, 2);
        let before = t0(&image).leader_epoch;
        // It died and came back before anybody noticed.
        restart(&mut image, 0);
        assert!(t0(&image).leader_epoch > before);
        assert_ne!(t0(&image).leader, Some(NodeId(0)));
        let late = Command::FenceNode { node: NodeId(0), epoch: NodeEpoch(0) };
        assert_eq!(refused(&mut image, late), RefusalKind::StaleNodeEpoch);
    }
}

/// The controllers' leader died behind the commit of its registration, before the answer.
#[test]
fn a_registration_that_is_sent_again_costs_nothing() {
    let mut image = replicated(1, 1);
    fence(&mut image, 0);
    let mut sent = NodeRegistration { incarnation: Some(Uuid::from_u128(5)), ..back(&image, 0) };
    assert_eq!(register(&mut image, sent.clone()), Standing::Kept);
    let epoch = epoch_of(&image, 0);
    assert_eq!(register(&mut image, sent.clone()), Standing::Kept);
    assert_eq!((epoch_of(&image, 0), state(&image).2), (epoch, vec![0]));
    // The next process recorded nothing of it.
    sent.incarnation = Some(Uuid::from_u128(6));
    assert!(matches!(register(&mut image, sent), Standing::OtherEpoch { .. }));
}

#[test]
fn a_damaged_replica_loses_its_place_and_its_node_keeps_the_others() {
    let mut image = replicated(3, 2);
    done(
        &mut image,
        Command::AddPartitions {
            topic: name("t"),
            count: 2,
            assignments: vec![vec![0, 1, 2].into_iter().map(NodeId).collect()],
        },
    );
    fence(&mut image, 1);
    fence(&mut image, 0);
    assert_eq!(state(&image), (2, vec![2], vec![0]));
    let damaged = vec![(image.topics["t"].id, PartitionIndex(0))];
    let registration = NodeRegistration { damaged, ..back(&image, 0) };
    assert_eq!(register(&mut image, registration), Standing::Kept);
    assert_eq!(state(&image), (2, vec![2], vec![]), "not eligible any more");
    assert_eq!(image.partition("t", PartitionIndex(1)).unwrap().elr, [NodeId(0)]);
}

#[test]
fn a_running_nodes_id_belongs_to_its_folder() {
    let mut image = replicated(1, 1);
    let other = || Command::RegisterNode(registration(0, 999));
    assert_eq!(refused(&mut image, other()), RefusalKind::NodeIdInUse);
    stop(&mut image, 0);
    assert_eq!(refused(&mut image, other()), RefusalKind::NodeIdInUse);
    fence(&mut image, 0);
    done(&mut image, other());
}

#[test]
fn a_folder_of_another_cluster_is_refused() {
    let mut image = cluster(1);
    let foreign = NodeRegistration { cluster_id: Some(ClusterId(Uuid::from_u128(2))), ..registration(1, 5) };
    assert_eq!(refused(&mut image, Command::RegisterNode(foreign)), RefusalKind::WrongCluster);
}

#[test]
fn a_node_keeps_its_place_only_with_all_three_proofs() {
    let standing = |change: fn(&mut NodeRegistration)| {
        let mut image = replicated(1, 1);
        fence(&mut image, 0);
        let mut registration = back(&image, 0);
        change(&mut registration);
        (register(&mut image, registration), state(&image).2, last_known(&image))
    };
    let handed_out = NodeEpoch(0);
    assert_eq!(standing(|_| ()), (Standing::Kept, vec![0], vec![]));
    assert_eq!(standing(|r| r.intact = false), (Standing::NotIntact, vec![], vec![0]));
    assert_eq!(
        standing(|r| r.previous_epoch = None),
        (Standing::OtherEpoch { recorded: None, handed_out }, vec![], vec![0])
    );
    assert_eq!(standing(|r| r.directory = directory_id(9)), (Standing::OtherDirectory, vec![], vec![0]));
}

#[test]
fn a_boot_id_proves_nothing_when_another_incarnation_came_between() {
    let mut image = replicated(3, 2);
    // The disk was copied while epoch 2 ran, then the node went on as epoch 3 and wrote more.
    let copy = back(&image, 2);
    restart(&mut image, 2);
    fence(&mut image, 1);
    fence(&mut image, 0);
    let recorded = Some(NodeEpoch(2));
    assert_eq!(register(&mut image, copy), Standing::OtherEpoch { recorded, handed_out: NodeEpoch(3) });
    unfence(&mut image, 2);
    assert_ne!(t0(&image).leader, Some(NodeId(2)));
}

#[test]
fn a_stopping_node_hands_its_leaderships_over_before_it_goes() {
    let mut image = replicated(3, 1);
    stop(&mut image, 0);
    assert_eq!(image.nodes[&NodeId(0)].state, NodeState::Stopping);
    assert_eq!(state(&image), (1, vec![1, 2], vec![]));
    stop(&mut image, 1);
    assert_eq!(state(&image), (2, vec![2], vec![]));
    // Nobody else is in sync: the last one leads until it is gone.
    stop(&mut image, 2);
    assert_eq!(state(&image), (2, vec![2], vec![]));
    fence(&mut image, 2);
    assert_eq!(state(&image), (-1, vec![], vec![2]));
}

#[test]
fn a_stopping_leader_yields_to_an_eligible_replica() {
    let mut image = replicated(2, 2);
    fence(&mut image, 1);
    unfence(&mut image, 1);
    assert_eq!(state(&image), (0, vec![0], vec![1]));
    stop(&mut image, 0);
    assert_eq!(state(&image), (1, vec![1], vec![0]));
}

#[test]
fn only_a_fenced_node_is_unfenced_and_only_an_active_one_stops() {
    let mut image = cluster(1);
    stop(&mut image, 0);
    unfence(&mut image, 0);
    assert_eq!(image.nodes[&NodeId(0)].state, NodeState::Stopping);
    fence(&mut image, 0);
    stop(&mut image, 0);
    assert_eq!(image.nodes[&NodeId(0)].state, NodeState::Fenced);
    assert_eq!(image.live_nodes().count(), 0);
}

#[test]
fn a_node_that_leads_many_partitions_is_fenced_by_one_command() {
    let mut image = cluster(2);
    let spec = TopicSpec {
        partitions: None,
        replication_factor: None,
        assignments: vec![nodes(&[0, 1]); 10_000],
        ..topic(7, "t", 1)
    };
    done(&mut image, Command::CreateTopic(spec));
    let outcome = image.apply(&Command::FenceNode { node: NodeId(0), epoch: NodeEpoch(0) });
    assert_eq!(outcome.changes.partitions[&name("t")].len(), 10_000);
    assert!(image.topics["t"].partitions.iter().all(|p| p.leader == Some(NodeId(1))));
}

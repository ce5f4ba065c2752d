//! Nodes that stop for a while, and nodes that leave for good.

use super::*;
use crate::Held;

fn drain(image: &mut Image, node: i32, scaled_in: bool) {
    done(image, Command::SetDraining { node: NodeId(node), draining: true, scaled_in });
}

fn retire(node: i32, epoch: NodeEpoch) -> Command {
    Command::RetireNode { node: NodeId(node), epoch }
}

/// What t-0 has without the node, and what it needs, if that holds the node back.
fn held_back(image: &Image, node: i32) -> Option<(usize, usize)> {
    image.holds_back(NodeId(node)).map(|Held { topic, partition, in_sync, needed }| {
        assert_eq!((topic, partition), (name("t"), PartitionIndex(0)));
        (in_sync, needed)
    })
}

#[test]
fn one_of_three_may_stop_and_the_next_only_once_it_is_back() {
    for min_isr in [1, 2] {
        let mut image = replicated(3, min_isr);
        assert_eq!(held_back(&image, 1), None);
        stop(&mut image, 1);
        assert_eq!(held_back(&image, 2), Some((1, 2)));
        assert_eq!(held_back(&image, 0), Some((1, 2)), "the leader, too");
        fence(&mut image, 1);
        assert_eq!(held_back(&image, 2), Some((1, 2)));
        unfence(&mut image, 1);
        assert_eq!(held_back(&image, 2), Some((1, 2)), "it is there, but not in sync");
    }
}

#[test]
fn nobody_is_held_back_where_waiting_cannot_help() {
    assert_eq!(held_back(&replicated(1, 1), 0), None, "the only replica");
    assert_eq!(held_back(&replicated(2, 2), 0), None, "all are needed");
    assert_eq!(held_back(&replicated(3, 3), 0), None);
    let mut image = replicated(2, 1);
    assert_eq!(held_back(&image, 0), None);
    fence(&mut image, 1);
    assert_eq!(held_back(&image, 0), Some((0, 1)));
    assert_eq!(held_back(&image, 1), None, "it is in no ISR");
}

#[test]
fn a_draining_node_serves_what_it_has_and_gets_nothing_new() {
    let mut image = replicated(3, 1);
    drain(&mut image, 0, false);
    assert_eq!(state(&image), (0, vec![0, 1, 2], vec![]));
    done(&mut image, Command::CreateTopic(topic(8, "new", 4)));
    let new = &image.topics[&name("new")];
    assert!(new.partitions.iter().all(|p| !p.replicas.contains(&NodeId(0))));
    let spec = TopicSpec { replication_factor: Some(3), ..topic(9, "wide", 1) };
    assert_eq!(refused(&mut image, Command::CreateTopic(spec)), RefusalKind::InvalidReplicationFactor);
    done(&mut image, Command::SetDraining { node: NodeId(0), draining: false, scaled_in: false });
    done(&mut image, Command::CreateTopic(topic(10, "last", 1)));
    assert_eq!(image.topics[&name("last")].partitions[0].replicas, nodes(&[0]), "it has the fewest");
}

#[test]
fn a_restart_does_not_end_a_drain() {
    let mut image = replicated(2, 1);
    drain(&mut image, 1, true);
    fence(&mut image, 1);
    let again = NodeRegistration { previous_epoch: Some(NodeEpoch(1)), intact: true, ..registration(1, 101) };
    register(&mut image, again);
    let node = &image.nodes[&NodeId(1)];
    assert!(node.draining && node.scaled_in);
}

#[test]
fn only_a_drained_node_leaves_for_good() {
    let mut image = replicated(2, 1);
    assert_eq!(refused(&mut image, retire(1, NodeEpoch(1))), RefusalKind::NotDrained, "nobody drains it");
    drain(&mut image, 1, false);
    assert_eq!(refused(&mut image, retire(1, NodeEpoch(1))), RefusalKind::NotDrained, "it has a replica");
    let elsewhere = vec![(name("t"), PartitionIndex(0), Some(nodes(&[0])))];
    done(&mut image, Command::Reassign { changes: elsewhere });
    assert_eq!(image.needs(NodeId(1)), None);
    assert_eq!(refused(&mut image, retire(1, NodeEpoch(0))), RefusalKind::StaleNodeEpoch);
    let outcome = image.apply(&retire(1, NodeEpoch(1)));
    let mut watcher = replicated(2, 1);
    watcher.adopt(&image.delta(&outcome.changes));
    assert!(!image.nodes.contains_key(&NodeId(1)) && !watcher.nodes.contains_key(&NodeId(1)));
}

#[test]
fn a_retired_folder_never_comes_back_and_a_new_one_is_a_new_node() {
    let mut image = cluster(2);
    drain(&mut image, 1, true);
    done(&mut image, retire(1, NodeEpoch(1)));
    let back = NodeRegistration { previous_epoch: Some(NodeEpoch(1)), intact: true, ..registration(1, 101) };
    let refusal = image.apply(&Command::RegisterNode(back.clone())).result.unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::RetiredDirectory);
    assert!(refusal.message.contains("formatted anew"), "{refusal}");
    let elsewhere = NodeRegistration { node: NodeId(0), ..back };
    assert_eq!(refused(&mut image, Command::RegisterNode(elsewhere)), RefusalKind::RetiredDirectory);
    assert_eq!(register(&mut image, registration(1, 102)), Standing::New);
    assert!(!image.nodes[&NodeId(1)].draining);
}

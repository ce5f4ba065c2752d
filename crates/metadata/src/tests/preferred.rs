//! Leaderships come back to the first replicas.

use super::*;

#[test]
fn the_preferred_leader_takes_over_when_it_is_in_sync_again() {
    let mut image = replicated(3, 1);
    let preferred = ElectionKind::Preferred;
    assert_eq!(elect(&mut image, preferred), Err(ElectRefusalKind::ElectionNotNeeded));
    fence(&mut image, 0);
    unfence(&mut image, 0);
    assert_eq!(elect(&mut image, preferred), Err(ElectRefusalKind::PreferredLeaderNotAvailable));
    propose(&mut image, &[0, 1, 2]).unwrap();
    let before = t0(&image).clone();
    assert_eq!(elect(&mut image, preferred), Ok(()));
    let after = Partition {
        leader: Some(NodeId(0)),
        leader_epoch: before.leader_epoch.next(),
        epoch: before.epoch.next(),
        ..before
    };
    assert_eq!(t0(&image), &after);
}

#[test]
fn moves_are_few_at_a_time_and_spread_over_the_nodes() {
    let mut image = cluster(3);
    let lists: Vec<_> = (0..6).map(|n| if n < 4 { nodes(&[0, 2]) } else { nodes(&[1, 2]) }).collect();
    let spec =
        TopicSpec { partitions: None, replication_factor: None, assignments: lists, ..topic(7, "t", 1) };
    done(&mut image, Command::CreateTopic(spec));
    assert_eq!(image.preferred_leader_moves(10), []);
    for node in [0, 1] {
        fence(&mut image, node);
        unfence(&mut image, node);
    }
    assert_eq!(image.preferred_leader_moves(10), [], "the first replicas are not in sync");
    let changes = image.topics["t"].numbered().map(|(partition, p)| IsrChange {
        topic: image.topics["t"].id,
        partition,
        leader_epoch: p.leader_epoch,
        partition_epoch: p.epoch,
        isr: p.replicas.iter().map(|n| (*n, epoch_of(&image, n.0))).collect(),
    });
    let command =
        Command::AlterPartitions { node: NodeId(2), node_epoch: NodeEpoch(2), changes: changes.collect() };
    done(&mut image, command);
    let numbers = |max| image.preferred_leader_moves(max).into_iter().map(|(_, n)| n.0).collect::<Vec<_>>();
    assert_eq!(numbers(10), [0, 4, 1, 5, 2, 3]);
    assert_eq!(numbers(3), [0, 4, 1]);
}

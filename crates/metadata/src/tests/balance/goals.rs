//! What a plan reaches, goal by goal.

use super::*;

#[test]
fn an_even_cluster_is_left_alone() {
    let mut image = in_racks(&["a", "b", "c", "a", "b", "c"]);
    create(&mut image, "t", 24, 3);
    create(&mut image, "u", 7, 2);
    assert_eq!(plan(&image), Plan::default());
    assert_eq!(plan(&cluster(0)), Plan::default());
    assert_eq!(plan(&cluster(3)), Plan::default());
}

#[test]
fn a_new_node_gets_its_share_of_every_topic_and_of_the_leaders() {
    let mut image = cluster(3);
    create(&mut image, "t", 12, 3);
    create(&mut image, "u", 12, 3);
    join(&mut image, None);
    let plan = plan(&image);
    assert_eq!(plan.moves.len(), 18, "a quarter of the 72 replicas: {:?}", told(&plan.moves));
    assert!(plan.moves.iter().all(|m| m.why == Why::Replicas && m.added().eq([NodeId(3)])));
    carry_out_all(&mut image, &plan);
    assert_eq!(replicas(&image), BTreeMap::from([(0, 18), (1, 18), (2, 18), (3, 18)]));
    assert_eq!(preferred(&image), BTreeMap::from([(0, 6), (1, 6), (2, 6), (3, 6)]));
    let of_t = image.topics["t"].partitions.iter().filter(|p| p.replicas.contains(&NodeId(3)));
    assert_eq!(of_t.count(), 9, "a node does not get all of one topic");
}

#[test]
fn what_comes_and_goes_goes_to_the_nodes_that_have_the_fewest_over_others_if_need_be() {
    let mut image = cluster(3);
    // All of node 0's partitions are on node 2, too: only node 1 can take one, and give one to node 2.
    assign(&mut image, "t", &[&[0, 2], &[0, 2], &[0, 2], &[0, 1], &[0, 1]]);
    assign(&mut image, "u", &[&[1], &[1]]);
    assert_eq!(replicas(&image), BTreeMap::from([(0, 5), (1, 4), (2, 3)]));
    let plan = plan(&image);
    carry_out_all(&mut image, &plan);
    assert_eq!(replicas(&image), BTreeMap::from([(0, 4), (1, 4), (2, 4)]));
}

#[test]
fn a_draining_node_gives_everything_to_its_own_rack() {
    let mut image = in_racks(&["a", "a", "b", "b"]);
    assign(&mut image, "t", &[&[0, 2], &[3, 0]]);
    set_draining(&mut image, 0, true);
    let plan = plan(&image);
    let drained = told(&plan.moves);
    assert_eq!(drained[0], ("t-0".to_owned(), vec![0, 2], vec![1, 2], Why::Drain));
    assert_eq!(drained[1], ("t-1".to_owned(), vec![3, 0], vec![3, 1], Why::Drain));
    assert_eq!(drained.len(), 2, "each rack leads one: {drained:?}");
}

#[test]
fn two_replicas_of_a_partition_move_one_after_the_other() {
    let mut image = cluster(4);
    assign(&mut image, "t", &[&[0, 1]]);
    set_draining(&mut image, 0, true);
    set_draining(&mut image, 1, true);
    let plan = plan(&image);
    let steps = [(vec![0, 1], vec![2, 1], Why::Drain), (vec![2, 1], vec![2, 3], Why::Drain)];
    assert_eq!(told(&plan.moves), steps.map(|(from, to, why)| ("t-0".to_owned(), from, to, why)));
    carry_out_all(&mut image, &plan);
}

#[test]
fn replicas_of_a_fenced_node_stay_unless_it_is_draining() {
    let mut image = cluster(4);
    create(&mut image, "t", 8, 2);
    fence(&mut image, 1);
    assert_eq!(plan(&image), Plan::default(), "a node that is away for a while must not cause copying");
    set_draining(&mut image, 1, true);
    let plan = plan(&image);
    assert_eq!(plan.moves.iter().filter(|m| m.why == Why::Drain).count(), 4);
    carry_out_all(&mut image, &plan);
    assert_eq!((replicas(&image)[&1], spread(&image, &replicas(&image))), (0, 1));
}

#[test]
fn what_is_only_on_a_fenced_node_is_stuck() {
    let mut image = cluster(2);
    assign(&mut image, "t", &[&[0], &[1]]);
    set_draining(&mut image, 0, true);
    fence(&mut image, 0);
    let Plan { moves, stuck } = plan(&image);
    assert_eq!(moves, []);
    let (topic_id, partition, node) = (image.topics["t"].id, PartitionIndex(0), NodeId(0));
    let reason = StuckReason::NoLeader;
    assert_eq!(stuck, [Stuck { topic: name("t"), topic_id, partition, node, reason }]);
}

#[test]
fn a_replica_that_no_node_can_take_is_stuck() {
    let mut image = cluster(3);
    assign(&mut image, "t", &[&[0, 1, 2]]);
    set_draining(&mut image, 0, true);
    assert_eq!(plan(&image).stuck[0].reason, StuckReason::NoNode);
    join(&mut image, None);
    assert_eq!(told(&plan(&image).moves), [("t-0".to_owned(), vec![0, 1, 2], vec![3, 1, 2], Why::Drain)]);
    let full = usage(&image, 100 * GIB, |_, _| 95 * GIB);
    let Plan { moves, stuck } = image.plan(&full, &BalanceConfig::default());
    assert_eq!((moves, stuck[0].reason), (vec![], StuckReason::NoRoom { bytes: 95 * GIB }));
}

#[test]
fn a_third_rack_gets_a_replica_of_every_partition() {
    let mut image = in_racks(&["a", "a", "b", "b"]);
    create(&mut image, "t", 8, 3);
    join(&mut image, Some("c"));
    let plan = plan(&image);
    let to_c: Vec<&Move> = plan.moves.iter().filter(|m| m.why == Why::Racks).collect();
    assert_eq!(to_c.len(), 8);
    assert_eq!(moved(&plan.moves), 8, "the rest is even: {:?}", told(&plan.moves));
    carry_out_all(&mut image, &plan);
    assert!(partitions(&image).all(|(_, _, p)| racks(&image, &p.replicas) == 3));
    assert_eq!(replicas(&image), BTreeMap::from([(0, 4), (1, 4), (2, 4), (3, 4), (4, 8)]));
}

#[test]
fn a_rack_with_fewer_nodes_keeps_more_replicas_on_each() {
    let mut image = in_racks(&["a", "b", "b", "c", "c", "c"]);
    create(&mut image, "t", 12, 3);
    let plan = plan(&image);
    assert_eq!(moved(&plan.moves), 0, "{:?}", told(&plan.moves));
    assert_eq!(replicas(&image), BTreeMap::from([(0, 12), (1, 6), (2, 6), (3, 4), (4, 4), (5, 4)]));
}

#[test]
fn full_disks_give_to_empty_ones_with_the_counts_as_they_are() {
    let mut image = cluster(2);
    assign(&mut image, "t", &[&[0], &[0], &[0], &[1], &[1], &[1]]);
    // 30, 20 and 10 on the one, 3, 2 and 1 on the other.
    let sizes = [30, 20, 10, 3, 2, 1];
    let size = |_: &TopicName, number: PartitionIndex| sizes[number.0 as usize] * GIB;
    let before = usage(&image, 200 * GIB, size);
    let plan = image.plan(&before, &BalanceConfig::default());
    assert!(plan.moves.iter().all(|m| m.why == Why::Disk), "{:?}", told(&plan.moves));
    carry_out_all(&mut image, &plan);
    let after = usage(&image, 200 * GIB, size);
    assert_eq!(replicas(&image), BTreeMap::from([(0, 3), (1, 3)]));
    assert!(disk_spread(&after) < 4 * GIB, "{after:?}");
    assert_eq!(image.plan(&after, &BalanceConfig::default()), Plan::default());
}

#[test]
fn disks_are_left_alone_while_a_node_has_not_told_of_its_own() {
    let mut image = cluster(2);
    assign(&mut image, "t", &[&[0], &[0], &[1], &[1]]);
    let mut usage = usage(&image, 200 * GIB, |_, number| if number.0 < 2 { 30 * GIB } else { 0 });
    assert_eq!(image.plan(&usage, &BalanceConfig::default()).moves.len(), 2);
    usage.disks.remove(&NodeId(1));
    assert_eq!(image.plan(&usage, &BalanceConfig::default()), Plan::default());
}

#[test]
fn a_full_disk_takes_nothing() {
    let mut image = cluster(2);
    create(&mut image, "t", 8, 1);
    join(&mut image, None);
    let mut usage = usage(&image, 100 * GIB, |_, _| GIB);
    usage.disks.insert(NodeId(2), Disk { used_bytes: 89 * GIB, total_bytes: 100 * GIB });
    let plan = image.plan(&usage, &BalanceConfig::default());
    assert_eq!((plan.moves.len(), plan.moves[0].bytes), (1, GIB), "one more fits: {:?}", told(&plan.moves));
}

#[test]
fn leaders_are_evened_out_without_copying_anything() {
    let mut image = cluster(3);
    assign(&mut image, "t", &[&[0, 1], &[0, 2], &[0, 1], &[0, 2], &[1, 2], &[1, 2]]);
    let plan = plan(&image);
    assert_eq!(plan.moves.len(), 2, "{:?}", told(&plan.moves));
    assert!(plan.moves.iter().all(|m| (m.why, m.bytes) == (Why::Leaders, 0)));
    carry_out_all(&mut image, &plan);
    assert_eq!(preferred(&image), BTreeMap::from([(0, 2), (1, 2), (2, 2)]));
}

#[test]
fn what_is_being_reassigned_counts_as_done_and_is_not_touched() {
    let mut image = cluster(3);
    assign(&mut image, "t", &[&[0], &[0], &[1]]);
    let first = plan(&image);
    assert_eq!(told(&first.moves), [("t-0".to_owned(), vec![0], vec![2], Why::Replicas)]);
    begin(&mut image, &first.moves[0]);
    assert_eq!(plan(&image), Plan::default());
    set_draining(&mut image, 0, true);
    let then = plan(&image);
    assert_eq!((then.moves.len(), then.moves[0].partition), (1, PartitionIndex(1)));
}

//! Reassignments that are called off.

use super::*;

const NONE: [i32; 0] = [];

fn dead_ends(image: &Image, away: &[i32]) -> Vec<i32> {
    let away = nodes(away).into_iter().collect();
    image.dead_ends(&away).into_iter().map(|(_, number)| number.0).collect()
}

/// t-0 moves from node 0 to node 3.
fn moving() -> Image {
    let mut image = cluster(4);
    assign(&mut image, "t", &[&[0, 1], &[0, 2], &[1, 2], &[0, 1], &[2, 1], &[2, 0]]);
    reassign(&mut image, Some(&[3, 1])).unwrap();
    image
}

#[test]
fn a_move_to_a_node_that_is_away_for_long_is_called_off() {
    let mut image = moving();
    assert_eq!(dead_ends(&image, &[3]), NONE, "it is heard of again");
    fence(&mut image, 3);
    assert_eq!(dead_ends(&image, &[]), NONE, "it may come back");
    assert_eq!(dead_ends(&image, &[3]), [0]);
    image.rebalance.paused = true;
    assert_eq!(dead_ends(&image, &[3]), NONE);
}

#[test]
fn a_move_to_a_node_that_is_to_be_emptied_or_is_gone_is_called_off() {
    let mut image = moving();
    set_draining(&mut image, 3, true);
    assert_eq!(dead_ends(&image, &[]), [0]);
    set_draining(&mut image, 3, false);
    image.nodes.remove(&NodeId(3));
    assert_eq!(dead_ends(&image, &[]), [0]);
}

#[test]
fn a_move_that_cannot_be_called_off_goes_on() {
    let mut image = moving();
    // The new replica is the only one in sync.
    let mut partition = t0(&image).clone();
    (partition.isr, partition.elr, partition.leader) = (nodes(&[3]), vec![], Some(NodeId(3)));
    image.put_partition(&name("t"), PartitionIndex(0), partition, &mut Default::default());
    set_draining(&mut image, 3, true);
    assert_eq!(dead_ends(&image, &[]), NONE);
}

#[test]
fn moves_from_a_node_that_is_not_to_be_emptied_any_more_are_called_off() {
    let mut image = cluster(4);
    create(&mut image, "t", 16, 2);
    set_draining(&mut image, 2, true);
    let leaving = plan(&image);
    leaving.moves[..5].iter().for_each(|m| begin(&mut image, m));
    assert_eq!(dead_ends(&image, &[]), NONE);
    set_draining(&mut image, 2, false);
    let dead = image.dead_ends(&BTreeSet::new());
    dead.iter().for_each(|partition| cancel(&mut image, partition));
    assert!(dead.len() >= 4, "{dead:?}");
    assert_eq!(moved(&plan(&image).moves), 0, "{:?}", replicas(&image));
}

#[test]
fn a_forced_drain_that_is_taken_back_gives_the_rack_back() {
    let mut image = in_racks(&["a", "a", "b"]);
    assign(&mut image, "t", &[&[0, 2]]);
    set_draining(&mut image, 2, true);
    let leaving = plan(&image);
    begin(&mut image, &leaving.moves[0]);
    set_draining(&mut image, 2, false);
    assert_eq!(dead_ends(&image, &[]), [0]);
}

#[test]
fn a_move_to_a_new_node_is_not_called_off() {
    let mut image = in_racks(&["a", "b", "a", "b"]);
    create(&mut image, "t", 20, 2);
    join(&mut image, Some("c"));
    let joining = plan(&image);
    for next in &joining.moves {
        if next.why < Why::Leaders {
            begin(&mut image, next);
            assert_eq!(dead_ends(&image, &[]), NONE);
        }
    }
}

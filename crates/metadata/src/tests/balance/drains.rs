//! Which nodes can be drained.

use super::*;
use crate::{DrainCost, Refusal};

fn refusal(image: &Image, node: i32, usage: &Usage) -> String {
    let Refusal { kind, message } = image.check_drain(NodeId(node), usage, false).unwrap_err();
    assert_eq!(kind, RefusalKind::CannotDrain);
    message
}

#[test]
fn a_drain_is_refused_when_too_few_nodes_would_be_left() {
    let mut image = cluster(3);
    create(&mut image, "x", 2, 3);
    let message = refusal(&image, 1, &Usage::default());
    assert_eq!(message, "topic 'x' has 3 replicas a partition, 2 nodes would be left");
    join(&mut image, None);
    assert_eq!(
        image.check_drain(NodeId(1), &Usage::default(), false),
        Ok(DrainCost { replicas: 2, bytes: 0 })
    );
    set_draining(&mut image, 0, true);
    let message = refusal(&image, 1, &Usage::default());
    assert_eq!(message, "topic 'x' has 3 replicas a partition, 2 nodes would be left");
    let nobody = image.check_drain(NodeId(7), &Usage::default(), false).unwrap_err();
    assert_eq!(nobody.kind, RefusalKind::UnknownNode);
}

#[test]
fn the_last_node_with_replicas_cannot_be_drained_and_an_empty_one_can() {
    let mut image = cluster(1);
    assert_eq!(image.check_drain(NodeId(0), &Usage::default(), false), Ok(DrainCost::default()));
    create(&mut image, "x", 1, 1);
    let message = refusal(&image, 0, &Usage::default());
    assert_eq!(message, "topic 'x' has 1 replica a partition, 0 nodes would be left");
}

#[test]
fn a_fenced_node_counts_for_the_replicas_that_it_has_and_for_no_others() {
    let mut image = cluster(4);
    assign(&mut image, "x", &[&[0, 1, 2]]);
    fence(&mut image, 2);
    assert!(image.check_drain(NodeId(0), &Usage::default(), false).is_ok(), "node 3 is free");
    fence(&mut image, 3);
    let message = refusal(&image, 0, &Usage::default());
    assert_eq!(message, "topic 'x' has 3 replicas a partition, 2 nodes would be left");
}

#[test]
fn a_drain_that_would_cost_a_rack_is_refused_unless_racks_are_ignored() {
    let mut image = in_racks(&["a", "a", "b", "b", "c"]);
    create(&mut image, "x", 3, 3);
    let usage = Usage::default();
    assert_eq!(refusal(&image, 4, &usage), "partition x-0 would have replicas in 2 racks instead of 3");
    assert_eq!(image.check_drain(NodeId(4), &usage, true).map(|cost| cost.replicas), Ok(3));
    assert!(image.check_drain(NodeId(0), &usage, false).is_ok());
    set_draining(&mut image, 4, true);
    let plan = plan(&image);
    carry_out_all(&mut image, &plan);
    assert_eq!((replicas(&image)[&4], moved(&plan.moves)), (0, 3), "forced, it is carried out");
}

#[test]
fn a_drain_needs_room_for_what_all_draining_nodes_have() {
    let mut image = cluster(4);
    create(&mut image, "x", 8, 1);
    let mut usage = usage(&image, 100, |_, _| 10);
    let cost = image.check_drain(NodeId(0), &usage, false);
    assert_eq!(cost, Ok(DrainCost { replicas: 2, bytes: 20 }));
    for node in 1..4 {
        usage.disks.insert(NodeId(node), Disk { used_bytes: 85, total_bytes: 100 });
    }
    assert_eq!(
        refusal(&image, 0, &usage),
        "20 bytes would have to move, the disks of the other nodes have room for 15 beyond a reserve of 10 %"
    );
    usage.disks.insert(NodeId(1), Disk { used_bytes: 20, total_bytes: 100 });
    assert!(image.check_drain(NodeId(0), &usage, false).is_ok());
    set_draining(&mut image, 1, true);
    assert!(refusal(&image, 0, &usage).starts_with("40 bytes would have to move"));
    usage.disks.remove(&NodeId(3));
    assert!(image.check_drain(NodeId(0), &usage, false).is_ok(), "it may have room for anything");
}

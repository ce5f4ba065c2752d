//! What of a plan begins at once.

use super::*;

const LIMITS: MoveLimits = MoveLimits { moves_per_node_max: 2, bytes_per_node_max: u64::MAX, leaders_max: 5 };

fn next(image: &Image, limits: &MoveLimits) -> Vec<Move> {
    image.next_moves(&plan(image), &Usage::default(), limits)
}

/// Nodes 0 to 2 lead four partitions each that are on no other node, and node 3 is new.
fn grown() -> Image {
    let mut image = cluster(3);
    create(&mut image, "t", 12, 1);
    join(&mut image, None);
    image
}

#[test]
fn a_node_takes_and_gives_only_so_many_at_a_time() {
    let mut image = grown();
    assert_eq!(plan(&image).moves.len(), 3);
    let first = next(&image, &LIMITS);
    assert_eq!(first.len(), 2);
    first.iter().for_each(|m| begin(&mut image, m));
    assert_eq!(next(&image, &LIMITS), [], "they are under way");
    catch_up(&mut image, &first[0].topic, first[0].partition);
    assert_eq!(next(&image, &LIMITS).len(), 1);
    assert_eq!(next(&image, &MoveLimits { moves_per_node_max: 0, ..LIMITS }), []);
}

#[test]
fn a_leader_feeds_only_so_many_at_a_time() {
    let mut image = cluster(2);
    assign(&mut image, "t", &[&[0, 1], &[0, 1], &[0, 1], &[0, 1]]);
    join(&mut image, None);
    join(&mut image, None);
    let moves = next(&image, &LIMITS);
    assert_eq!(moves.len(), 2, "node 0 leads all of them, and two nodes wait for it: {:?}", told(&moves));
}

#[test]
fn a_node_that_copies_nothing_may_begin_with_whatever_is_large() {
    let image = grown();
    let usage = usage(&image, 1_000 * GIB, |_, _| 10 * GIB);
    let plan = image.plan(&usage, &BalanceConfig::default());
    let limits = |gib: u64| MoveLimits { bytes_per_node_max: gib * GIB, ..LIMITS };
    assert_eq!(image.next_moves(&plan, &usage, &limits(1)).len(), 1);
    assert_eq!(image.next_moves(&plan, &usage, &limits(19)).len(), 1);
    assert_eq!(image.next_moves(&plan, &usage, &limits(20)).len(), 2);
}

#[test]
fn nothing_begins_while_rebalancing_is_paused() {
    let mut image = grown();
    let before = plan(&image);
    image.rebalance.paused = true;
    assert_eq!(plan(&image), before, "the plan can be looked at");
    assert_eq!(next(&image, &LIMITS), []);
}

#[test]
fn what_changed_since_the_plan_was_made_does_not_begin() {
    let mut image = grown();
    let old = plan(&image);
    begin(&mut image, &old.moves[0]);
    let again = image.next_moves(&old, &Usage::default(), &LIMITS);
    assert!(again.iter().all(|m| m.partition != old.moves[0].partition));
    fence(&mut image, 3);
    assert_eq!(image.next_moves(&old, &Usage::default(), &LIMITS), []);
}

#[test]
fn leaders_change_a_few_at_a_time_when_everything_else_is_under_way() {
    let mut image = cluster(3);
    assign(&mut image, "t", &[&[0, 1][..]; 12]);
    let all = plan(&image);
    assert!(all.moves.iter().any(|m| m.why == Why::Leaders), "{:?}", told(&all.moves));
    let few = MoveLimits { moves_per_node_max: 1, leaders_max: 1, ..LIMITS };
    for _ in 0..20 {
        let begun = next(&image, &few);
        let copies_wait = plan(&image).moves.iter().filter(|m| m.why < Why::Leaders).count() > moved(&begun);
        let led = begun.iter().filter(|m| m.why == Why::Leaders).count();
        assert!(led <= 1 && !(copies_wait && led > 0), "{:?}", told(&begun));
        begun.iter().for_each(|m| carry_out(&mut image, m));
    }
    assert_eq!(preferred(&image), BTreeMap::from([(0, 4), (1, 4), (2, 4)]));
}

#[test]
fn nodes_that_change_places_for_their_disks_do_so_together() {
    let mut image = cluster(2);
    assign(&mut image, "t", &[&[0], &[0], &[1], &[1]]);
    let usage = usage(&image, 200 * GIB, |_, number| if number.0 < 2 { 30 * GIB } else { 0 });
    let plan = image.plan(&usage, &BalanceConfig::default());
    let one = MoveLimits { moves_per_node_max: 1, ..LIMITS };
    assert_eq!(image.next_moves(&plan, &usage, &one).len(), 2);
    // Another copy leaves no room for both.
    let mut busy = image.clone();
    join(&mut busy, None);
    let other = plan.moves.iter().map(|m| m.partition.0).max().unwrap();
    let changes = vec![(name("t"), PartitionIndex(5 - other), Some(nodes(&[1])))];
    done(&mut busy, Command::Reassign { changes });
    assert!(busy.next_moves(&plan, &usage, &one).len() != 1);
}

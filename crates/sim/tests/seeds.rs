//! Many seeds, and those that once found something.

use sim::{Failure, Plan, Trace, run, run_many};

const PLAN: Plan = Plan { steps: 1_000, heal: true, mutation: None };

fn shown(failures: &[Failure]) -> Vec<String> {
    let line =
        |f: &Failure| format!("scripts/sim.sh --seed {} --trace: step {}: {}", f.seed, f.step, f.violation);
    failures.iter().map(line).collect()
}

/// With `steps` of faults, and without healing where that had no part in it.
fn holds(seed: u64, steps: u64) {
    let (_, failure) = run(seed, Plan { steps, ..PLAN }, Trace::off());
    assert_eq!(shown(failure.as_slice()), [""; 0]);
}

#[test]
fn ten_thousand_seeds_keep_every_invariant_and_become_whole() {
    let (counts, failures) = run_many(1, 10_001, 2, None, PLAN, |_, _| {});
    println!("{counts}");
    assert_eq!(shown(&failures), [""; 0]);
    assert_eq!((counts.seeds, counts.healed), (10_000, 10_000));
    assert!(counts.steps >= 10_000 * PLAN.steps);
    // A simulation in which nothing happens proves nothing.
    for (what, count, least) in [
        ("commits", counts.committed, 100_000),
        ("elections", counts.elections, 10_000),
        ("truncations", counts.truncations, 1_000),
        ("ISR changes", counts.isr_changes, 10_000),
        ("power cuts of all", counts.power_cuts_of_all, 1_000),
        ("RECOVERING elections", counts.recovering, 1_000),
        ("unclean elections", counts.unclean, 100),
        ("duplicates", counts.duplicates, 1_000),
    ] {
        assert!(count >= least, "{what}: {count}");
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    assert_eq!(run(7, PLAN, Trace::off()).0, run(7, PLAN, Trace::off()).0);
}

#[test]
fn who_left_the_replicas_and_is_added_again_empty_does_not_join_by_an_old_fetch() {
    holds(302_897, 2_000);
}

#[test]
fn a_leader_that_began_above_its_first_epochs_leaves_no_foreign_records_in_a_follower() {
    holds(115_415, 2_000);
}

#[test]
fn a_checkpoint_above_a_truncation_does_not_become_the_high_watermark() {
    holds(310_467, 2_000);
}

#[test]
fn a_late_state_does_not_bring_a_leadership_back() {
    holds(54_191, 1_000);
}

#[test]
fn a_new_leader_flushes_what_it_had_not_as_a_follower() {
    holds(49_082, 1_000);
}

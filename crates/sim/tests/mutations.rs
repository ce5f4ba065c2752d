//! Every mistake that is made on purpose is found.

use sim::{Mutation, Plan, run_many};

/// Seeds until one of them must have found it.
const SEEDS_MAX: u64 = 30_000;

#[test]
fn every_mutation_breaks_an_invariant() {
    let mut missed = Vec::new();
    for mutation in Mutation::ALL {
        let plan = Plan { mutation: Some(mutation), ..Plan::of(1_000) };
        let (counts, failures) = run_many(1, SEEDS_MAX, 2, None, plan, |_, _| {});
        match failures.first() {
            Some(found) => {
                println!(
                    "{mutation}: seed {}, step {}: {}",
                    found.seed, found.step, found.violation.invariant
                );
            }
            None => missed.push(format!("{mutation} in {} seeds", counts.seeds)),
        }
    }
    assert_eq!(missed, [""; 0]);
}

#[test]
fn every_mutation_of_a_coordinator_breaks_an_invariant_of_groups() {
    let mut missed = Vec::new();
    for mutation in Mutation::OF_GROUPS {
        let plan = Plan { mutation: Some(mutation), groups: true, ..Plan::of(3_000) };
        let (counts, failures) = run_many(1, SEEDS_MAX, 2, None, plan, |_, _| {});
        match failures.first() {
            Some(found) => {
                println!("{mutation}: seed {}, step {}: {}", found.seed, found.step, found.violation)
            }
            None => missed.push(format!("{mutation} in {} seeds", counts.seeds)),
        }
    }
    assert_eq!(missed, [""; 0]);
}

/// Not only by the rules that restate what was broken. KIP-841, a refusal reverted at once, what a client is shown and an
/// epoch cache out of trim are not known to.
#[test]
fn most_mutations_lose_data() {
    let harmless = [
        Mutation::NoKip841,
        Mutation::RefusedRevertedAtOnce,
        Mutation::StaleHighWatermarkShown,
        Mutation::EpochCacheNotTrimmed,
        // What it loses was excused before it was asked for.
        Mutation::OnlyTheLastAsked,
    ];
    let mut missed = Vec::new();
    for mutation in Mutation::ALL.into_iter().filter(|m| !harmless.contains(m)) {
        let plan = Plan { mutation: Some(mutation), data_only: true, heal: false, ..Plan::of(1_000) };
        let (counts, failures) = run_many(1, SEEDS_MAX, 2, None, plan, |_, _| {});
        match failures.first() {
            Some(found) => println!("{mutation}: seed {}: {}", found.seed, found.violation),
            None => missed.push(format!("{mutation} in {} seeds", counts.seeds)),
        }
    }
    assert_eq!(missed, [""; 0]);
}

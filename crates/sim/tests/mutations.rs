//! Every mistake that is made on purpose is found.

use sim::{Mutation, Plan, run_many};

/// Seeds until one of them must have found it.
const SEEDS_MAX: u64 = 30_000;

#[test]
fn every_mutation_breaks_an_invariant() {
    let mut missed = Vec::new();
    for mutation in Mutation::ALL {
        let plan = Plan { steps: 1_000, heal: true, mutation: Some(mutation) };
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

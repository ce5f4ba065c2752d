use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use crate::{counts::Counts, invariants::Violation, mutation::Mutation, trace::Trace, world::World};

/// How a seed is run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Steps with faults.
    pub steps: u64,
    /// Afterwards everything heals, and liveness is checked.
    pub heal: bool,
    pub mutation: Option<Mutation>,
    /// No unclean elections, no old copies of disks, power cuts only where everybody flushes first: nothing is excused.
    pub lossless: bool,
    /// Only the invariants that speak of records are listened to, not those that restate the protocol's conditions.
    pub data_only: bool,
    /// With consumer groups, whose coordinator leads one more partition.
    pub groups: bool,
}

impl Plan {
    /// So many steps with faults, and then healing.
    pub const fn of(steps: u64) -> Self {
        Self { steps, heal: true, mutation: None, lossless: false, data_only: false, groups: false }
    }
}

/// A seed that broke an invariant.
#[derive(Clone, Debug)]
pub struct Failure {
    pub seed: u64,
    pub step: u64,
    pub violation: Violation,
}

/// Runs one seed; what happened, and what must not have.
pub fn run(seed: u64, plan: Plan, trace: Trace) -> (Counts, Option<Failure>) {
    let plan = Plan {
        groups: plan.groups || plan.mutation.is_some_and(|m| Mutation::OF_GROUPS.contains(&m)),
        ..plan
    };
    let mut world = World::new(seed, plan, trace);
    while world.step < plan.steps && world.violation.is_none() {
        world.step();
    }
    if plan.heal && world.violation.is_none() {
        world.heal();
    }
    let mut counts = world.counts.clone();
    (counts.seeds, counts.steps, counts.simulated_ms) = (1, world.step, world.now_ms());
    let failure = world.violation.take().map(|violation| Failure { seed, step: world.step, violation });
    (counts, failure)
}

/// Runs seeds from `first` on, on so many threads, until `last`, the time is over, or one fails.
pub fn run_many(
    first: u64,
    last: u64,
    threads: usize,
    within: Option<Duration>,
    plan: Plan,
    progress: impl Fn(u64, &Counts) + Sync,
) -> (Counts, Vec<Failure>) {
    let (next, stop, began) = (AtomicU64::new(first), AtomicBool::new(false), Instant::now());
    let work = || {
        let (mut total, mut failures) = (Counts::default(), Vec::new());
        while !stop.load(Ordering::Relaxed) && within.is_none_or(|within| began.elapsed() < within) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= last {
                break;
            }
            let (counts, failure) = run(seed, plan, Trace::off());
            total += &counts;
            if let Some(failure) = failure {
                failures.push(failure);
                stop.store(true, Ordering::Relaxed);
            }
            if (seed - first + 1).is_multiple_of(1_000) {
                progress(seed, &total);
            }
        }
        (total, failures)
    };
    let results: Vec<(Counts, Vec<Failure>)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().filter_map(|worker| worker.join().ok()).collect()
    });
    let mut all = (Counts::default(), Vec::new());
    for (counts, failures) in results {
        all.0 += &counts;
        all.1.extend(failures);
    }
    all.1.sort_by_key(|failure: &Failure| failure.seed);
    all
}

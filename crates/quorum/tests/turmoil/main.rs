//! The real openraft on real SQLite stores, on a network that `turmoil` simulates: INVARIANTS C1 to C4.
//!
//! What follows from the seed: which faults come when, each message's delay and loss, the members' election timeouts,
//! who proposes what when. What does not: the order in which tokio's `select!` looks at what is ready (it does with
//! `--cfg tokio_unstable`), and on which side of a crash a write falls that SQLite was busy with. SQLite works on
//! threads of its own; the simulated clock stands still meanwhile (`Quorum::open_simulated`). So a seed that failed
//! nearly always fails again, but a run is not bit for bit the same. A crash here keeps what was written: power loss is
//! not the subject.
//!
//! `QUORUM_TURMOIL_SEEDS=500..900 cargo test -p quorum --test turmoil -- --nocapture` runs others or more.

#![allow(clippy::unwrap_used)]

mod disk;
mod faults;
mod group;
mod history;
mod member;
mod network;
mod seed;

use std::{
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicU64, Ordering},
};

use group::Group;
use history::Counts;
use network::host;
use seed::Seed;

const SEEDS: Range<u64> = 0..100;

fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var("QUORUM_TURMOIL_SEEDS") else { return SEEDS };
    let parsed = text.split_once("..").and_then(|(a, b)| Some(a.parse().ok()?..b.parse().ok()?));
    parsed.expect("QUORUM_TURMOIL_SEEDS is like 500..900")
}

/// One run: three or five members, disturbed, then healed.
fn run(seed: u64) -> Counts {
    let mut seed = Seed::new(seed);
    let members = if seed.percent(60) { 3 } else { 5 };
    let mut group = Group::start(members, &mut seed);
    faults::disturb(&mut group, &mut seed);
    group.settle()
}

#[test]
fn a_disturbed_group_keeps_what_it_acknowledged_and_agrees_on_it() {
    let seeds = seeds();
    let next = AtomicU64::new(seeds.start);
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(4);
    let (total, failed) = std::thread::scope(|scope| {
        let work = || {
            let (mut total, mut failed) = (Counts::default(), Vec::new());
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= seeds.end {
                    return (total, failed);
                }
                match catch_unwind(AssertUnwindSafe(|| run(seed))) {
                    Ok(counts) => total = total.and(counts),
                    Err(_) => {
                        eprintln!("seed {seed} failed: QUORUM_TURMOIL_SEEDS={seed}..{}", seed + 1);
                        failed.push(seed);
                    }
                }
            }
        };
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .map(|w| w.join().unwrap())
            .fold((Counts::default(), Vec::new()), |a, b| (a.0.and(b.0), [a.1, b.1].concat()))
    });
    println!("{total:?}");
    assert!(failed.is_empty(), "seeds {failed:?} failed");
}

/// C3: with the third behind, the wiped one's vote under its old id would elect a leader that lacks what the first and
/// the wiped one acknowledged.
#[test]
fn a_wiped_member_does_not_vote_under_its_old_id() {
    let mut group = Group::start(3, &mut Seed::new(1));
    group.until("somebody leads", 10_000, |g| g.leader().is_some());
    let leader = group.leader().unwrap();
    let [wiped, behind] = *group.all().into_iter().filter(|m| *m != leader).collect::<Vec<_>>() else {
        panic!()
    };
    [leader, wiped].iter().for_each(|m| group.sim.partition(host(*m), host(behind)));
    group.run_for(1_000);
    group.until_acknowledged();
    let old_id = group.quorum(wiped).unwrap().id();
    assert!(group.wipe(wiped));
    group.crash(leader);
    group.heal();
    group.restart(wiped);
    group.run_for(10_000);
    assert_eq!(group.leader(), None, "two of three are not enough when one of them was wiped");
    assert_ne!(group.quorum(wiped).unwrap().id(), old_id);
    group.restart(leader);
    group.settle();
    assert!(!group.quorum(leader).unwrap().members().contains_key(&old_id));
}

/// C4: what a member that stops would have to say is on its disk; the others go on without it.
#[test]
fn a_member_with_a_corrupt_snapshot_stops_and_deletes_nothing() {
    let mut group = Group::start(3, &mut Seed::new(2));
    group.until("somebody leads", 10_000, |g| g.leader().is_some());
    let leader = group.leader().unwrap();
    let victim = group.all().into_iter().find(|m| *m != leader).unwrap();
    group.run_for(1_000);
    group.shared.lock().seats[victim as usize].snapshot_wanted = true;
    group.run_for(1_000);
    group.crash(victim);
    let store = group.store(victim);
    let before = disk::corrupt_snapshot(&store);
    for _ in 0..2 {
        group.restart(victim);
        group.until("it says why it does not start", 5_000, |g| g.stopped(victim).is_some());
        let reason = group.stopped(victim).unwrap();
        assert!(reason.contains("controller.sqlite") && reason.contains("checksum"), "{reason}");
        group.crash(victim);
        assert_eq!(disk::contents(&store), before);
    }
    group.until_acknowledged();
}

//! Clients of both protocols that do as they should, in a world that does not.

mod classic;
mod client;
mod consumer;
mod events;
mod random;
mod rest;
mod world;

use self::world::{Mix, World};

/// Runs of each mix, unless `GROUP_SEEDS` says otherwise; `TRACE` is a seed of which everything is told.
const SEEDS: u64 = 12;

/// Some time with faults, then quiet; then everything must be in order.
fn run(mix: Mix, first: u64) {
    let seeds = std::env::var("GROUP_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(SEEDS);
    for seed in first..first + seeds {
        let mut world = World::new(mix, seed);
        for _ in 0..400 {
            world.step(true);
        }
        world.calm();
    }
}

#[test]
fn consumers_share_and_settle() {
    run(Mix { consumers: true, classic: false, cooperative: false }, 0);
}

#[test]
fn eager_classic_members_share_and_settle() {
    run(Mix { consumers: false, classic: true, cooperative: false }, 1_000_000);
}

#[test]
fn cooperative_classic_members_share_and_settle() {
    run(Mix { consumers: false, classic: true, cooperative: true }, 2_000_000);
}

#[test]
fn eager_members_and_consumers_share_and_settle() {
    run(Mix { consumers: true, classic: true, cooperative: false }, 3_000_000);
}

#[test]
fn cooperative_members_and_consumers_share_and_settle() {
    run(Mix { consumers: true, classic: true, cooperative: true }, 4_000_000);
}

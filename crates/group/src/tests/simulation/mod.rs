//! Clients of both protocols that do as they should, in a world that does not.

mod classic;
mod client;
mod consumer;
mod events;
mod random;
mod world;

use self::world::{Mix, World};

/// One run: some time with faults, then quiet; then everything must be in order.
fn run(mix: Mix, seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let mut world = World::new(mix, seed);
        for _ in 0..400 {
            world.step(true);
        }
        world.calm();
    }
}

#[test]
fn consumers_share_and_settle() {
    run(Mix { consumers: true, classic: false, cooperative: false }, 0..60);
}

#[test]
fn eager_classic_members_share_and_settle() {
    run(Mix { consumers: false, classic: true, cooperative: false }, 100..160);
}

#[test]
fn cooperative_classic_members_share_and_settle() {
    run(Mix { consumers: false, classic: true, cooperative: true }, 200..260);
}

#[test]
fn eager_members_and_consumers_share_and_settle() {
    run(Mix { consumers: true, classic: true, cooperative: false }, 300..360);
}

#[test]
fn cooperative_members_and_consumers_share_and_settle() {
    run(Mix { consumers: true, classic: true, cooperative: true }, 400..460);
}

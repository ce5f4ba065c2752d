#![doc = include_str!("../README.md")]

mod begin;
mod client;
mod controller;
mod coordinator;
mod counts;
mod disk;
mod event;
mod faults;
mod following;
mod ghost;
mod groups;
mod groups_ghost;
mod groups_setup;
mod heal;
mod inbox;
mod invariants;
mod leading;
mod member;
mod member_calls;
mod mutate;
mod mutate_groups;
mod mutation;
mod network;
mod node;
mod proposing;
mod random;
mod run;
mod session;
mod setup;
mod trace;
mod world;

pub use counts::Counts;
pub use invariants::Violation;
pub use mutation::Mutation;
pub use run::{Failure, Plan, run, run_many};
pub use trace::Trace;

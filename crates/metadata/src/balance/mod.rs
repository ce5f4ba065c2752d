//! Which replicas should be elsewhere: a pure function from an image, and what nodes told of their disks, to moves.

mod check_drain;
mod config;
mod dead_ends;
mod disks;
mod even_out;
mod layout;
mod leaders;
mod next_moves;
mod pairs;
mod part;
mod plan;
mod racks;
mod replicas;
mod site;
mod start;
mod steps;
mod traffic;
mod usage;
mod vacate;

pub use check_drain::DrainCost;
pub use config::BalanceConfig;
pub use next_moves::MoveLimits;
pub use plan::{Move, Plan, Stuck, StuckReason, Why};
pub use usage::{Disk, Usage};

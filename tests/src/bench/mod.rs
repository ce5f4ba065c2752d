//! What groups and the gateway cost, measured on real processes. `scripts/groups-bench.sh` runs it, and
//! `scripts/rest-bench.sh` the part of REST.
//!
//! ```text
//!  rebalance ── members ══ member: a process each, which says what it was given ─▶ pauses
//!  many_groups ── heartbeats: members of the consumer protocol, without a client library
//!  connections ── gateway_overhead ── load: produce and fetch at a rate or as fast as it goes
//!  rest: produce over REST, ours beside others
//!  all: meter: CPU of each process · figures: medians, percentiles, Markdown
//! ```

pub mod connections;
pub(crate) mod figures;
pub mod gateway_overhead;
mod heartbeats;
mod load;
pub mod many_groups;
pub mod member;
mod members;
mod meter;
mod pauses;
pub mod rebalance;
pub mod rest;

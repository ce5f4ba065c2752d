//! The gateway's REST API on real clusters. One binary: each costs its own linking.

mod consumers;
mod idempotency_key;
mod recipes;
mod v2;
mod v3;

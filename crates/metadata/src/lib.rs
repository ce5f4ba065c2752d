#![doc = include_str!("../README.md")]

mod alter;
mod apply;
mod balance;
mod command;
mod configs;
mod delta;
mod drain;
mod elect;
mod image;
mod internal;
mod lease;
mod liveness;
mod nodes;
mod pace;
mod partition;
mod placement;
mod reassign;
mod refusal;
mod settle;
#[cfg(test)]
mod tests;
mod topics;

pub use balance::{BalanceConfig, Disk, DrainCost, Move, MoveLimits, Plan, Stuck, StuckReason, Usage, Why};
pub use command::{
    Applied, Command, ConfigChange, ConfigOperation, ElectionKind, IsrChange, NodeRegistration, Outcome,
    ReplicaReport, Standing, TopicSpec,
};
pub use delta::{Changes, Delta, TopicDelta};
pub use image::{Endpoint, Image, Node, NodeState, Rebalance, Topic};
pub use lease::Held;
pub use liveness::{Fence, FenceReason, Liveness, LivenessConfig};
pub use pace::{Pace, PaceConfig};
pub use partition::{LastKnown, Partition, ReplicaEnd};
pub use refusal::{AlterRefusal, AlterRefusalKind, ElectRefusal, ElectRefusalKind, Refusal, RefusalKind};
pub use topics::REPLICATION_FACTOR_DEFAULT;

#![doc = include_str!("../README.md")]

mod alter;
mod apply;
mod command;
mod configs;
mod delta;
mod elect;
mod image;
mod internal;
mod liveness;
mod nodes;
mod partition;
mod placement;
mod reassign;
mod refusal;
mod settle;
#[cfg(test)]
mod tests;
mod topics;

pub use command::{
    Applied, Command, ConfigChange, ConfigOperation, ElectionKind, IsrChange, NodeRegistration, Outcome,
    ReplicaReport, Standing, TopicSpec,
};
pub use delta::{Changes, Delta, TopicDelta};
pub use image::{Endpoint, Image, Node, NodeState, Topic};
pub use liveness::{Fence, FenceReason, Liveness, LivenessConfig};
pub use partition::{LastKnown, Partition, ReplicaEnd};
pub use refusal::{AlterRefusal, AlterRefusalKind, ElectRefusal, ElectRefusalKind, Refusal, RefusalKind};
pub use topics::REPLICATION_FACTOR_DEFAULT;

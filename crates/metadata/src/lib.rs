#![doc = include_str!("../README.md")]

mod apply;
mod command;
mod delta;
mod image;
mod leader;
mod liveness;
mod placement;
mod refusal;
#[cfg(test)]
mod tests;
mod topics;

pub use command::{Applied, Command, ConfigChange, ConfigOperation, NodeRegistration, Outcome, TopicSpec};
pub use delta::{Changes, Delta, TopicDelta};
pub use image::{Endpoint, Image, Node, NodeState, Partition, Topic};
pub use liveness::{Fence, FenceReason, Liveness, LivenessConfig};
pub use refusal::{Refusal, RefusalKind};

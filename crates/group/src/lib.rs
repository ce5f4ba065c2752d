#![doc = include_str!("../README.md")]

mod call;
mod home;
mod refuse;
mod step;

pub use call::{Answer, Call, Caller, Token};
pub use home::{OFFSETS_TOPIC, partition_of};
pub use step::Step;

#![doc = include_str!("../README.md")]

pub mod action;
pub mod bounds;
pub mod check;
pub mod controller;
mod fetching;
mod identity;
pub mod ids;
mod leading;
pub mod log;
pub mod mutation;
pub mod replica;
pub mod rules;
pub mod state;
mod step;

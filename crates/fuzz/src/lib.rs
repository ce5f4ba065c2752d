#![doc = include_str!("../README.md")]

mod apis;
pub mod batches;
pub mod cap;
pub mod entries;
pub mod files;
pub mod requests;
pub mod responses;
mod seeds;
mod splice;
pub mod target;

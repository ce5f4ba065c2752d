#![doc = include_str!("../README.md")]

mod admin;
mod app;
#[cfg(test)]
mod config_tests;
mod connection;
mod consumers;
mod error;
mod fetch_request;
#[cfg(test)]
mod fixture;
mod granted;
#[cfg(test)]
mod group_tests;
mod groups;
mod idempotency;
mod json_object;
mod kafka;
mod leader;
mod limits;
mod memory;
mod negotiate;
mod offsets;
mod openapi;
#[cfg(test)]
mod openapi_tests;
mod page;
mod place;
mod producer;
mod reader;
mod router;
#[cfg(test)]
mod router_tests;
#[cfg(test)]
mod routes_table;
mod routing;
mod service;
mod surrogates;
mod tail;
#[cfg(test)]
mod tail_fixture;
#[cfg(test)]
mod tail_tests;
mod taken;
mod time;
mod v2;
mod v3;
#[cfg(test)]
mod v3_tests;

pub(crate) use app::App;
pub(crate) use error::ApiError;
pub use kafka::KafkaConfig;
pub use service::{GatewayConfig, GatewayError, GatewayHandle, start};

#![doc = include_str!("../README.md")]

mod bind;
mod health;
mod local;
mod logs;
mod stop;

pub use bind::{BindError, bind};
pub use health::{Health, Metrics, MetricsError, health_routes, serve_health, serve_http};
pub use local::{AskError, ask};
pub use logs::{LogsError, init_logs};
pub use stop::terminated;

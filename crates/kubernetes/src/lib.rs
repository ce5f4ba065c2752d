#![doc = include_str!("../README.md")]

mod config;
mod confirm;
mod error;
mod events;
mod follow;
mod kubernetes;
mod limit;
mod notice;
mod pause;
mod seen;
mod set;
mod stop;
mod zone;

pub use config::KubernetesConfig;
pub use error::{ApiError, KubernetesError};
pub use kube::Client;
pub use kubernetes::Kubernetes;
pub use notice::{About, Notice, Reason};
pub use seen::{Seen, SetSeen};
pub use set::{Generation, ResourceVersion, SetState};
pub use stop::{Stop, why_it_stops};

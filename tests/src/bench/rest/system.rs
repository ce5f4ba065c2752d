//! What is measured: a gateway for REST and the brokers behind it, ours or others'.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::Context;

use super::{
    load::Load,
    peers::{Bridge, Kafka},
};
use crate::{Cluster, ClusterSpec, faults::admin::Admin, resident_bytes};

/// A gateway that can be produced through. Its processes end with it.
pub struct System {
    /// `host:port` of REST.
    pub address: String,
    admin: Admin,
    /// `gateway`, and what is behind it under other names.
    pub pids: BTreeMap<String, u32>,
    cluster: Option<Cluster>,
    _bridge: Option<Bridge>,
}

pub const PARTITIONS: i32 = 3;
/// A bridge learns of a topic at its next refresh of metadata, or by asking for it.
const WITHIN: Duration = Duration::from_secs(60);

impl System {
    /// One controller, one storage node, one gateway.
    pub async fn ours() -> Self {
        let spec = ClusterSpec { controllers: 1, storage_nodes: 1, gateways: 1 };
        let cluster = Cluster::start_with(spec, &[("log.level", "warn")]).await;
        let rename = |(name, pid): (String, u32)| match name.as_str() {
            "gateway-0" => ("gateway".to_owned(), pid),
            _ => (name, pid),
        };
        Self {
            address: cluster.rest(0).url("").trim_start_matches("http://").to_owned(),
            admin: Admin::new(vec![cluster.kafka_address(0)]),
            pids: cluster.pids().into_iter().map(rename).collect(),
            cluster: Some(cluster),
            _bridge: None,
        }
    }

    /// A bridge, and the broker that it is before.
    pub fn theirs(kafka: &Kafka, bridge: Bridge) -> Self {
        Self {
            address: bridge.address.clone(),
            admin: kafka.admin(),
            pids: [("gateway".to_owned(), bridge.pid()), ("broker".to_owned(), kafka.pid())].into(),
            cluster: None,
            _bridge: Some(bridge),
        }
    }

    /// Makes the topic and waits until a record has been produced to it.
    pub async fn create(&self, load: &Load, partitions: i32) -> anyhow::Result<()> {
        self.admin.create_topic(&load.topic, partitions, 1, &[]).await?;
        let deadline = Instant::now() + WITHIN;
        loop {
            match load.once().await {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() > deadline => {
                    return Err(error).context(format!("{} cannot be produced to", load.topic));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    pub async fn delete(&self, topic: &str) -> anyhow::Result<()> {
        self.admin.delete_topic(topic).await
    }

    /// Of the gateway.
    pub fn resident_bytes(&self) -> u64 {
        resident_bytes(self.pids["gateway"])
    }

    /// A counter of the gateway's, which only ours has under this name.
    pub async fn counter(&self, name: &str) -> anyhow::Result<f64> {
        let cluster = self.cluster.as_ref().context("not ours")?;
        let text = reqwest::get(cluster.rest(0).url("/metrics")).await?.text().await?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|number| number.parse().ok()).with_context(|| format!("{name} is not in the metrics"))
    }
}

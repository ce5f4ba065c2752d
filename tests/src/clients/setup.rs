use anyhow::Context;
use bytes::Bytes;
use domain::TopicName;
use metadata::TopicDelta;
use records::{BatchBuilder, Compression};

use super::{Cell, Path};
use crate::{
    Cluster, KafkaClient,
    replicated::{self, WITHIN},
    wait_until,
};

/// What a cell has to itself, and how the test reaches it without the client.
pub(super) struct Setup<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) cell: Cell,
}

impl<'a> Setup<'a> {
    pub(super) fn new(cluster: &'a Cluster, cell: Cell) -> Self {
        Self { cluster, cell }
    }

    /// The topic's name, and the group's.
    pub(super) fn topic(&self) -> String {
        self.cell.to_string()
    }

    pub(super) fn is_direct(&self) -> bool {
        self.cell.path == Path::Direct
    }

    /// Creates the topic, with three replicas, and waits until it is led.
    pub(super) async fn create(&self, partitions: i32) -> anyhow::Result<()> {
        let topic = self.topic();
        let kafka = self.cluster.kafka(0);
        let code = kafka.create_replicated(&topic, partitions, 3, &[("retention.ms", "604800000")]).await;
        anyhow::ensure!(code == 0, "the topic was not created: {code}");
        for number in 0..partitions {
            self.leader(number).await;
        }
        Ok(())
    }

    /// The node that leads the partition, and says so itself.
    pub(super) async fn leader(&self, number: i32) -> KafkaClient {
        let topic = self.topic();
        let find = async || {
            let leader = replicated::partition(self.cluster, &topic, number).await.leader?;
            let kafka = self.cluster.kafka(leader.0 as usize);
            kafka.list_offset(&topic, number, -1).await.is_ok().then_some(kafka)
        };
        wait_until("the partition is led", WITHIN, || async { find().await.is_some() }).await;
        find().await.expect("nobody takes the leadership away")
    }

    /// Fills partition 0 with these values, a second apart from `base_ms` on.
    pub(super) async fn fill(&self, values: &[String], base_ms: i64) -> anyhow::Result<()> {
        let leader = self.leader(0).await;
        // Some batches, so that there is something to search.
        for (n, chunk) in values.chunks(10).enumerate() {
            let batch = batch(chunk, base_ms + n as i64 * 10_000);
            let produced = leader.produce(&self.topic(), 0, batch, -1).await?;
            anyhow::ensure!(produced.error_code == 0, "not filled: {}", produced.error_code);
        }
        Ok(())
    }

    /// The topic as the controller has it.
    pub(super) async fn described(&self) -> anyhow::Result<TopicDelta> {
        let name = TopicName::new(&self.topic()).context("its name")?;
        Ok(self.cluster.controllers().describe_topic(&name, WITHIN).await?)
    }
}

fn batch(values: &[String], base_ms: i64) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None);
    for (n, value) in values.iter().enumerate() {
        builder.push(base_ms + n as i64 * 1000, None, Some(value.as_bytes()), &[]);
    }
    builder.build()
}

/// `v0`, `v1`, …
pub(super) fn numbered(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|n| format!("v{n}")).collect()
}

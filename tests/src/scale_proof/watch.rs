use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{Cluster, Rest};

/// Looks at a cluster from outside, and has its nodes leave.
pub(super) struct Watch {
    rest: Rest,
    http: Vec<String>,
    kafka: Vec<String>,
}

const LOOK_EVERY: Duration = Duration::from_millis(200);
const SAY_EVERY: Duration = Duration::from_secs(5);
const MOVED: &str = "anabranch_storage_move_bytes_total{direction=\"in\"} ";

impl Watch {
    pub(super) fn new(cluster: &Cluster) -> Self {
        let all = 0..super::ALL;
        let http = all.clone().map(|n| cluster.storage_http_address(n)).collect();
        Self { rest: cluster.rest(0), http, kafka: all.map(|n| cluster.kafka_address(n)).collect() }
    }

    pub(super) fn bootstrap(&self, nodes: usize) -> String {
        self.kafka[..nodes].join(",")
    }

    pub(super) async fn create_topic(
        &self,
        topic: &str,
        partitions: i32,
        replicas: u64,
    ) -> anyhow::Result<()> {
        let body = json!({
            "topic_name": topic, "partitions_count": partitions, "replication_factor": replicas,
            "configs": [{"name": "min.insync.replicas", "value": "2"}],
        });
        let path = format!("/v3/clusters/{}/topics", self.rest.cluster_id().await);
        let (status, answer) = self.rest.post(&path, &body).await;
        ensure!(status == StatusCode::CREATED, "the topic was not made: {answer}");
        Ok(())
    }

    pub(super) fn replica_count(&self, partitions: i32, replicas: u64) -> u64 {
        u64::try_from(partitions).unwrap_or(0) * replicas
    }

    /// Waits, and says now and then how far it is.
    pub(super) async fn until(
        &self,
        within: Duration,
        what: &str,
        reached: impl AsyncFn() -> bool,
    ) -> anyhow::Result<()> {
        let (begun, mut said) = (Instant::now(), Instant::now());
        while !reached().await {
            if begun.elapsed() > within {
                bail!("not within {} s: {what}; {}", within.as_secs(), self.rebalance().await);
            }
            if said.elapsed() > SAY_EVERY {
                said = Instant::now();
                let now = self.rebalance().await;
                let under_way = now["under_way"].as_array().map_or(0, Vec::len);
                eprintln!(
                    "{:>4} s, waiting: {what}; {under_way} moves under way, {} to come, {} MB left at {} MB/s of {}",
                    begun.elapsed().as_secs(),
                    now["moves_planned"],
                    megabytes(&now["bytes_left"]),
                    megabytes(&now["bytes_per_second"]),
                    megabytes(&now["bytes_per_second_max"]),
                );
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    async fn rebalance(&self) -> Value {
        self.rest.get("/admin/v1/rebalance").await.1
    }

    /// Nothing moves, and nothing is to.
    pub(super) async fn is_settled(&self) -> bool {
        let now = self.rebalance().await;
        now["under_way"] == json!([]) && now["moves_planned"] == 0
    }

    /// Each of the first nodes has its share of so many replicas.
    pub(super) async fn is_even(&self, nodes: usize, replicas: u64) -> bool {
        let share = replicas / nodes as u64;
        for n in 0..nodes {
            if !self.replicas(n).await.is_some_and(|has| (share..=share + 1).contains(&has)) {
                return false;
            }
        }
        true
    }

    pub(super) async fn replicas(&self, node: usize) -> Option<u64> {
        let (_, list) = self.rest.get("/admin/v1/nodes").await;
        let found = list["nodes"].as_array()?.iter().find(|n| n["node_id"] == node)?;
        found["replicas"].as_u64()
    }

    /// What a node's replicas take, in bytes.
    pub(super) async fn bytes_on(&self, node: usize) -> anyhow::Result<u64> {
        let now = self.rebalance().await;
        let nodes = now["nodes"].as_array().cloned().unwrap_or_default();
        let used = nodes.iter().find(|n| n["node_id"] == node).and_then(|n| n["disk_used_bytes"].as_u64());
        match used {
            Some(used) => Ok(used),
            None => bail!("node {node} has not told how much it has: {now}"),
        }
    }

    /// All replicas together, in bytes.
    pub(super) async fn bytes_of(&self, _: &str) -> anyhow::Result<u64> {
        let mut all = 0;
        for node in 0..self.http.len() {
            all += self.bytes_on(node).await?;
        }
        Ok(all)
    }

    /// What the first nodes took in of what moved to them, since they were started.
    pub(super) async fn moved_bytes(&self, nodes: usize) -> u64 {
        let mut all = 0;
        for node in 0..nodes {
            all += self.moved_bytes_of(node).await;
        }
        all
    }

    pub(super) async fn moved_bytes_of(&self, node: usize) -> u64 {
        let Ok(answer) = reqwest::get(format!("http://{}/metrics", self.http[node])).await else { return 0 };
        let text = answer.text().await.unwrap_or_default();
        let count = text.lines().find_map(|line| line.strip_prefix(MOVED)?.parse::<f64>().ok());
        count.map_or(0, |count| count as u64)
    }

    pub(super) async fn drain(&self, node: usize) -> anyhow::Result<()> {
        let (status, answer) = self.rest.post(&format!("/admin/v1/nodes/{node}/drain"), &json!({})).await;
        ensure!(status == StatusCode::OK, "node {node} was not drained: {answer}");
        Ok(())
    }

    pub(super) async fn remove(&self, node: usize) -> anyhow::Result<()> {
        let (status, answer) = self.rest.delete(&format!("/admin/v1/nodes/{node}")).await;
        ensure!(status == StatusCode::NO_CONTENT, "node {node} was not removed: {answer}");
        Ok(())
    }

    /// The smallest ISR of the topic.
    pub(super) async fn least_in_sync(&self, topic: &str) -> u64 {
        let (_, answer) = self.rest.get(&format!("/admin/v1/topics/{topic}/partitions")).await;
        let partitions = answer["partitions"].as_array().cloned().unwrap_or_default();
        let in_sync = partitions.iter().map(|p| p["in_sync"].as_array().map_or(0, Vec::len) as u64);
        in_sync.min().unwrap_or(0)
    }
}

fn megabytes(bytes: &Value) -> u64 {
    bytes.as_u64().unwrap_or(0) / 1_000_000
}

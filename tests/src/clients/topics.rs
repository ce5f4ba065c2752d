//! Topics, their settings and their records, as administrators change them.

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::{
    Feature,
    cell::same,
    setup::{Setup, numbered},
};

const FILLED: usize = 100;
const BEFORE: i64 = 30;
const CREATED: (i32, i16) = (4, 2);
const MORE_PARTITIONS: i32 = 5;
const RETENTION: &str = "retention.ms";
const DEFAULT: &str = "604800000";
const OTHER: &str = "1234567000";

const UNKNOWN_TOPIC: i64 = 3;
const TOPIC_EXISTS: i64 = 36;
const INVALID_PARTITIONS: i64 = 37;
const INVALID_CONFIG: i64 = 40;

pub(super) async fn prepare(setup: &Setup<'_>) -> anyhow::Result<Value> {
    let (partitions, replication) = CREATED;
    match setup.cell.feature {
        Feature::CreateTopic => {
            let configs = json!({RETENTION: OTHER});
            return Ok(json!({"partitions": partitions, "replication": replication, "configs": configs}));
        }
        Feature::DescribeTopics => setup.create(3).await?,
        Feature::CreatePartitions => setup.create(2).await?,
        _ => setup.create(1).await?,
    }
    if setup.cell.feature == Feature::DeleteRecords {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
        setup.fill(&numbered(0, FILLED), now.as_millis() as i64).await?;
    }
    Ok(json!({
        "partition": 0, "before": BEFORE, "partitions": MORE_PARTITIONS,
        "config": RETENTION, "value": OTHER, "wrong": "soon",
    }))
}

pub(super) async fn judge(setup: &Setup<'_>, told: &Value) -> anyhow::Result<()> {
    let again = told["again"].as_i64();
    match setup.cell.feature {
        Feature::CreateTopic => {
            same("the second time", again, Some(TOPIC_EXISTS))?;
            let topic = setup.described().await?;
            let (partitions, replication) = CREATED;
            same("partitions", topic.partitions.len(), partitions as usize)?;
            same("replicas", topic.partitions[0].1.replicas.len(), replication as usize)?;
            same("its setting", topic.configs.get(RETENTION).map(String::as_str), Some(OTHER))
        }
        Feature::DescribeTopics => judge_described(setup, told).await,
        Feature::Configs => {
            same("the default", told["default"].as_str(), Some(DEFAULT))?;
            same("altered", told["altered"].as_str(), Some(OTHER))?;
            same("a wrong value", told["wrong"].as_i64(), Some(INVALID_CONFIG))?;
            same("reset", told["reset"].as_str(), Some(DEFAULT))
        }
        Feature::CreatePartitions => {
            same("the second time", again, Some(INVALID_PARTITIONS))?;
            same("partitions", setup.described().await?.partitions.len(), MORE_PARTITIONS as usize)
        }
        Feature::DeleteRecords => {
            same("where it begins, it was told", told["low"].as_i64(), Some(BEFORE))?;
            same("where it begins", told["first"].as_i64(), Some(BEFORE))
        }
        _ => {
            same("the second time", again, Some(UNKNOWN_TOPIC))?;
            ensure!(setup.described().await.is_err(), "the topic is still there");
            Ok(())
        }
    }
}

/// A storage node tells the cluster as it is; a gateway shows itself as the one broker that leads everything.
async fn judge_described(setup: &Setup<'_>, told: &Value) -> anyhow::Result<()> {
    same("listed", &told["listed"], &json!(true))?;
    let partitions = told["partitions"].as_array().context("partitions")?;
    let topic = setup.described().await?;
    same("partitions", partitions.len(), topic.partitions.len())?;
    for (number, partition) in &topic.partitions {
        let found = partitions.iter().find(|p| p["partition"].as_i64() == Some(number.0.into()));
        let found = found.with_context(|| format!("partition {number:?}"))?;
        let leader = found["leader"].as_i64();
        if setup.is_direct() {
            same("the leader", leader, partition.leader.map(|n| n.0.into()))?;
            same("replicas", found["replicas"].as_i64(), Some(3))?;
        } else {
            same("the one leader", leader, partitions[0]["leader"].as_i64())?;
            ensure!(found["replicas"].as_i64() >= Some(1), "no replica");
        }
        ensure!(found["isr"].as_i64() >= Some(1), "nobody is in sync");
    }
    Ok(())
}

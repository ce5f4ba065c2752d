//! Groups: sharing, rebalancing, committing, and their administration.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::{
    Feature,
    cell::same,
    setup::{Setup, numbered},
};

const PARTITIONS: i32 = 6;
const RECORDS: usize = 300;
const COUNT: usize = 100;
const FIRST: usize = 40;
const NON_EMPTY_GROUP: i64 = 68;

fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
}

pub(super) async fn prepare_shared(setup: &Setup<'_>) -> anyhow::Result<Value> {
    setup.create(PARTITIONS).await?;
    Ok(json!({"partitions": PARTITIONS, "records": RECORDS}))
}

/// Each record once, over both.
pub(super) fn judge_shared(told: &Value) -> anyhow::Result<()> {
    let members = told["members"].as_array().context("members")?;
    same("members", members.len(), 2)?;
    let mut all = Vec::new();
    for member in members {
        let values = strings(&member["values"]);
        ensure!(!values.is_empty(), "a member was given nothing");
        all.extend(values);
    }
    same("records", all.len(), RECORDS)?;
    let expected: BTreeSet<String> = numbered(0, RECORDS).into_iter().collect();
    same("each record once", all.into_iter().collect(), expected)
}

/// Nothing is lost; what was read and not committed may come again.
pub(super) fn judge_rebalance(told: &Value) -> anyhow::Result<()> {
    let sent = told["sent"].as_u64().context("how many were sent")? as usize;
    ensure!(sent > 0, "nothing was sent");
    let read: BTreeSet<String> = strings(&told["values"]).into_iter().collect();
    let lost: Vec<String> = numbered(0, sent).into_iter().filter(|v| !read.contains(v)).collect();
    ensure!(lost.is_empty(), "lost {lost:?}");
    Ok(())
}

/// When the second of two joined, the first kept its half throughout.
pub(super) fn judge_kept(told: &Value) -> anyhow::Result<()> {
    let kept = told["kept"].as_array().map_or(0, Vec::len);
    same("partitions that never moved", kept, PARTITIONS as usize / 2)
}

pub(super) async fn prepare_commit(setup: &Setup<'_>) -> anyhow::Result<Value> {
    setup.create(1).await?;
    setup.fill(&numbered(0, COUNT), now_ms()).await?;
    Ok(json!({"count": COUNT, "first": FIRST}))
}

fn now_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    now.as_millis() as i64
}

pub(super) fn judge_commit(told: &Value) -> anyhow::Result<()> {
    same("what is committed", told["committed"].as_u64(), Some(FIRST as u64))?;
    same("the rest", strings(&told["rest"]), numbered(FIRST, COUNT))
}

pub(super) async fn prepare_described(setup: &Setup<'_>) -> anyhow::Result<Value> {
    setup.create(2).await?;
    Ok(json!({"partitions": 2}))
}

pub(super) fn judge_described(feature: Feature, told: &Value) -> anyhow::Result<()> {
    match feature {
        Feature::ListGroups => same("listed", &told["listed"], &json!(true)),
        Feature::DescribeGroups => {
            same("state", &told["state"], &json!("STABLE"))?;
            same("members and their partitions", &told["members"], &json!([[0, 1]]))
        }
        _ => {
            same("the error while it has a member", told["busy"].as_i64(), Some(NON_EMPTY_GROUP))?;
            same("listed", &told["listed"], &json!(false))
        }
    }
}

pub(super) async fn prepare_offsets(setup: &Setup<'_>) -> anyhow::Result<Value> {
    setup.create(2).await?;
    setup.fill(&numbered(0, COUNT), now_ms()).await?;
    Ok(json!({"partition": 0, "committed": {"0": 10, "1": 0}, "altered": {"0": 5}}))
}

pub(super) fn judge_offsets(feature: Feature, told: &Value) -> anyhow::Result<()> {
    let expected = match feature {
        Feature::ListOffsets => json!({"0": 10, "1": 0}),
        Feature::AlterOffsets => json!({"0": 5, "1": 0}),
        _ => json!({"1": 0}),
    };
    same("offsets", &told["offsets"], &expected)
}

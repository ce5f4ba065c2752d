//! Producing and reading.

use std::process::Command;

use anyhow::{Context, ensure};
use records::{BatchHeader, Compression};
use serde_json::{Value, json};

use super::{
    Feature,
    cell::same,
    setup::{Setup, numbered},
};

const FILLED: usize = 100;
const FROM: usize = 40;
const MORE: [&str; 3] = ["m0", "m1", "m2"];
/// A whole number of seconds, within the retention time.
fn base_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    (now.as_secs() as i64 - 86_400) * 1000
}

pub(super) async fn prepare_produce(setup: &Setup<'_>) -> anyhow::Result<Value> {
    setup.create(1).await?;
    let feature = setup.cell.feature;
    let compression = feature.name().strip_prefix("produce-").unwrap_or("none");
    let idempotent = feature == Feature::Idempotent;
    Ok(json!({
        "partition": 0, "records": to_produce(feature), "compression": compression, "idempotent": idempotent,
    }))
}

fn to_produce(feature: Feature) -> Vec<Value> {
    let record = |key: Option<&str>, value: Option<&str>| json!({"key": key, "value": value, "headers": [], "timestamp": null});
    match feature {
        Feature::Headers => {
            let headers = [
                json!([["trace", "1"], ["trace", "2"], ["länge", "zwölf"]]),
                json!([["empty", ""]]),
                json!([]),
            ];
            let with = |(n, headers): (usize, Value)| json!({"key": "k", "value": format!("v{n}"), "headers": headers, "timestamp": null});
            headers.into_iter().enumerate().map(with).collect()
        }
        Feature::Keys => vec![
            record(Some("key"), Some("value")),
            record(Some(""), Some("under an empty key")),
            record(None, Some("without a key")),
            record(Some("key"), Some("")),
            record(Some("key"), None),
        ],
        Feature::Timestamps => {
            let at = |n: i64| json!({"key": null, "value": format!("v{n}"), "headers": [], "timestamp": base_ms() + n * 60_000});
            (0..5).map(at).collect()
        }
        _ => (0..200).map(|n| record(None, Some(&format!("{n} {}", "compressible ".repeat(8))))).collect(),
    }
}

pub(super) async fn judge_produce(setup: &Setup<'_>, arguments: &Value, told: &Value) -> anyhow::Result<()> {
    let sent = arguments["records"].as_array().context("records")?;
    let read = told["read"].as_array().context("what it read")?;
    same("records that it read", read.len(), sent.len())?;
    for (sent, read) in sent.iter().zip(read) {
        same_record(sent, read)?;
    }
    let by_kcat = read_by_kcat(setup).await?;
    same("what kcat read", by_kcat, sent.iter().map(as_kcat_prints).collect())?;
    judge_batches(setup, arguments).await
}

/// Where the client was told no time, it took the clock's.
fn same_record(sent: &Value, read: &Value) -> anyhow::Result<()> {
    for field in ["key", "value", "headers"] {
        same(field, &read[field], &sent[field])?;
    }
    match sent["timestamp"].as_i64() {
        Some(time) => same("timestamp", read["timestamp"].as_i64(), Some(time)),
        None => {
            let age_ms = base_ms() + 86_400_000 - read["timestamp"].as_i64().unwrap_or_default();
            ensure!(age_ms.abs() < 600_000, "the timestamp is {age_ms} ms old");
            Ok(())
        }
    }
}

/// Lengths tell what is null from what is empty.
const FORMAT: &str = "%K %S %k %s %h\n";

fn as_kcat_prints(record: &Value) -> String {
    let length = |field: &str| record[field].as_str().map_or(-1, |text| text.len() as i64);
    let text = |field: &str| record[field].as_str().unwrap_or_default().to_owned();
    let header = |pair: &Value| {
        format!("{}={}", pair[0].as_str().unwrap_or_default(), pair[1].as_str().unwrap_or_default())
    };
    let headers: Vec<String> = record["headers"].as_array().into_iter().flatten().map(header).collect();
    let (key, value) = (text("key"), text("value"));
    format!("{} {} {key} {value} {}", length("key"), length("value"), headers.join(","))
}

async fn read_by_kcat(setup: &Setup<'_>) -> anyhow::Result<Vec<String>> {
    let mut command = Command::new("timeout");
    command.args([
        "40",
        "kcat",
        "-b",
        &setup.cluster.kafka_address(0),
        "-C",
        "-t",
        &setup.topic(),
        "-p",
        "0",
    ]);
    command.env_remove("LD_LIBRARY_PATH");
    command.args(["-o", "beginning", "-e", "-q", "-f", FORMAT]);
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    ensure!(output.status.success(), "kcat: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.lines().map(str::to_owned).collect())
}

/// The batches must be as the client was told to make them.
async fn judge_batches(setup: &Setup<'_>, arguments: &Value) -> anyhow::Result<()> {
    let leader = setup.leader(0).await;
    let batch = leader.fetch(&setup.topic(), 0, 0, 0).await?.records.context("records")?;
    let header = BatchHeader::parse(&batch)?;
    let compression = match arguments["compression"].as_str() {
        Some("gzip") => Compression::Gzip,
        Some("snappy") => Compression::Snappy,
        Some("lz4") => Compression::Lz4,
        Some("zstd") => Compression::Zstd,
        _ => Compression::None,
    };
    same("the batch's compression", header.attributes.compression()?, compression)?;
    if arguments["idempotent"] == json!(true) {
        ensure!(header.producer_id.0 >= 0 && header.base_sequence == 0, "the batch is not idempotent");
    }
    Ok(())
}

pub(super) async fn prepare_assign(setup: &Setup<'_>) -> anyhow::Result<Value> {
    setup.create(1).await?;
    setup.fill(&numbered(0, FILLED), base_ms()).await?;
    Ok(json!({"partition": 0, "count": FILLED, "offset": FROM, "more": MORE}))
}

pub(super) fn judge_assign(told: &Value) -> anyhow::Result<()> {
    same("from the beginning", &told["beginning"], &json!(numbered(0, FILLED)))?;
    same("from an offset", &told["offset"], &json!(numbered(FROM, FILLED)))?;
    same("from the end", &told["end"], &json!(MORE))
}

/// A time between two records, in seconds after the first.
const SOUGHT_S: f64 = 42.5;

pub(super) async fn prepare_seek(setup: &Setup<'_>) -> anyhow::Result<Value> {
    setup.create(1).await?;
    let base_ms = base_ms();
    setup.fill(&numbered(0, FILLED), base_ms).await?;
    Ok(json!({"partition": 0, "time": base_ms + (SOUGHT_S * 1000.0) as i64}))
}

pub(super) fn judge_seek(told: &Value) -> anyhow::Result<()> {
    let found = SOUGHT_S.ceil() as i64;
    same("the offset", told["offset"].as_i64(), Some(found))?;
    same("the record", told["value"].as_str(), Some(&*format!("v{found}")))
}

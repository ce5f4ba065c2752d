//! The rdkafka crate, as a program that the tests run: `rdkafka-driver FEATURE BOOTSTRAP ARGUMENTS` prints one line of JSON,
//! as `entry.py` says.

mod admin;
mod groups;
mod records;

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rdkafka::{ClientConfig, config::RDKafkaLogLevel};
use serde::Deserialize;
use serde_json::{Value, json};

const WITHIN: Duration = Duration::from_secs(40);
const POLL: Duration = Duration::from_millis(20);
const NOT_IN_ADMIN: &str = "the crate's admin client has no such call";

/// What a test says to all features; each reads what concerns it.
#[derive(Deserialize)]
#[serde(default)]
struct Arguments {
    topic: String,
    group: String,
    partition: i32,
    partitions: i32,
    replication: i32,
    records: Value,
    compression: String,
    idempotent: bool,
    count: usize,
    first: usize,
    offset: i64,
    before: i64,
    time: i64,
    more: Vec<String>,
    configs: std::collections::BTreeMap<String, String>,
    config: String,
    value: String,
    wrong: String,
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            topic: String::new(),
            group: String::new(),
            partition: 0,
            partitions: 0,
            replication: 0,
            records: Value::Null,
            compression: "none".to_owned(),
            idempotent: false,
            count: 0,
            first: 0,
            offset: 0,
            before: 0,
            time: 0,
            more: Vec::new(),
            configs: Default::default(),
            config: String::new(),
            value: String::new(),
            wrong: String::new(),
        }
    }
}

struct Driver {
    bootstrap: String,
    arguments: Arguments,
}

impl Driver {
    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap).set_log_level(RDKafkaLogLevel::Emerg);
        config
    }

    async fn run(&self, feature: &str) -> anyhow::Result<Value> {
        match feature {
            "produce-none" | "produce-gzip" | "produce-snappy" | "produce-lz4" | "produce-zstd"
            | "idempotent" | "headers" | "keys" | "timestamps" => self.produce(),
            "assign" => self.assign(),
            "seek-time" => self.seek_time(),
            "group" => self.group(),
            "rebalance" => self.rebalance("range,roundrobin"),
            "cooperative" => self.rebalance("cooperative-sticky"),
            "commit" => self.commit(),
            "create-topic" => self.create_topic().await,
            "describe-topics" => self.describe_topics(),
            "configs" => self.configs().await,
            "create-partitions" => self.create_partitions().await,
            "delete-records" => self.delete_records().await,
            "delete-topic" => self.delete_topic().await,
            "list-groups" => self.list_groups(),
            "describe-groups" => self.describe_groups(),
            "delete-groups" => self.delete_groups().await,
            other => bail!("unknown feature {other}"),
        }
    }
}

/// What the crate has no way to do.
fn absent(feature: &str) -> Option<&'static str> {
    ["list-offsets", "alter-offsets", "delete-offsets"].contains(&feature).then_some(NOT_IN_ADMIN)
}

/// Takes a step again and again until the condition holds.
fn until<T>(
    what: &str,
    state: &mut T,
    holds: impl Fn(&T) -> bool,
    mut step: impl FnMut(&mut T) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + WITHIN;
    while !holds(state) {
        if Instant::now() > deadline {
            bail!("{what}: not within {WITHIN:?}");
        }
        step(state)?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [feature, bootstrap, arguments] = &arguments[..] else {
        bail!("rdkafka-driver FEATURE BOOTSTRAP ARGUMENTS");
    };
    let result = match (feature.as_str(), absent(feature)) {
        ("version", _) => json!({"ok": {"version": version()}}),
        (_, Some(reason)) => json!({"absent": reason}),
        (feature, None) => {
            let arguments = serde_json::from_str(arguments).context("the arguments")?;
            json!({"ok": Driver { bootstrap: bootstrap.clone(), arguments }.run(feature).await?})
        }
    };
    println!("{result}");
    Ok(())
}

/// The crate does not tell its own.
fn version() -> String {
    let lock = include_str!("../../../Cargo.lock");
    let after = lock.split("name = \"rdkafka\"\nversion = \"").nth(1).unwrap_or_default();
    let own = after.split('"').next().unwrap_or_default();
    format!("{own} (librdkafka {})", rdkafka::util::get_rdkafka_version().1)
}

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context, ensure};
use serde_json::Value;

/// A client, as a column of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Column {
    Kcat,
    Confluent,
    ConfluentConsumer,
    KafkaPython,
    Kafkajs,
    Rdkafka,
}

/// A driver gives up by itself before that; one that hangs is ended.
const SECONDS_MAX: &str = "150";

impl Column {
    pub const ALL: [Column; 6] = [
        Column::Kcat,
        Column::Confluent,
        Column::ConfluentConsumer,
        Column::KafkaPython,
        Column::Kafkajs,
        Column::Rdkafka,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Column::Kcat => "kcat",
            Column::Confluent => "confluent",
            Column::ConfluentConsumer => "confluent-consumer",
            Column::KafkaPython => "kafka-python",
            Column::Kafkajs => "kafkajs",
            Column::Rdkafka => "rdkafka",
        }
    }

    /// What stands above the column, with the version.
    pub fn heading(self) -> &'static str {
        match self {
            Column::Kcat => "kcat",
            Column::Confluent => "confluent-kafka",
            Column::ConfluentConsumer => "the same with `group.protocol=consumer`",
            Column::KafkaPython => "kafka-python",
            Column::Kafkajs => "kafkajs",
            Column::Rdkafka => "rdkafka (Rust)",
        }
    }

    /// The group protocol that it is told to speak, where it has the choice.
    pub fn protocol(self) -> &'static str {
        match self {
            Column::ConfluentConsumer => "consumer",
            _ => "classic",
        }
    }

    /// Nothing where the column before it is of the same client.
    pub async fn version(self) -> anyhow::Result<String> {
        if self == Column::ConfluentConsumer {
            return Ok(String::new());
        }
        let told = self.drive("version", "", &Value::Null).await?;
        Ok(told["ok"]["version"].as_str().context("a version")?.to_owned())
    }

    /// Runs the driver; the line that it prints.
    pub async fn drive(self, feature: &str, bootstrap: &str, arguments: &Value) -> anyhow::Result<Value> {
        let mut command = self.command();
        command.args([feature, bootstrap, &arguments.to_string()]);
        let output = tokio::task::spawn_blocking(move || command.output()).await?;
        told(&output.context("the driver starts")?)
    }

    /// The driver's program, still without arguments. `timeout` ends what it has started, too.
    fn command(self) -> Command {
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", SECONDS_MAX]).env("PYTHONDONTWRITEBYTECODE", "1");
        // Cargo lets tests find the librdkafka that it built: clients are to use their own.
        command.env_remove("LD_LIBRARY_PATH");
        let python = installed("venv/bin/python3");
        match self {
            Column::Kcat => command.arg(python).arg(driver("kcat/driver.py")),
            Column::Confluent | Column::ConfluentConsumer => {
                command.arg(python).arg(driver("confluent/driver.py"))
            }
            Column::KafkaPython => command.arg(python).arg(driver("kafka-python/driver.py")),
            Column::Kafkajs => command
                .env("NODE_PATH", installed("node_modules"))
                .arg("node")
                .arg(driver("kafkajs/driver.js")),
            Column::Rdkafka => command.arg(crate::binary("rdkafka-driver")),
        };
        command
    }
}

fn told(output: &Output) -> anyhow::Result<Value> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let errors = text(&output.stderr);
    ensure!(output.status.success(), "{}\n{errors}", output.status);
    let line = text(&output.stdout);
    serde_json::from_str(&line).with_context(|| format!("told {line:?}\n{errors}"))
}

fn driver(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(file)
}

/// Where `scripts/clients.sh` puts what it installs: `clients` in the target folder.
pub(super) fn folder() -> PathBuf {
    let profile = crate::binary("controller");
    let profile = profile.parent().expect("a binary is in a folder").canonicalize();
    profile.expect("it exists").join("../clients")
}

fn installed(file: &str) -> PathBuf {
    let path = folder().join(file);
    assert!(path.exists(), "{} is not there: run scripts/clients.sh", path.display());
    path
}

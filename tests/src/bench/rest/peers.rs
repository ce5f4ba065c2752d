//! Apache Kafka and the bridges to it, as processes.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::Args;
use tempfile::TempDir;

use crate::{faults::admin::Admin, free_port};

/// Where they are; scripts/rest-bench.sh sees to it.
#[derive(Clone, Debug, Args)]
pub struct Installed {
    /// A folder with Apache Kafka's jars.
    #[arg(long, value_name = "DIR")]
    kafka: Option<PathBuf>,
    /// A folder with the jars of Strimzi's bridge.
    #[arg(long, value_name = "DIR")]
    strimzi: Option<PathBuf>,
    /// Karapace's REST proxy.
    #[arg(long, value_name = "PROGRAM")]
    karapace: Option<PathBuf>,
    /// Java for Kafka and for Strimzi's bridge.
    #[arg(long, value_name = "PROGRAM", default_value = "java")]
    java: PathBuf,
    /// How long the bridges' producers wait for company, in ms. Of themselves Strimzi's waits for 5, Karapace's for 100.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub their_linger_ms: u32,
}

/// One broker, controller and all.
pub struct Kafka {
    process: Running,
    address: String,
    folder: TempDir,
}

/// A REST proxy before it.
pub struct Bridge {
    process: Running,
    pub address: String,
    /// Its configuration.
    _folder: TempDir,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Strimzi,
    Karapace,
}

/// Killed when dropped.
struct Running {
    child: Child,
    log: PathBuf,
}

const READY_MAX: Duration = Duration::from_secs(90);
/// As Kafka's own start script has it, but for the heap.
const BROKER_JAVA: [&str; 5] =
    ["-Xms1g", "-Xmx1g", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35"];
const BRIDGE_JAVA: [&str; 2] = ["-Xmx1g", "-XX:+UseG1GC"];

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Strimzi => "Strimzi",
            Self::Karapace => "Karapace",
        }
    }
}

impl Installed {
    /// Those that can be started.
    pub fn kinds(&self) -> Vec<Kind> {
        let there = [(Kind::Strimzi, &self.strimzi), (Kind::Karapace, &self.karapace)];
        there.iter().filter(|(_, place)| place.is_some()).map(|(kind, _)| *kind).collect()
    }

    fn java(&self, options: &[&str], jars: &Path, main: &str) -> Command {
        let mut command = Command::new(&self.java);
        command.args(options).arg("-cp").arg(jars.join("*")).arg(main);
        command
    }

    /// Formats a folder and starts a broker on it.
    pub async fn start_kafka(&self) -> anyhow::Result<Kafka> {
        let jars = self.kafka.as_deref().context("--kafka is not given")?;
        let folder = tempfile::tempdir()?;
        let (port, controller) = (free_port(), free_port());
        let data = folder.path().join("data").display().to_string();
        let configuration = [
            "process.roles=broker,controller".to_owned(),
            "node.id=1".to_owned(),
            format!("controller.quorum.voters=1@127.0.0.1:{controller}"),
            format!("listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}"),
            "controller.listener.names=CONTROLLER".to_owned(),
            format!("log.dirs={data}"),
            "offsets.topic.replication.factor=1".to_owned(),
            "auto.create.topics.enable=false".to_owned(),
            "log.segment.delete.delay.ms=1000".to_owned(),
        ];
        let file = folder.path().join("server.properties");
        std::fs::write(&file, configuration.join("\n"))?;
        let id = URL_SAFE_NO_PAD.encode(uuid::Uuid::new_v4());
        let mut format = self.java(&[], jars, "kafka.tools.StorageTool");
        let formatted = format.args(["format", "--cluster-id", &id, "--config"]).arg(&file).output()?;
        ensure!(formatted.status.success(), "{}", String::from_utf8_lossy(&formatted.stderr));
        let mut command = self.java(&BROKER_JAVA, jars, "kafka.Kafka");
        let mut process = Running::start(command.arg(&file), folder.path(), "kafka")?;
        let address = format!("127.0.0.1:{port}");
        process.listens(&address).await?;
        Ok(Kafka { process, address, folder })
    }

    /// Starts a bridge to the broker; acks=all, no compression.
    pub async fn start_bridge(&self, kind: Kind, kafka: &Kafka) -> anyhow::Result<Bridge> {
        let folder = tempfile::tempdir_in(kafka.folder.path())?;
        let port = free_port();
        let mut command = match kind {
            Kind::Strimzi => self.strimzi(kafka, folder.path(), port)?,
            Kind::Karapace => self.karapace(kafka, port)?,
        };
        let mut process = Running::start(&mut command, folder.path(), "bridge")?;
        let address = format!("127.0.0.1:{port}");
        process.listens(&address).await?;
        Ok(Bridge { process, address, _folder: folder })
    }

    fn strimzi(&self, kafka: &Kafka, folder: &Path, port: u16) -> anyhow::Result<Command> {
        let jars = self.strimzi.as_deref().context("--strimzi is not given")?;
        let configuration = [
            "bridge.id=bench".to_owned(),
            format!("kafka.bootstrap.servers={}", kafka.address),
            "kafka.producer.acks=all".to_owned(),
            "http.host=127.0.0.1".to_owned(),
            format!("http.port={port}"),
            format!("http.management.port={}", free_port()),
            "http.producer.enabled=true".to_owned(),
            "http.consumer.enabled=false".to_owned(),
            format!("kafka.producer.linger.ms={}", self.their_linger_ms),
        ];
        let file = folder.join("bridge.properties");
        std::fs::write(&file, configuration.join("\n"))?;
        let cache = format!("-Dvertx.cacheDirBase={}", folder.join("vertx").display());
        let options = [BRIDGE_JAVA[0], BRIDGE_JAVA[1], &cache];
        let mut command = self.java(&options, jars, "io.strimzi.kafka.bridge.Application");
        command.arg(format!("--config-file={}", file.display()));
        Ok(command)
    }

    fn karapace(&self, kafka: &Kafka, port: u16) -> anyhow::Result<Command> {
        let mut command = Command::new(self.karapace.as_deref().context("--karapace is not given")?);
        command
            .env("KARAPACE_BOOTSTRAP_URI", &kafka.address)
            .env("KARAPACE_HOST", "127.0.0.1")
            .env("KARAPACE_PORT", port.to_string())
            .env("KARAPACE_ADVERTISED_HOSTNAME", "127.0.0.1")
            .env("KARAPACE_KARAPACE_REST", "true")
            .env("KARAPACE_LOG_LEVEL", "WARNING")
            .env("KARAPACE_PRODUCER_ACKS", "all")
            .env("KARAPACE_PRODUCER_LINGER_MS", self.their_linger_ms.to_string());
        Ok(command)
    }
}

impl Kafka {
    pub fn admin(&self) -> Admin {
        Admin::new(vec![self.address.clone()])
    }

    pub fn pid(&self) -> u32 {
        self.process.child.id()
    }
}

impl Bridge {
    pub fn pid(&self) -> u32 {
        self.process.child.id()
    }
}

impl Running {
    fn start(command: &mut Command, folder: &Path, name: &str) -> anyhow::Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let file = File::create(&log)?;
        let program = command.get_program().display().to_string();
        command.current_dir(folder).stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("{program} does not start"))?;
        Ok(Self { child, log })
    }

    async fn listens(&mut self, address: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY_MAX;
        while tokio::net::TcpStream::connect(address).await.is_err() {
            let ended = self.child.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                let log = std::fs::read_to_string(&self.log).unwrap_or_default();
                bail!("nobody listens at {address}: {}", log.chars().take(4_000).collect::<String>());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Gone already, as a rule only after a failure that was told.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

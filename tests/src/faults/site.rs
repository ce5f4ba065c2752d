use std::{
    collections::BTreeMap,
    fs::File,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::{
    disk::Disk,
    network::{Host, Network},
};

/// What a site has.
#[derive(Clone, Debug)]
pub struct SiteSpec {
    pub controllers: u8,
    pub storage_nodes: u8,
    pub gateways: u8,
    /// The storage node whose disk has 64 MiB, if one has.
    pub small_disk: Option<u8>,
    /// More settings, `storage.key` and value; each goes to the services that its first word names, `log.` to all.
    pub settings: Vec<(String, String)>,
}

/// A cluster of real processes, each in a network namespace of its own.
pub struct Site {
    pub spec: SiteSpec,
    members: BTreeMap<String, Arc<Member>>,
    pub folder: PathBuf,
    /// Last: it goes when the namespaces on it are gone.
    _network: Network,
}

/// One process, whether it runs now or not.
pub struct Member {
    pub name: String,
    pub host: Host,
    program: &'static str,
    args: Vec<String>,
    /// Where its data is, if it has any.
    pub data: Option<PathBuf>,
    pub disk: Option<Disk>,
    log: PathBuf,
    http: String,
    state: Mutex<State>,
    /// Whoever does something to the process holds this.
    pub busy: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct State {
    child: Option<Child>,
    paused: bool,
    exits: Vec<String>,
}

const SMALL_DISK_MIB: u64 = 64;

impl Site {
    /// Everything but started.
    ///
    /// # Errors
    /// Namespaces, links or mounts cannot be made.
    pub fn new(folder: &Path, spec: SiteSpec) -> anyhow::Result<Self> {
        let network = Network::new()?;
        let seeds: Vec<String> = (0..spec.controllers).map(|n| format!("10.111.0.{}:7300", 10 + n)).collect();
        let mut site = Self {
            spec: spec.clone(),
            members: BTreeMap::new(),
            folder: folder.to_owned(),
            _network: network,
        };
        for n in 0..spec.controllers {
            let member = site.member("controller", n, 10, 7400, &seeds, |at, data| {
                vec![
                    ("controller.ordinal", n.to_string()),
                    ("controller.data_dir", data),
                    ("controller.rpc.listen", format!("{at}:7300")),
                    ("controller.http.listen", format!("{at}:7400")),
                    ("controller.rebalance.enabled", "false".to_owned()),
                ]
            })?;
            site.members.insert(member.name.clone(), Arc::new(member));
        }
        for n in 0..spec.storage_nodes {
            let member = site.member("storage-node", n, 20, 9600, &seeds, |at, data| {
                vec![
                    ("storage.node_id", n.to_string()),
                    ("storage.data_dir", data),
                    ("storage.kafka.listen", format!("{at}:9092")),
                    ("storage.http.listen", format!("{at}:9600")),
                ]
            })?;
            site.members.insert(member.name.clone(), Arc::new(member));
        }
        for n in 0..spec.gateways {
            let member = site.member("gateway", n, 30, 8082, &seeds, |at, _| {
                vec![
                    ("gateway.rest.listen", format!("{at}:8082")),
                    ("gateway.kafka.listen", format!("{at}:9192")),
                ]
            })?;
            site.members.insert(member.name.clone(), Arc::new(member));
        }
        Ok(site)
    }

    fn member(
        &self,
        program: &'static str,
        ordinal: u8,
        numbers_from: u8,
        http_port: u16,
        seeds: &[String],
        args: impl FnOnce(String, String) -> Vec<(&'static str, String)>,
    ) -> anyhow::Result<Member> {
        let name = format!("{program}-{ordinal}");
        let host = self._network.host(numbers_from + ordinal)?;
        let small = program == "storage-node" && self.spec.small_disk == Some(ordinal);
        let disk = small.then(|| Disk::new(&self.folder, &name, SMALL_DISK_MIB)).transpose()?;
        let data = disk.as_ref().map_or_else(|| self.folder.join(&name), Disk::data);
        let address = host.address.to_string();
        let mut all = vec![("controller.seeds", seeds.join(","))];
        all.extend(args(address.clone(), data.display().to_string()));
        let mut args: Vec<String> = all.into_iter().flat_map(|(k, v)| [format!("--{k}"), v]).collect();
        let prefix = match program {
            "storage-node" => "storage.",
            "controller" => "controller.",
            _ => "gateway.",
        };
        for (key, value) in &self.spec.settings {
            if key.starts_with(prefix) || key.starts_with("log.") {
                args.extend([format!("--{key}"), value.clone()]);
            }
        }
        Ok(Member {
            log: self.folder.join(format!("{name}.log")),
            http: format!("http://{address}:{http_port}"),
            data: (program != "gateway").then_some(data),
            name,
            host,
            program,
            args,
            disk,
            state: Mutex::default(),
            busy: Arc::default(),
        })
    }

    /// Starts everything that does not run, and lets go on what was stopped.
    ///
    /// # Errors
    /// A binary cannot be started.
    pub fn start_all(&self) -> anyhow::Result<()> {
        for member in self.members.values() {
            member.resume();
            member.start()?;
        }
        Ok(())
    }

    /// Waits until every process says that it is ready.
    ///
    /// # Errors
    /// One does not within the time; it is named, with the end of its log.
    pub async fn ready(&self, within: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + within;
        for member in self.members.values() {
            member.ready(deadline.saturating_duration_since(Instant::now())).await?;
        }
        Ok(())
    }

    pub fn members(&self) -> impl Iterator<Item = &Arc<Member>> {
        self.members.values()
    }

    pub fn member_named(&self, name: &str) -> anyhow::Result<Arc<Member>> {
        self.members.get(name).cloned().with_context(|| format!("there is no {name}"))
    }

    pub fn storage_nodes(&self) -> Vec<Arc<Member>> {
        self.members.values().filter(|m| m.program == "storage-node").cloned().collect()
    }

    pub fn controllers(&self) -> Vec<Arc<Member>> {
        self.members.values().filter(|m| m.program == "controller").cloned().collect()
    }

    /// `host:port` of every controller.
    pub fn seeds(&self) -> Vec<String> {
        self.controllers().iter().map(|m| format!("{}:7300", m.host.address)).collect()
    }

    /// `host:port` of every storage node's Kafka listener.
    pub fn bootstrap(&self) -> Vec<String> {
        self.storage_nodes().iter().map(|m| format!("{}:9092", m.host.address)).collect()
    }

    /// `host:port` of every gateway's Kafka listener.
    pub fn gateways_kafka(&self) -> Vec<String> {
        let gateways = self.members.values().filter(|m| m.program == "gateway");
        gateways.map(|m| format!("{}:9192", m.host.address)).collect()
    }

    /// The URL of every gateway.
    pub fn rest(&self) -> Vec<String> {
        self.members.values().filter(|m| m.program == "gateway").map(|m| m.http.clone()).collect()
    }

    /// Notes whose process has ended though nobody asked it to, and starts it again. What was noted, since the beginning.
    pub fn unexpected_exits(&self) -> Vec<String> {
        let mut all = Vec::new();
        for member in self.members.values() {
            if member.has_ended() {
                let _ = member.start();
            }
            all.extend(member.state.lock().unwrap().exits.clone());
        }
        all
    }

    /// Lines of all logs in which a thread says that it panicked, with the process's name.
    pub fn panics(&self) -> Vec<String> {
        let mut all = Vec::new();
        for member in self.members.values() {
            let log = std::fs::read(&member.log).unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            all.extend(
                log.lines().filter(|l| l.contains("panicked at")).map(|l| format!("{}: {l}", member.name)),
            );
        }
        all
    }
}

impl Member {
    /// Does nothing when it runs.
    ///
    /// # Errors
    /// The binary cannot be started.
    pub fn start(&self) -> anyhow::Result<()> {
        let mut state = self.state.lock().unwrap();
        if state.child.is_some() {
            return Ok(());
        }
        let log = || File::options().create(true).append(true).open(&self.log);
        let [enter, namespace] = self.host.enter();
        let child = Command::new(enter)
            .arg(namespace)
            .arg(crate::binary(self.program))
            .args(&self.args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("RUST_BACKTRACE", "1")
            // Ctrl-C is for this process; it ends the others.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log()?)
            .stderr(log()?)
            .spawn()
            .with_context(|| format!("{} does not start", self.name))?;
        state.child = Some(child);
        state.paused = false;
        Ok(())
    }

    pub fn pid(&self) -> Option<u32> {
        self.state.lock().unwrap().child.as_ref().map(Child::id)
    }

    fn signal(state: &State, signal: Signal) {
        if let Some(child) = &state.child {
            let _ = kill_process(Pid::from_child(child), signal);
        }
    }

    /// kill -9, and waits for the end.
    pub fn kill(&self) {
        let mut state = self.state.lock().unwrap();
        if let Some(mut child) = state.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        state.paused = false;
    }

    /// SIGSTOP.
    pub fn pause(&self) {
        let mut state = self.state.lock().unwrap();
        Self::signal(&state, Signal::STOP);
        state.paused = true;
    }

    /// SIGCONT, if it was paused.
    pub fn resume(&self) {
        let mut state = self.state.lock().unwrap();
        if std::mem::take(&mut state.paused) {
            Self::signal(&state, Signal::CONT);
        }
    }

    /// SIGTERM, and waits.
    ///
    /// # Errors
    /// It did not end within the time (and was killed), or not with 0.
    pub async fn terminate(&self, within: Duration) -> anyhow::Result<()> {
        let Some(mut child) = self.state.lock().unwrap().child.take() else { return Ok(()) };
        let _ = kill_process(Pid::from_child(&child), Signal::TERM);
        let begun = Instant::now();
        while begun.elapsed() < within {
            if let Some(status) = child.try_wait()? {
                ensure!(status.success(), "{} ended with {status} after SIGTERM", self.name);
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let _ = child.kill();
        let _ = child.wait();
        anyhow::bail!("{} did not end within {within:?} after SIGTERM", self.name)
    }

    /// Whether it ended by itself; then that is noted, once.
    fn has_ended(&self) -> bool {
        let mut state = self.state.lock().unwrap();
        let Some(Ok(Some(status))) = state.child.as_mut().map(Child::try_wait) else { return false };
        state.child = None;
        state.exits.push(format!("{} ended by itself: {status}: {}", self.name, self.last_lines(3)));
        true
    }

    /// The end of its log.
    pub fn last_lines(&self, count: usize) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().rev().take(count).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Waits until it says that it is ready.
    ///
    /// # Errors
    /// It does not within the time.
    pub async fn ready(&self, within: Duration) -> anyhow::Result<()> {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(2)).no_proxy().build()?;
        let url = format!("{}/readyz", self.http);
        let deadline = Instant::now() + within;
        loop {
            let said = match client.get(&url).send().await {
                Ok(answer) if answer.status().is_success() => return Ok(()),
                Ok(answer) => answer.text().await.unwrap_or_default(),
                Err(error) => error.to_string(),
            };
            ensure!(
                Instant::now() < deadline,
                "{} is not ready after {within:?}: {}; its log ends with\n{}",
                self.name,
                said.trim(),
                self.last_lines(5)
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}

use std::{collections::BTreeMap, path::Path, time::Duration};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::{KafkaClient, Process, Rest, free_port, wait_until};

/// How many of each service a cluster has.
#[derive(Clone, Copy, Debug)]
pub struct ClusterSpec {
    pub controllers: usize,
    pub storage_nodes: usize,
    pub gateways: usize,
}

/// Real processes on loopback with free ports, by name: `controller-0`, `storage-node-1`, `gateway-0`.
pub struct Cluster {
    services: BTreeMap<String, Service>,
    running: BTreeMap<String, Process>,
    storage_ports: Vec<u16>,
    storage_http: Vec<u16>,
    gateway_ports: Vec<u16>,
    gateway_kafka: Vec<u16>,
    seeds: Vec<String>,
    /// Last, so that the processes are gone, and a failed test has shown their logs, before it is.
    folder: TempDir,
}

struct Service {
    program: &'static str,
    args: Vec<String>,
}

/// Most tests stop nodes though others are gone, and none waits long for that.
const STOP_WAIT_MS_MAX: &str = "2000";
const READY_MAX: Duration = Duration::from_secs(30);

fn args(pairs: &[(&str, String)]) -> Vec<String> {
    pairs.iter().flat_map(|(key, value)| [format!("--{key}"), value.clone()]).collect()
}

fn local(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

impl Cluster {
    /// Starts everything and waits until every node is ready.
    pub async fn start(spec: ClusterSpec) -> Self {
        Self::start_with(spec, &[]).await
    }

    /// One of each.
    pub async fn small() -> Self {
        Self::start(ClusterSpec { controllers: 1, storage_nodes: 1, gateways: 1 }).await
    }

    /// As [`Cluster::start`], with more settings; each goes to the services that its first word names.
    pub async fn start_with(spec: ClusterSpec, settings: &[(&str, &str)]) -> Self {
        let mut cluster = Self::prepare(spec, settings);
        let names: Vec<String> = cluster.services.keys().cloned().collect();
        names.iter().for_each(|name| cluster.start_one(name));
        cluster.ready().await;
        cluster
    }

    /// Everything but started.
    pub fn prepare(spec: ClusterSpec, settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let ports = |count: usize| -> Vec<u16> { (0..count).map(|_| free_port()).collect() };
        let controller_ports = ports(spec.controllers);
        let storage_ports = ports(spec.storage_nodes);
        let storage_http = ports(spec.storage_nodes);
        let gateway_ports = ports(spec.gateways);
        let gateway_kafka = ports(spec.gateways);
        let seeds: Vec<String> = controller_ports.iter().copied().map(local).collect();
        let data = |name: &str| folder.path().join(name).display().to_string();
        let more = |prefix: &str| -> Vec<String> {
            let mine = settings.iter().filter(|(key, _)| key.starts_with(prefix) || key.starts_with("log."));
            mine.flat_map(|(key, value)| [format!("--{key}"), (*value).to_owned()]).collect()
        };
        // What holds where a test says nothing else.
        let unless = |key: &str, value: &str| -> Vec<String> {
            let said = settings.iter().any(|(said, _)| *said == key);
            if said { Vec::new() } else { vec![format!("--{key}"), value.to_owned()] }
        };
        let mut services = BTreeMap::new();
        for (n, port) in controller_ports.iter().enumerate() {
            let name = format!("controller-{n}");
            let mut args = args(&[
                ("controller.seeds", seeds.join(",")),
                ("controller.ordinal", n.to_string()),
                ("controller.data_dir", data(&name)),
                ("controller.rpc.listen", local(*port)),
                ("controller.http.listen", local(0)),
            ]);
            // Replicas stay where a test puts them, unless it is about moving them.
            args.extend(unless("controller.rebalance.enabled", "false"));
            args.extend(more("controller."));
            services.insert(name, Service { program: "controller", args });
        }
        for n in 0..spec.storage_nodes {
            let name = format!("storage-node-{n}");
            let mut args = args(&[
                ("controller.seeds", seeds.join(",")),
                ("storage.node_id", n.to_string()),
                ("storage.data_dir", data(&name)),
                ("storage.kafka.listen", local(storage_ports[n])),
                ("storage.http.listen", local(storage_http[n])),
            ]);
            args.extend(unless("storage.stop_wait_ms_max", STOP_WAIT_MS_MAX));
            args.extend(more("storage."));
            services.insert(name, Service { program: "storage-node", args });
        }
        for (n, port) in gateway_ports.iter().enumerate() {
            let mut args = args(&[
                ("controller.seeds", seeds.join(",")),
                ("gateway.rest.listen", local(*port)),
                ("gateway.kafka.listen", local(gateway_kafka[n])),
            ]);
            args.extend(more("gateway."));
            services.insert(format!("gateway-{n}"), Service { program: "gateway", args });
        }
        Self {
            folder,
            services,
            running: BTreeMap::new(),
            storage_ports,
            storage_http,
            gateway_ports,
            gateway_kafka,
            seeds,
        }
    }

    /// One more setting for one service, from its next start on.
    pub fn set(&mut self, name: &str, key: &str, value: &str) {
        let service = self.services.get_mut(name).unwrap_or_else(|| panic!("there is no {name}"));
        service.args.extend([format!("--{key}"), value.to_owned()]);
    }

    /// Where the data folders and logs are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn seeds(&self) -> Vec<String> {
        self.seeds.clone()
    }

    pub fn controllers(&self) -> rpc::ControllerClient {
        rpc::ControllerClient::new(self.seeds())
    }

    /// `host:port` of a storage node's Kafka listener.
    pub fn kafka_address(&self, node: usize) -> String {
        local(self.storage_ports[node])
    }

    /// `host:port` of a storage node's HTTP listener.
    pub fn storage_http_address(&self, node: usize) -> String {
        local(self.storage_http[node])
    }

    pub fn kafka(&self, node: usize) -> KafkaClient {
        KafkaClient::new(&self.kafka_address(node))
    }

    /// `host:port` of a gateway's Kafka listener.
    pub fn gateway_kafka_address(&self, gateway: usize) -> String {
        local(self.gateway_kafka[gateway])
    }

    /// Kafka's protocol through a gateway.
    pub fn through(&self, gateway: usize) -> KafkaClient {
        KafkaClient::new(&self.gateway_kafka_address(gateway))
    }

    pub fn rest(&self, gateway: usize) -> Rest {
        Rest::new(&format!("http://{}", local(self.gateway_ports[gateway])))
    }

    /// The arguments that the service is started with.
    pub fn arguments(&self, name: &str) -> Vec<String> {
        self.services[name].args.clone()
    }

    pub fn start_one(&mut self, name: &str) {
        let service = &self.services[name];
        let process = Process::start(name, service.program, &service.args, self.folder.path());
        self.running.insert(name.to_owned(), process);
    }

    pub fn process(&mut self, name: &str) -> &mut Process {
        self.running.get_mut(name).unwrap_or_else(|| panic!("{name} is not running"))
    }

    /// The process id of everything that runs, by name.
    pub fn pids(&self) -> BTreeMap<String, u32> {
        self.running.iter().map(|(name, process)| (name.clone(), process.pid())).collect()
    }

    /// kill -9.
    pub fn kill(&mut self, name: &str) {
        self.process(name).kill();
        self.running.remove(name);
    }

    /// SIGTERM, and panics unless it ends with 0.
    pub fn terminate(&mut self, name: &str) {
        let mut process = self.running.remove(name).unwrap_or_else(|| panic!("{name} is not running"));
        assert!(process.terminate(Duration::from_secs(20)), "{name} failed:\n{}", process.log());
    }

    pub fn is_running(&mut self, name: &str) -> bool {
        self.running.get_mut(name).is_some_and(Process::is_running)
    }

    /// kill -9 of everything, as close to at once as it gets.
    pub fn kill_all(&mut self) {
        self.running.values().for_each(|p| p.signal(Signal::KILL));
        self.running.clear();
    }

    pub fn start_all(&mut self) {
        let names: Vec<String> =
            self.services.keys().filter(|n| !self.running.contains_key(*n)).cloned().collect();
        names.iter().for_each(|name| self.start_one(name));
    }

    /// SIGTERM to everything; panics unless each ends with 0.
    pub fn terminate_all(&mut self) {
        for order in ["gateway", "storage-node", "controller"] {
            for (name, process) in self.running.iter_mut().filter(|(name, _)| name.starts_with(order)) {
                assert!(process.terminate(Duration::from_secs(20)), "{name} failed:\n{}", process.log());
            }
        }
        self.running.clear();
    }

    /// Waits until every service that runs says that it is ready.
    pub async fn ready(&self) {
        let client = reqwest::Client::new();
        let up = |name: &str| self.running.contains_key(name);
        let nodes = (0..self.storage_http.len()).filter(|n| up(&format!("storage-node-{n}")));
        let gateways = (0..self.gateway_ports.len()).filter(|n| up(&format!("gateway-{n}")));
        let urls = nodes.map(|n| self.storage_http[n]).chain(gateways.map(|n| self.gateway_ports[n]));
        for port in urls {
            let url = format!("http://{}/readyz", local(port));
            wait_until(&format!("{url} is ready"), READY_MAX, || async {
                client.get(&url).send().await.is_ok_and(|r| r.status().is_success())
            })
            .await;
        }
    }
}

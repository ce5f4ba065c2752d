use serde::{Deserialize, Serialize};

/// Every key there is. The defaults are those of one machine on loopback.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    pub log: LogSettings,
    pub controller: ControllerSettings,
    pub storage: StorageSettings,
    pub gateway: GatewaySettings,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// A filter as `tracing-subscriber` reads it, such as `info` or `storage_node=debug,info`.
    pub level: String,
    pub format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

/// Where a process listens that only its own kind or an operator connects to.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ListenSettings {
    /// `host:port`; port 0 takes a free one.
    pub listen: String,
}

/// Where a process listens, and what others are told to connect to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PublicListenSettings {
    /// `host:port`; port 0 takes a free one.
    pub listen: String,
    /// `host[:port]`; the default is the bound host, so a wildcard needs one.
    pub advertised: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ControllerSettings {
    /// `host:port` of the gRPC of each controller, in the order of their ordinals. Every service reads this one.
    pub seeds: Vec<String>,
    pub ordinal: u32,
    pub data_dir: String,
    pub rpc: ListenSettings,
    pub http: ListenSettings,
    /// A storage node that is silent for so long is fenced.
    pub session_timeout_ms: u64,
    /// A storage node whose connection ended without a goodbye is fenced after so long.
    pub stream_grace_ms: u64,
    pub raft_heartbeat_interval_ms: u64,
    pub raft_election_timeout_ms_min: u64,
    pub raft_election_timeout_ms_max: u64,
    /// The metadata log is cut by a snapshot after so many entries.
    pub raft_snapshot_entries: u64,
    pub rebalance: RebalanceSettings,
    pub kubernetes: KubernetesSettings,
}

/// How replicas are moved to where there is room for them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RebalanceSettings {
    /// Whether anything is moved unasked. What drains is moved in any case.
    pub enabled: bool,
    /// How many bytes of what moves to it a node takes in in a second, at most and at least: between them, as many as producers
    /// do not notice.
    pub bytes_per_second_max: u64,
    pub bytes_per_second_min: u64,
    /// How many replicas move to a node, and from it, at once.
    pub moves_max: usize,
    /// A node that has been there for so long takes part; one that has been away for so long is not waited for any more.
    pub settle_ms: u64,
    pub away_ms_max: u64,
}

/// What the controller asks of the Kubernetes that it runs in.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KubernetesSettings {
    pub enabled: bool,
    pub namespace: String,
    /// The name of this controller's pod, which Events come from.
    pub pod: String,
    /// The StatefulSet of the storage nodes: a node whose ordinal is not below its replicas leaves for good.
    pub stateful_set: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StorageSettings {
    /// The node's ordinal, and its broker id for Kafka clients.
    pub node_id: i32,
    pub data_dir: String,
    pub rack: Option<String>,
    /// The Kubernetes node that this one runs on: its zone is the rack where no other is given.
    pub kubernetes_node: Option<String>,
    pub kafka: PublicListenSettings,
    pub http: PublicListenSettings,
    /// How often retention looks at the segments.
    pub retention_check_interval_ms: u64,
    /// How often compaction looks for dirty logs (Kafka's `log.cleaner.backoff.ms`).
    pub compaction_check_interval_ms: u64,
    /// The largest request that is taken, in bytes; without records it has 16 MiB at most.
    pub request_bytes_max: u32,
    /// How many bytes of requests all connections may have under way together, about (Kafka's `queued.max.request.bytes`,
    /// KIP-72): those that are being read, and those with records that wait for their acknowledgement. Beyond, nothing large
    /// and nothing with records is read until some are answered; fetches and heartbeats go on.
    pub requests_bytes_max: usize,
    /// How many segment files may be open at once.
    pub open_files_max: usize,
    /// A connection without a request for so long is closed.
    pub connection_idle_ms_max: u64,
    /// How many connections of clients are taken, as far as the limit on open files allows. A gateway opens up to two for each
    /// of its clients to each node (one produces, one fetches), so for every node: gateways × clients of each × 2, and those
    /// clients that connect to it themselves. The default has room for three full gateways (10,000 clients each). A sixteenth
    /// more places, at least 64, are set aside for other storage nodes.
    pub connections_max: usize,
    /// A follower that has not caught up for so long leaves the ISR (Kafka's `replica.lag.time.max.ms`).
    pub replica_lag_ms_max: u64,
    /// How long a follower's fetch waits for news (Kafka's `replica.fetch.wait.max.ms`).
    pub replica_fetch_wait_ms_max: u64,
    /// Producers are refused while less of the disk is free; none: a twentieth of it, and at most 1 GiB.
    pub disk_reserve_bytes: Option<u64>,
    /// Told to stop (SIGTERM), a node waits for so long at most until every partition has enough replicas in sync without it.
    pub stop_wait_ms_max: u64,
    pub groups: GroupSettings,
}

/// Consumer groups, by Kafka's defaults unless something else is said.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GroupSettings {
    /// How many partitions `__consumer_offsets` gets when the first group needs it (Kafka's
    /// `offsets.topic.num.partitions`).
    pub offsets_partitions: i32,
    /// How long the positions of a group without members are kept (Kafka's `offsets.retention.minutes`).
    pub offsets_retention_ms: i64,
    /// How long a new classic group waits for more members (Kafka's `group.initial.rebalance.delay.ms`, there 3,000).
    pub initial_rebalance_delay_ms: u64,
    /// The shortest and the longest session that a classic member may ask for.
    pub session_timeout_ms_min: u64,
    pub session_timeout_ms_max: u64,
    /// A member of the consumer protocol that is silent for so long is out (Kafka's
    /// `group.consumer.session.timeout.ms`).
    pub consumer_session_timeout_ms: u64,
    /// How often a member of the consumer protocol is heard at least; small groups are asked to speak more often, so
    /// that they rebalance sooner (Kafka's `group.consumer.heartbeat.interval.ms`).
    pub consumer_heartbeat_interval_ms: u64,
    /// A REST consumer of which no request comes for so long is gone.
    pub rest_session_timeout_ms: u64,
    /// A REST consumer that works on partitions which others are to get loses all that it has, if it does not poll again for
    /// so long.
    pub rest_rebalance_timeout_ms: u64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewaySettings {
    pub rest: PublicListenSettings,
    pub kafka: GatewayKafkaSettings,
    pub limits: LimitSettings,
    /// Told to stop, a gateway is not ready for so long before it takes no more connections.
    pub unready_ms: u64,
}

/// The gateway as a broker.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewayKafkaSettings {
    /// `host:port`; port 0 takes a free one.
    pub listen: String,
    /// `host[:port]`, the one broker that clients see; the default is the bound host, so a wildcard needs one.
    pub advertised: Option<String>,
    /// The largest request that is taken, in bytes; without records it has 16 MiB at most.
    pub request_bytes_max: usize,
    /// How many bytes of requests a connection may have under way; it is read no further meanwhile.
    pub in_flight_bytes_max: usize,
    /// How many bytes of requests all connections may have under way together, about (Kafka's `queued.max.request.bytes`,
    /// KIP-72): those that are being read, and those with records that wait for their acknowledgement. Beyond, nothing large
    /// and nothing with records is read until some are answered; fetches and heartbeats go on.
    pub requests_bytes_max: usize,
    /// How many bytes the answers may take together, about, that clients have not read yet: the more there are, the smaller
    /// is what a fetch gets.
    pub answer_bytes_max: usize,
    /// A connection without a request for so long is closed.
    pub connection_idle_ms_max: u64,
    /// How many connections are taken, as far as the limit on open files allows. Each may become two to every node: see
    /// `storage.connections_max`.
    pub connections_max: usize,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitSettings {
    /// The largest body of a request, in bytes (of one record, in a v3 stream).
    pub body_bytes_max: usize,
    /// How many requests are served at once; past it, 503.
    pub requests_max: usize,
    /// How many bytes of requests are held at once; past it, 503.
    pub memory_bytes_max: usize,
    /// How long a client may take to send a request's header, counted from the end of its last request.
    pub header_ms_max: u64,
    /// How long a produce waits for its acknowledgement.
    pub produce_ms_max: u64,
    /// How many entries a request to `records:batch` may have.
    pub batch_entries_max: usize,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { level: "info,openraft=warn".to_owned(), format: LogFormat::Text }
    }
}

impl Default for ListenSettings {
    fn default() -> Self {
        Self { listen: "127.0.0.1:0".to_owned() }
    }
}

fn on(port: u16) -> PublicListenSettings {
    PublicListenSettings { listen: format!("127.0.0.1:{port}"), advertised: None }
}

impl Default for ControllerSettings {
    fn default() -> Self {
        Self {
            seeds: vec!["127.0.0.1:7300".to_owned()],
            ordinal: 0,
            data_dir: "anabranch-data/controller-0".to_owned(),
            rpc: ListenSettings { listen: "127.0.0.1:7300".to_owned() },
            http: ListenSettings { listen: "127.0.0.1:7400".to_owned() },
            session_timeout_ms: 3_000,
            stream_grace_ms: 200,
            raft_heartbeat_interval_ms: 100,
            raft_election_timeout_ms_min: 500,
            raft_election_timeout_ms_max: 1_000,
            raft_snapshot_entries: 1_000,
            rebalance: RebalanceSettings::default(),
            kubernetes: KubernetesSettings::default(),
        }
    }
}

impl Default for RebalanceSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            bytes_per_second_max: 100 << 20,
            bytes_per_second_min: 4 << 20,
            moves_max: 8,
            settle_ms: 10_000,
            away_ms_max: 600_000,
        }
    }
}

impl Default for KubernetesSettings {
    fn default() -> Self {
        Self {
            enabled: false,
            namespace: "default".to_owned(),
            pod: "controller".to_owned(),
            stateful_set: "storage-node".to_owned(),
        }
    }
}

impl Default for StorageSettings {
    fn default() -> Self {
        Self {
            node_id: 0,
            data_dir: "anabranch-data/storage-node-0".to_owned(),
            rack: None,
            kubernetes_node: None,
            kafka: on(9092),
            http: on(9600),
            retention_check_interval_ms: 300_000,
            compaction_check_interval_ms: 15_000,
            request_bytes_max: 100 << 20,
            requests_bytes_max: 512 << 20,
            open_files_max: 1_024,
            connection_idle_ms_max: 600_000,
            connections_max: 60_000,
            replica_lag_ms_max: 10_000,
            replica_fetch_wait_ms_max: 500,
            disk_reserve_bytes: None,
            stop_wait_ms_max: 40_000,
            groups: GroupSettings::default(),
        }
    }
}

impl Default for GroupSettings {
    fn default() -> Self {
        Self {
            offsets_partitions: 50,
            offsets_retention_ms: 7 * 24 * 3_600_000,
            initial_rebalance_delay_ms: 500,
            session_timeout_ms_min: 6_000,
            session_timeout_ms_max: 1_800_000,
            consumer_session_timeout_ms: 45_000,
            consumer_heartbeat_interval_ms: 5_000,
            rest_session_timeout_ms: 300_000,
            rest_rebalance_timeout_ms: 60_000,
        }
    }
}

impl Default for GatewayKafkaSettings {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:9192".to_owned(),
            advertised: None,
            request_bytes_max: 100 << 20,
            in_flight_bytes_max: 64 << 20,
            requests_bytes_max: 256 << 20,
            answer_bytes_max: 256 << 20,
            connection_idle_ms_max: 600_000,
            connections_max: 10_000,
        }
    }
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            body_bytes_max: 16 << 20,
            requests_max: 4_096,
            memory_bytes_max: 256 << 20,
            header_ms_max: 30_000,
            produce_ms_max: 30_000,
            batch_entries_max: 10,
        }
    }
}

impl Settings {
    /// The defaults, with the gateway's REST on its port.
    pub fn standard() -> Self {
        Self { gateway: GatewaySettings { rest: on(8082), ..GatewaySettings::default() }, ..Self::default() }
    }
}

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use metadata::{LivenessConfig, PaceConfig};
use quorum::{Quorum, QuorumConfig, QuorumError};
use rpc::pb::{
    admin_service_server::AdminServiceServer, node_service_server::NodeServiceServer,
    raft_service_server::RaftServiceServer,
};
use telemetry::{Health, Metrics, MetricsError, serve_health};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Server, server::TcpIncoming};

use crate::{
    admin::Admin,
    alarm,
    bootstrap::{Step, next_step},
    hub::Hub,
    leaving::Leaving,
    node::NodeEndpoint,
    office::Office,
    orders,
    peers::GrpcPeers,
    raft::RaftEndpoint,
    rebalance::{RebalanceConfig, Rebalancer},
};

/// One controller.
#[derive(Clone, Debug)]
pub struct ControllerConfig {
    pub ordinal: u32,
    /// `host:port` of every controller's gRPC, in the order of the ordinals.
    pub seeds: Vec<String>,
    pub data_dir: PathBuf,
    pub liveness: LivenessConfig,
    pub raft_heartbeat_interval_ms: u64,
    pub raft_election_timeout_ms_min: u64,
    pub raft_election_timeout_ms_max: u64,
    pub raft_snapshot_entries: u64,
    pub rebalance: RebalanceConfig,
    /// Asked and told in a cluster that starts and stops nodes itself.
    pub kubernetes: settings::KubernetesSettings,
}

/// Why a controller did not start.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    #[error("controller.seeds names {seeds} controllers, so there is no controller.ordinal {ordinal}")]
    OrdinalOutOfRange { ordinal: u32, seeds: usize },
    #[error(transparent)]
    Quorum(#[from] QuorumError),
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    #[error("controller.kubernetes: {0}")]
    Kubernetes(String),
    #[error("a listener failed: {0}")]
    Listener(#[from] std::io::Error),
}

/// A running controller.
pub struct ControllerHandle {
    quorum: Arc<Quorum>,
    health: Health,
    rpc: SocketAddr,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl From<&settings::ControllerSettings> for ControllerConfig {
    fn from(settings: &settings::ControllerSettings) -> Self {
        Self {
            ordinal: settings.ordinal,
            seeds: settings.seeds.clone(),
            data_dir: PathBuf::from(&settings.data_dir),
            liveness: LivenessConfig {
                session_timeout_ms: settings.session_timeout_ms,
                grace_ms: settings.stream_grace_ms,
            },
            raft_heartbeat_interval_ms: settings.raft_heartbeat_interval_ms,
            raft_election_timeout_ms_min: settings.raft_election_timeout_ms_min,
            raft_election_timeout_ms_max: settings.raft_election_timeout_ms_max,
            raft_snapshot_entries: settings.raft_snapshot_entries,
            rebalance: RebalanceConfig {
                enabled: settings.rebalance.enabled,
                pace: PaceConfig {
                    bytes_per_second_min: settings.rebalance.bytes_per_second_min,
                    bytes_per_second_max: settings.rebalance.bytes_per_second_max.max(1),
                },
                moves_max: settings.rebalance.moves_max.max(1),
                settle_ms: settings.rebalance.settle_ms,
                away_ms_max: settings.rebalance.away_ms_max,
            },
            kubernetes: settings.kubernetes.clone(),
        }
    }
}

/// Opens the store, joins or forms the group, and serves.
///
/// # Errors
/// The configuration contradicts itself, or the store cannot be opened.
pub async fn start(
    config: ControllerConfig,
    rpc: TcpListener,
    http: TcpListener,
) -> Result<ControllerHandle, ControllerError> {
    let metrics = Metrics::install()?;
    let address = config
        .seeds
        .get(config.ordinal as usize)
        .cloned()
        .ok_or(ControllerError::OrdinalOutOfRange { ordinal: config.ordinal, seeds: config.seeds.len() })?;
    let peers = Arc::new(GrpcPeers::default());
    let quorum_config = QuorumConfig {
        dir: config.data_dir.clone(),
        ordinal: config.ordinal,
        heartbeat_interval_ms: config.raft_heartbeat_interval_ms,
        election_timeout_ms_min: config.raft_election_timeout_ms_min,
        election_timeout_ms_max: config.raft_election_timeout_ms_max,
        snapshot_every: config.raft_snapshot_entries,
    };
    // Ids travel through JSON, so they stay below 2^53.
    let fresh_id = uuid::Uuid::new_v4().as_u64_pair().0 >> 11;
    let quorum = Arc::new(Quorum::open(quorum_config, fresh_id, peers.clone()).await?);
    let stop = CancellationToken::new();
    let health = Health::starting("the controller belongs to no group yet");
    // Its log is read.
    health.set_started("the controller belongs to no group yet");
    let hub = Arc::new(Hub::new());
    let office = Arc::new(Office::new(quorum.clone(), config.liveness));
    let rebalancer = Arc::new(Rebalancer::new(quorum.clone(), config.rebalance));
    let orders = orders::of(&config.kubernetes)?;
    let leaving = Arc::new(Leaving::new(quorum.clone(), rebalancer.clone(), orders.clone()));
    let rpc_address = rpc.local_addr()?;
    let raft = RaftEndpoint { quorum: quorum.clone(), seeds: config.seeds.clone() };
    let node = NodeEndpoint {
        quorum: quorum.clone(),
        office: office.clone(),
        rebalancer: rebalancer.clone(),
        leaving: leaving.clone(),
        orders,
        hub: hub.clone(),
        stop: stop.clone(),
    };
    let admin = Admin { quorum: quorum.clone(), office: office.clone(), rebalancer: rebalancer.clone() };
    let server = serve_rpc(rpc, (raft, node, admin), stop.clone());
    let tasks = vec![
        tokio::spawn(server),
        tokio::spawn(serve_health(http, health.clone(), metrics, stop.clone().cancelled_owned())),
        tokio::spawn(hub.run(quorum.clone(), stop.clone())),
        tokio::spawn(office.clone().run(stop.clone())),
        tokio::spawn(rebalancer.run(office.clone(), stop.clone())),
        tokio::spawn(leaving.run(office, stop.clone())),
        tokio::spawn(alarm::watch(quorum.clone(), stop.clone())),
        tokio::spawn(bootstrap(
            quorum.clone(),
            peers,
            config.seeds.clone(),
            address,
            health.clone(),
            stop.clone(),
        )),
    ];
    Ok(ControllerHandle { quorum, health, rpc: rpc_address, stop, tasks })
}

fn serve_rpc(
    listener: TcpListener,
    (raft, node, admin): (RaftEndpoint, NodeEndpoint, Admin),
    stop: CancellationToken,
) -> impl Future<Output = ()> + Send + 'static {
    let server = Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(2)))
        .http2_keepalive_timeout(Some(Duration::from_secs(4)))
        .add_service(RaftServiceServer::new(raft).max_decoding_message_size(rpc::MESSAGE_BYTES_MAX))
        .add_service(
            NodeServiceServer::new(node)
                .max_encoding_message_size(rpc::MESSAGE_BYTES_MAX)
                .max_decoding_message_size(rpc::MESSAGE_BYTES_MAX),
        )
        .add_service(AdminServiceServer::new(admin).max_decoding_message_size(rpc::MESSAGE_BYTES_MAX));
    // `Server::tcp_nodelay` is ignored with a listener of one's own.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    async move {
        if let Err(error) = server.serve_with_incoming_shutdown(incoming, stop.cancelled_owned()).await {
            tracing::error!(%error, "the gRPC listener failed");
        }
    }
}

/// Brings an empty member into a group: the one that exists, or the one that the seeds form together.
/// Whether this member votes and has its ordinal to itself. A leader that dies while it takes a member in leaves it a
/// learner, or beside the one that it replaces, until the next leader is asked again.
async fn is_settled(quorum: &Quorum) -> bool {
    let (id, ordinal) = (quorum.id(), quorum.ordinal());
    let alone = || quorum.members().iter().all(|(other, member)| *other == id || member.ordinal != ordinal);
    !matches!(quorum.is_initialized().await, Ok(false)) && quorum.voters().contains(&id) && alone()
}

async fn bootstrap(
    quorum: Arc<Quorum>,
    peers: Arc<GrpcPeers>,
    seeds: Vec<String>,
    address: String,
    health: Health,
    stop: CancellationToken,
) {
    let mut waiting_for = String::new();
    while !stop.is_cancelled() && !is_settled(&quorum).await {
        let answers = futures_util::future::join_all(seeds.iter().map(|seed| peers.identify(seed))).await;
        match next_step(&seeds, &answers) {
            Step::Wait(reason) => {
                if reason != waiting_for {
                    tracing::info!(%reason, "waiting to form or join the controller group");
                    waiting_for = reason;
                }
            }
            Step::Initialize(members) => {
                tracing::info!(members = members.len(), "forming the controller group");
                if let Err(error) = quorum.initialize(members).await {
                    tracing::warn!(%error, "the group could not be formed");
                }
            }
            Step::Join(leader) => {
                tracing::info!(%leader, "joining the controller group");
                if let Err(error) = peers.join(&leader, quorum.id(), quorum.ordinal(), &address).await {
                    tracing::warn!(%error, "the group did not take this controller in yet");
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
        }
    }
    health.set_ready();
}

impl ControllerHandle {
    pub fn rpc_address(&self) -> SocketAddr {
        self.rpc
    }

    pub fn health(&self) -> &Health {
        &self.health
    }

    pub fn quorum(&self) -> &Quorum {
        &self.quorum
    }

    /// Stops serving, then stops raft, and waits for both.
    pub async fn shutdown(self) {
        self.health.set_unready("the controller is shutting down");
        self.stop.cancel();
        for task in self.tasks {
            if let Err(error) = task.await
                && error.is_panic()
            {
                tracing::error!(%error, "a task panicked");
            }
        }
        self.quorum.shutdown().await;
    }
}

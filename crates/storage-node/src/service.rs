use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use commitlog::{DataDirError, FileCache, MetaProperties};
use domain::{DirectoryId, NodeId};
use group::GroupConfig;
use metadata::{Endpoint as Address, NodeRegistration, RefusalKind};
use rpc::{ControllerClient, ControllerError, MetadataWatch, WatchedImage};
use settings::{AdvertisedError, advertised};
use telemetry::{Health, Metrics, MetricsError, health_routes, serve_http};
use tokio::{
    net::TcpListener,
    sync::{oneshot, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use transport::{Reserved, ServerConfig};

use crate::{
    assurance::Assurance,
    broker::{Broker, Endpoint, Traffic},
    cleaner,
    departed::Departed,
    departure::Departure,
    disk::DiskGuard,
    doubts::Doubts,
    folder::{self, FolderError},
    groups::{Groups, group_config},
    home::Home,
    pace::MovePace,
    partition::Points,
    producer_ids::ProducerIds,
    replication::{self, FetchConfig, Fetchers, Sessions},
    rest_consumers::RestConsumers,
    scrub,
    session::Session,
    store::{Checkpoints, Store},
    upkeep,
    usage::UsageReporter,
    waits::CommitWaits,
};

/// One storage node.
#[derive(Clone, Debug)]
pub struct StorageNodeConfig {
    pub node_id: i32,
    pub data_dir: PathBuf,
    pub rack: Option<String>,
    /// `host:port` of every controller's gRPC.
    pub controllers: Vec<String>,
    pub kafka_advertised: Option<String>,
    pub http_advertised: Option<String>,
    pub retention_check_interval: Duration,
    pub compaction_check_interval: Duration,
    pub open_files_max: usize,
    /// A follower that has not caught up for so long leaves the ISR.
    pub replica_lag_max: Duration,
    /// How long a follower's fetch waits for news.
    pub replica_fetch_wait_max: Duration,
    /// `None`: see [`StorageNodeConfig::from`]'s setting `storage.disk_reserve_bytes`.
    pub disk_reserve_bytes: Option<u64>,
    pub groups: GroupConfig,
    /// How many partitions the topic gets that groups are kept in.
    pub offsets_partitions: i32,
    /// The machine that it runs on, as Kubernetes calls it.
    pub kubernetes_node: Option<String>,
    /// Told to stop, it waits for so long at most until there are enough others.
    pub stop_wait_max: Duration,
    pub server: ServerConfig,
}

/// The most that a follower takes in one answer, and of one partition in it.
const REPLICA_RESPONSE_BYTES_MAX: i32 = 10 << 20;
const REPLICA_PARTITION_BYTES_MAX: i32 = 1 << 20;

/// Places that are set aside for other nodes, at least: each has one connection to this node, and for a moment two. Gateways
/// are clients: there may be more of them than there is place.
const RESERVED_MIN: usize = 64;
/// What a node has open besides connections and segments.
const OTHER_FILES: usize = 256;

/// Why a storage node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StorageNodeError {
    #[error("storage.node_id {0} is negative")]
    NodeId(i32),
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error(transparent)]
    Advertised(#[from] AdvertisedError),
    #[error("the controller refuses this node: {0}")]
    Refused(ControllerError),
    #[error("the disk failed: {0}")]
    Disk(String),
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    #[error("a listener failed: {0}")]
    Listener(#[from] std::io::Error),
    #[error("the node was told to stop before it had registered")]
    Stopped,
    /// What was in the folder is elsewhere, and nobody will take it from here: it was emptied.
    #[error("the folder belonged to a node that was drained and left: it was emptied, start again")]
    Retired,
}

/// A running storage node.
pub struct StorageNodeHandle {
    store: Arc<Store>,
    image: WatchedImage,
    active: watch::Receiver<bool>,
    refused: watch::Receiver<Option<ControllerError>>,
    health: Health,
    departure: Departure,
    kafka: SocketAddr,
    /// Ends the session first: leaderships move while everything else still runs.
    leave: CancellationToken,
    stop_serving: CancellationToken,
    stop: CancellationToken,
    serving: JoinHandle<()>,
    session: oneshot::Receiver<()>,
    tasks: Vec<JoinHandle<()>>,
    watching: JoinHandle<()>,
}

impl From<&settings::Settings> for StorageNodeConfig {
    fn from(settings: &settings::Settings) -> Self {
        let storage = &settings.storage;
        Self {
            node_id: storage.node_id,
            data_dir: PathBuf::from(&storage.data_dir),
            rack: storage.rack.clone().filter(|r| !r.is_empty()),
            controllers: settings.controller.seeds.clone(),
            kafka_advertised: storage.kafka.advertised.clone(),
            http_advertised: storage.http.advertised.clone(),
            retention_check_interval: Duration::from_millis(storage.retention_check_interval_ms.max(100)),
            compaction_check_interval: Duration::from_millis(storage.compaction_check_interval_ms.max(100)),
            open_files_max: storage.open_files_max,
            replica_lag_max: Duration::from_millis(storage.replica_lag_ms_max.max(100)),
            replica_fetch_wait_max: Duration::from_millis(storage.replica_fetch_wait_ms_max.clamp(1, 60_000)),
            disk_reserve_bytes: storage.disk_reserve_bytes,
            groups: group_config(&storage.groups),
            offsets_partitions: storage.groups.offsets_partitions.max(1),
            kubernetes_node: storage.kubernetes_node.clone().filter(|n| !n.is_empty()),
            stop_wait_max: Duration::from_millis(storage.stop_wait_ms_max),
            server: ServerConfig {
                request_bytes_max: storage.request_bytes_max as usize,
                idle_max: Duration::from_millis(storage.connection_idle_ms_max),
                connections_max: storage.connections_max,
                reserved: Some(Reserved {
                    places: (storage.connections_max / 16).max(RESERVED_MIN),
                    client_id: replication::CLIENT_ID,
                }),
                in_flight_max: 128,
                in_flight_bytes_max: 256 << 20,
                requests_bytes_max: storage.requests_bytes_max,
                trickle_max: Duration::from_secs(10),
                answer_bytes_max: 1 << 20,
                stall_max: Duration::from_secs(30),
            },
        }
    }
}

/// Recovers the folder, registers, and serves. Ends early, with an error, when `interrupted` is cancelled before the
/// controller has answered.
///
/// # Errors
/// The folder cannot be used (locked, another cluster's or node's, corrupt), or the controller refuses the node.
pub async fn start(
    mut config: StorageNodeConfig,
    kafka: TcpListener,
    http: TcpListener,
    interrupted: CancellationToken,
) -> Result<StorageNodeHandle, StorageNodeError> {
    let node = NodeId(config.node_id);
    if node.0 < 0 {
        return Err(StorageNodeError::NodeId(node.0));
    }
    let metrics = Metrics::install()?;
    transport::fit_open_files(&mut config.server, config.open_files_max + OTHER_FILES);
    let health = Health::starting("recovering the data folder");
    let stop = CancellationToken::new();
    // Whoever starts this process sees from outside that it lives, however long recovery takes.
    let (kafka_bound, http_bound) = (kafka.local_addr()?, http.local_addr()?);
    let endpoint = |key: &str, told: &Option<String>, bound| {
        advertised(key, told.as_deref(), bound).map(|(host, port)| Address { host, port })
    };
    let kafka_address = endpoint("storage.kafka", &config.kafka_advertised, kafka_bound)?;
    let http_address = endpoint("storage.http", &config.http_advertised, http_bound)?;
    let rest_consumers = RestConsumers::default();
    let departure = Departure::new();
    let routes =
        health_routes(health.clone(), metrics).merge(rest_consumers.routes()).merge(departure.routes());
    let http_task = tokio::spawn(serve_http(http, routes, stop.clone().cancelled_owned()));

    let home = Arc::new(Home::new(node));
    let files = FileCache::new(config.open_files_max);
    let path = config.data_dir.clone();
    let opened = tokio::task::spawn_blocking({
        let (home, files) = (home.clone(), files.clone());
        move || folder::open(&home, &path, &files)
    });
    let opened = opened.await.map_err(std::io::Error::other)??;
    let properties = opened.dir.meta_properties()?;
    if let Some(properties) = &properties {
        properties.check(opened.dir.path(), properties.cluster_id, node)?;
    }
    let directory = properties.map_or_else(|| DirectoryId(uuid::Uuid::new_v4()), |p| p.directory_id);
    let was_clean = opened.clean;
    let (fetchers, fetching) = Fetchers::new();
    let store = Arc::new(Store::new(home, opened.dir, files, opened.partitions, fetchers));

    if !was_clean {
        // A log that a power cut made shorter must not grow again below a high watermark from before.
        let store = store.clone();
        tokio::task::spawn_blocking(move || store.write_checkpoints())
            .await
            .map_err(std::io::Error::other)??;
    }
    health.set_started("not registered with the controller yet");
    let controllers = ControllerClient::new(config.controllers.clone());
    let (active, is_active) = watch::channel(false);
    let (refused, is_refused) = watch::channel(None);
    let assurance = Arc::new(Assurance::new());
    let (pace, waits) = (Arc::new(MovePace::new()), Arc::new(CommitWaits::new()));
    let session = Session {
        controllers: controllers.clone(),
        registration: NodeRegistration {
            node,
            cluster_id: properties.map(|p| p.cluster_id),
            directory,
            kafka: kafka_address,
            http: http_address,
            rack: config.rack.clone(),
            previous_epoch: opened.proof.previous_epoch,
            intact: opened.proof.intact,
            damaged: store.damaged(),
            incarnation: Some(uuid::Uuid::new_v4()),
        },
        store: store.clone(),
        assurance: assurance.clone(),
        departure: departure.clone(),
        waits: waits.clone(),
        pace: pace.clone(),
        machine: config.kubernetes_node.clone(),
        stop_wait_max: config.stop_wait_max,
        active,
        refused,
    };
    let registered = tokio::select! {
        registered = session.register() => registered,
        () = interrupted.cancelled() => return Err(StorageNodeError::Stopped),
    };
    let (_, cluster_id) = match registered {
        Err(ControllerError::Refused(refusal)) if refusal.kind == RefusalKind::RetiredDirectory => {
            tracing::warn!(%refusal, "emptying the data folder: all that was in it is elsewhere");
            store.dir.empty()?;
            stop.cancel();
            log_panic(http_task.await);
            return Err(StorageNodeError::Retired);
        }
        registered => registered.map_err(StorageNodeError::Refused)?,
    };
    match properties {
        Some(properties) => properties.check(store.dir.path(), cluster_id, node)?,
        None => store.dir.format(&MetaProperties { cluster_id, node_id: node, directory_id: directory })?,
    }
    session.record()?;

    let (watch, image) = MetadataWatch::new(controllers.clone());
    let departed = Arc::new(Departed::default());
    let disk = Arc::new(DiskGuard::new(config.disk_reserve_bytes));
    let groups = Arc::new(Groups::new(
        image.clone(),
        store.clone(),
        controllers.clone(),
        assurance,
        disk.clone(),
        (config.groups, config.offsets_partitions),
    ));
    rest_consumers.begin(groups.clone());
    let watching = tokio::spawn(watch.run({
        let (store, departed, groups) = (store.clone(), departed.clone(), groups.clone());
        // Whoever sees an image finds its partitions made.
        move |image, delta| {
            departed.follow(delta);
            groups.follow(image, delta);
            tokio::task::block_in_place(|| store.follow(image, delta));
        }
    }));
    let broker = Arc::new(Broker {
        node,
        store: store.clone(),
        image: image.clone(),
        controllers: controllers.clone(),
        producer_ids: ProducerIds::new(controllers.clone()),
        traffic: Traffic::new(waits),
        sessions: Sessions::new(),
        isr: store.isr.clone(),
        disk: disk.clone(),
        doubts: Doubts::default(),
        departed,
        groups: groups.clone(),
    });
    // The first image: only then is there anything to say to a client, or to the controller.
    let epoch = store.epoch();
    tokio::select! {
        _ = image.wait_for(|i| i.nodes.get(&node).is_some_and(|n| n.epoch >= epoch)) => {}
        () = interrupted.cancelled() => return Err(StorageNodeError::Stopped),
    }
    let stop_serving = CancellationToken::new();
    let serving = tokio::spawn(transport::serve(
        kafka,
        config.server.clone(),
        Arc::new(Endpoint(broker)),
        stop_serving.clone(),
    ));
    let leave = CancellationToken::new();
    let session = session.spawn(leave.clone())?;
    let fetch_config = FetchConfig {
        me: node,
        wait_max: config.replica_fetch_wait_max,
        response_bytes_max: REPLICA_RESPONSE_BYTES_MAX,
        partition_bytes_max: REPLICA_PARTITION_BYTES_MAX,
        pace,
    };
    let usage = UsageReporter::new(node, store.clone(), image.clone(), controllers.clone());
    let isr = store.isr.clone().run(
        store.clone(),
        image.clone(),
        controllers.clone(),
        config.replica_lag_max,
        stop.clone(),
    );
    let tasks = vec![
        http_task,
        tokio::spawn(fetching.run(Arc::new(fetch_config), image.clone(), store.clone(), stop.clone())),
        tokio::spawn(isr),
        tokio::spawn(groups.run(stop.clone())),
        tokio::spawn(usage.run(stop.clone())),
        tokio::spawn(store.reports.clone().run(store.clone(), controllers, stop.clone())),
        tokio::spawn(upkeep::run(
            store.clone(),
            disk,
            image.clone(),
            config.retention_check_interval,
            stop.clone(),
        )),
        tokio::spawn(cleaner::run(store.clone(), config.compaction_check_interval, stop.clone())),
        tokio::spawn(latch_ready(health.clone(), is_active.clone())),
        tokio::spawn({
            let (store, stop) = (store.clone(), stop.clone());
            async move {
                if !was_clean {
                    scrub::run(store, stop).await;
                }
            }
        }),
    ];
    Ok(StorageNodeHandle {
        store,
        image,
        active: is_active,
        refused: is_refused,
        health,
        departure,
        kafka: kafka_bound,
        leave,
        stop_serving,
        stop,
        serving,
        session,
        tasks,
        watching,
    })
}

/// Ready once the controller has counted this node as active; a lost session later does not take that back.
async fn latch_ready(health: Health, mut active: watch::Receiver<bool>) {
    if active.wait_for(|active| *active).await.is_ok() {
        health.set_ready();
    }
}

/// How long open connections may take to end, once they were told to.
const DRAIN_MAX: Duration = Duration::from_secs(10);

impl StorageNodeHandle {
    pub fn kafka_address(&self) -> SocketAddr {
        self.kafka
    }

    pub fn health(&self) -> &Health {
        &self.health
    }

    /// The metadata as this node has acted on it.
    pub fn image(&self) -> &WatchedImage {
        &self.image
    }

    /// Whether the controller counts this node as active.
    pub fn active(&self) -> watch::Receiver<bool> {
        self.active.clone()
    }

    /// Waits until this node cannot go on: the controller refuses it for good, or its disk failed. Forever, when neither
    /// happens.
    pub async fn refused(&self) -> StorageNodeError {
        let (mut refused, mut failed) = (self.refused.clone(), self.store.home.failed());
        loop {
            if let Some(error) = refused.borrow_and_update().clone() {
                return StorageNodeError::Refused(error);
            }
            if let Some(reason) = failed.borrow_and_update().clone() {
                return StorageNodeError::Disk(reason);
            }
            let changed = tokio::select! {
                changed = refused.changed() => changed,
                changed = failed.changed() => changed,
            };
            if changed.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Ends once somebody on this host has asked the node to go and the controller lets it: its process may end.
    pub async fn may_stop(&self) {
        self.departure.may().await;
    }

    /// Ends its leaderships, answers what was asked, closes every log and marks the folder as clean.
    pub async fn shutdown(self) {
        self.health.set_unready("the node is shutting down");
        self.leave.cancel();
        if self.session.await.is_err() {
            tracing::error!("the session's thread panicked");
        }
        self.stop.cancel();
        self.stop_serving.cancel();
        let abort = self.serving.abort_handle();
        if tokio::time::timeout(DRAIN_MAX, self.serving).await.is_err() {
            tracing::warn!("connections are still open, ending them");
            abort.abort();
        }
        // Waited for: what it was about to do with a partition must not meet a closed log.
        self.watching.abort();
        let _ = self.watching.await;
        for task in self.tasks {
            log_panic(task.await);
        }
        let store = self.store;
        if store.home.failed().borrow().is_some()
            && let Err(error) = store.dir.forget_incarnation()
        {
            tracing::error!(%error, "the next start will not know that the disk failed");
        }
        let closed = tokio::task::spawn_blocking(move || close(&store)).await;
        log_panic(closed);
    }
}

fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a task panicked");
    }
}

/// Closes every log, then makes all of them durable at once, then says so: in this order, since the checkpoints and
/// the mark must never speak for what is not there.
fn close(store: &Store) {
    let mut points = Checkpoints::default();
    let mut clean = true;
    for partition in store.all() {
        let point = partition.points();
        let Some(log) = partition.take_log() else {
            // Offline: a clean mark would have the next start trust what this one could not.
            clean = false;
            if let Some(point) = point {
                points.add(&partition.name, point);
            }
            continue;
        };
        match log.close_unsynced() {
            Ok(end) => {
                if let Some(point) = point {
                    points.add(&partition.name, Points { recovery: end, ..point });
                }
            }
            Err(error) => {
                // Without the mark the next start recovers.
                tracing::error!(partition = %partition.name, %error, "a log was not closed");
                return;
            }
        }
    }
    let closed = store
        .dir
        .sync_file_system()
        .and_then(|()| points.write(&store.dir))
        .and_then(|()| if clean { store.dir.write_clean_shutdown(store.epoch()) } else { Ok(()) });
    if let Err(error) = closed {
        tracing::error!(%error, "the folder was not marked as clean");
    }
}

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use rpc::{ControllerClient, MetadataWatch};
use settings::{AdvertisedError, LimitSettings, Settings, advertised};
use telemetry::{Health, Metrics, MetricsError};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use transport::ClientPool;

use crate::{
    App, connection,
    consumers::Coordinators,
    kafka::{Backend, KafkaConfig, KafkaListener},
    leader::Nodes,
    memory::Memory,
    producer::{Choice, Cluster, Producer},
    router::router,
};

/// What a gateway needs to know.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// `host:port` of each controller's gRPC.
    pub controllers: Vec<String>,
    /// What REST clients connect to, `host[:port]`; `None`: the bound host.
    pub advertised: Option<String>,
    pub kafka: KafkaConfig,
    pub limits: LimitSettings,
    /// How long a shutdown waits for requests that are being served.
    pub drain_ms_max: u64,
    /// Told to stop, the gateway is not ready for so long before it takes no more connections: whoever sends requests its way has
    /// to notice first.
    pub unready_ms: u64,
}

impl From<&Settings> for GatewayConfig {
    fn from(settings: &Settings) -> Self {
        Self {
            controllers: settings.controller.seeds.clone(),
            advertised: settings.gateway.rest.advertised.clone(),
            kafka: KafkaConfig::from(&settings.gateway.kafka),
            limits: settings.gateway.limits.clone(),
            drain_ms_max: 20_000,
            unready_ms: settings.gateway.unready_ms,
        }
    }
}

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    #[error("controller.seeds is empty, so no controller can be found")]
    NoControllers,
    #[error(transparent)]
    Advertised(#[from] AdvertisedError),
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    #[error("a listener has no address: {0}")]
    Listener(#[from] std::io::Error),
}

/// A gateway that runs.
pub struct GatewayHandle {
    rest: SocketAddr,
    kafka: KafkaListener,
    health: Health,
    app: Arc<App>,
    drain_max: Duration,
    unready: Duration,
    /// Takes no more connections.
    closing: CancellationToken,
    /// Cuts what is left of them off.
    cut_off: CancellationToken,
    connections: TaskTracker,
    accepting: JoinHandle<()>,
    watching: JoinHandle<()>,
    becoming_ready: JoinHandle<()>,
}

/// Starts to serve REST and Kafka clients on the listeners. It returns at once; [`GatewayHandle::health`] tells when there is metadata.
///
/// # Errors
/// The configuration makes no sense: no controller is named, or a wildcard is bound and nothing is advertised.
pub async fn start(
    config: GatewayConfig,
    rest: TcpListener,
    kafka: TcpListener,
) -> Result<GatewayHandle, GatewayError> {
    if config.controllers.is_empty() {
        return Err(GatewayError::NoControllers);
    }
    let bound = rest.local_addr()?;
    let (host, port) = advertised("gateway.rest", config.advertised.as_deref(), bound)?;
    let base_url = match host.contains(':') {
        true => format!("http://[{host}]:{port}"),
        false => format!("http://{host}:{port}"),
    };
    let kafka_bound = kafka.local_addr()?;
    let broker = advertised("gateway.kafka", config.kafka.advertised.as_deref(), kafka_bound)?;
    let metrics = Metrics::install()?;
    let controller = ControllerClient::new(config.controllers);
    let (watch, image) = MetadataWatch::new(controller.clone());
    let watching = tokio::spawn(watch.run(|_, _| {}));
    let upstream = Cluster { controller: controller.clone(), nodes: ClientPool::new("gateway") };
    let within = Duration::from_millis(config.limits.produce_ms_max);
    let stopping = CancellationToken::new();
    let backend = Arc::new(Backend::new(image.clone(), stopping.clone()));
    let app = Arc::new(App {
        image: image.clone(),
        controller,
        nodes: Nodes::new("gateway"),
        coordinators: Coordinators::default(),
        producer: Producer::new(upstream, image.clone(), within),
        choice: Choice::default(),
        memory: Memory::new(config.limits.memory_bytes_max),
        limits: config.limits,
        base_url,
        backend: backend.clone(),
        stopping,
    });
    let health = Health::starting("no metadata yet");
    // There is nothing to recover.
    health.set_started("no metadata yet");
    let becoming_ready = tokio::spawn({
        let health = health.clone();
        async move {
            image.ready().await;
            health.set_ready();
        }
    });
    let kafka = KafkaListener::start(kafka, kafka_bound, broker, config.kafka, backend);
    let (closing, cut_off) = (CancellationToken::new(), CancellationToken::new());
    let connections = TaskTracker::new();
    let accepting = tokio::spawn(accept(Accept {
        listener: rest,
        router: router(app.clone(), health.clone(), metrics),
        header_max: Duration::from_millis(app.limits.header_ms_max),
        connections: connections.clone(),
        closing: closing.clone(),
        cut_off: cut_off.clone(),
    }));
    tracing::info!(address = %bound, "the gateway serves REST");
    Ok(GatewayHandle {
        rest: bound,
        kafka,
        health,
        app,
        drain_max: Duration::from_millis(config.drain_ms_max),
        unready: Duration::from_millis(config.unready_ms),
        closing,
        cut_off,
        connections,
        accepting,
        watching,
        becoming_ready,
    })
}

impl GatewayHandle {
    /// Where REST is served.
    pub fn rest_address(&self) -> SocketAddr {
        self.rest
    }

    /// Where Kafka clients are served.
    pub fn kafka_address(&self) -> SocketAddr {
        self.kafka.address()
    }

    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Stops: readiness goes first, then no more connections are taken, requests that are being served are finished for as
    /// long as the configuration allows, and what was handed to the producer is sent. Every task has ended when it returns.
    pub async fn shutdown(self) {
        self.becoming_ready.abort();
        let _ = self.becoming_ready.await;
        self.health.set_unready("draining");
        tokio::time::sleep(self.unready).await;
        self.closing.cancel();
        self.app.stopping.cancel();
        let rest = async {
            // A task that was cancelled or panicked has ended, too.
            let _ = self.accepting.await;
            self.connections.close();
            if tokio::time::timeout(self.drain_max, self.connections.wait()).await.is_err() {
                tracing::warn!(
                    connections = self.connections.len(),
                    "requests were not finished in time and are cut off"
                );
                self.cut_off.cancel();
                self.connections.wait().await;
            }
        };
        tokio::join!(rest, self.kafka.shutdown(self.drain_max));
        self.app.producer.close(CLOSE_MAX).await;
        self.watching.abort();
        let _ = self.watching.await;
        tracing::info!(address = %self.rest, "the gateway stopped");
    }
}

/// What is under way to the storage nodes for clients that are gone may take so long to be sent.
const CLOSE_MAX: Duration = Duration::from_secs(2);
/// After an error of `accept` (no descriptor left, say), before the next try.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

struct Accept {
    listener: TcpListener,
    router: Router,
    header_max: Duration,
    connections: TaskTracker,
    closing: CancellationToken,
    cut_off: CancellationToken,
}

async fn accept(accept: Accept) {
    loop {
        let accepted = tokio::select! {
            accepted = accept.listener.accept() => accepted,
            () = accept.closing.cancelled() => return,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Without it answers are held back for a delayed acknowledgement; a socket that refuses is gone anyway.
        let _ = stream.set_nodelay(true);
        let served =
            connection::serve(stream, accept.router.clone(), accept.header_max, accept.closing.clone());
        let cut_off = accept.cut_off.clone();
        accept.connections.spawn(async move {
            tokio::select! {
                () = served => {}
                () = cut_off.cancelled() => {}
            }
        });
    }
}

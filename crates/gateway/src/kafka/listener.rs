use std::{net::SocketAddr, sync::Arc, time::Duration};

use settings::GatewayKafkaSettings;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use transport::ServerConfig;

use super::{
    backend::Backend,
    budget::Budget,
    front::{Front, Sessions, Traffic},
    text,
};

/// What the listener needs to know.
#[derive(Clone, Debug)]
pub struct KafkaConfig {
    /// What clients connect to, `host[:port]`; `None`: the bound host.
    pub advertised: Option<String>,
    pub server: ServerConfig,
    /// See `gateway.kafka.answer_bytes_max`.
    pub answer_bytes_max: usize,
}

impl From<&GatewayKafkaSettings> for KafkaConfig {
    fn from(settings: &GatewayKafkaSettings) -> Self {
        Self {
            advertised: settings.advertised.clone(),
            server: ServerConfig {
                request_bytes_max: settings.request_bytes_max,
                idle_max: Duration::from_millis(settings.connection_idle_ms_max),
                connections_max: settings.connections_max,
                reserved: None,
                in_flight_max: 128,
                in_flight_bytes_max: settings.in_flight_bytes_max,
                requests_bytes_max: settings.requests_bytes_max,
                trickle_max: Duration::from_secs(10),
                // Unlike a storage node's, these bytes are in this process's memory.
                answer_bytes_max: 1 << 20,
                stall_max: Duration::from_secs(30),
            },
            answer_bytes_max: settings.answer_bytes_max,
        }
    }
}

/// What a gateway has open besides its clients' connections and those to the nodes on their behalf.
const OTHER_FILES: usize = 256;

/// The Kafka listener, running.
pub(crate) struct KafkaListener {
    address: SocketAddr,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl KafkaListener {
    /// Serves once there is metadata: until then clients wait, who would believe that no topic exists.
    pub(crate) fn start(
        listener: TcpListener,
        address: SocketAddr,
        (host, port): (String, u16),
        mut config: KafkaConfig,
        backend: Arc<Backend>,
    ) -> Self {
        let stop = backend.stopping.clone();
        transport::fit_open_files(&mut config.server, OTHER_FILES);
        let front = Front {
            backend: backend.clone(),
            host: text(host),
            port: port.into(),
            traffic: Traffic::new(),
            budget: Budget::new(config.answer_bytes_max),
        };
        let serving = tokio::spawn({
            let stop = stop.clone();
            async move {
                tokio::select! {
                    _ = backend.image.ready() => {}
                    () = stop.cancelled() => return,
                }
                transport::serve(listener, config.server, Sessions(Arc::new(front)), stop).await;
            }
        });
        tracing::info!(%address, "the gateway serves Kafka clients");
        Self { address, stop, serving }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes nothing more, answers what was asked, and ends; what is not answered within the time is cut off.
    pub(crate) async fn shutdown(mut self, drain_max: Duration) {
        self.stop.cancel();
        if tokio::time::timeout(drain_max, &mut self.serving).await.is_err() {
            tracing::warn!("Kafka clients are still connected, ending their connections");
            self.serving.abort();
            let _ = self.serving.await;
        }
    }
}

use std::{
    future::Future,
    net::SocketAddr,
    sync::{
        Arc, OnceLock, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    Router, extract::State, http::StatusCode, response::IntoResponse, routing::get, serve::ListenerExt,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;

/// Whether a service is ready, and if not, why.
#[derive(Clone, Debug)]
pub struct Health {
    ready: Arc<RwLock<Result<(), String>>>,
    started: Arc<AtomicBool>,
}

impl Health {
    /// Not ready yet, for this reason.
    pub fn starting(reason: &str) -> Self {
        Self { ready: Arc::new(RwLock::new(Err(reason.to_owned()))), started: Arc::default() }
    }

    /// What there was is recovered, and the ports are open; not ready yet, for this reason.
    pub fn set_started(&self, reason: &str) {
        self.started.store(true, Ordering::Release);
        self.set_unready(reason);
    }

    pub fn set_ready(&self) {
        self.started.store(true, Ordering::Release);
        self.set(Ok(()));
    }

    pub fn set_unready(&self, reason: &str) {
        self.set(Err(reason.to_owned()));
    }

    fn set(&self, state: Result<(), String>) {
        *self.ready.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = state;
    }

    /// What `/readyz` answers.
    pub fn readiness(&self) -> (StatusCode, String) {
        match self.check() {
            Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
            Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")),
        }
    }

    /// What `/startupz` answers: it is asked for once only, and a recovery may take long.
    pub fn startup(&self) -> (StatusCode, String) {
        match self.started.load(Ordering::Acquire) {
            true => (StatusCode::OK, "started\n".to_owned()),
            false => self.readiness(),
        }
    }

    pub fn check(&self) -> Result<(), String> {
        self.ready.read().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }
}

/// Metrics cannot be recorded.
#[derive(Debug, thiserror::Error)]
#[error("metrics: {0}")]
pub struct MetricsError(String);

/// The process's metrics.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

/// Upper bounds of the latency histograms, in seconds.
const SECONDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

impl Metrics {
    /// Makes this process record metrics; a second call shares what the first made.
    pub fn install() -> Result<Self, MetricsError> {
        static INSTALLED: OnceLock<Result<PrometheusHandle, String>> = OnceLock::new();
        let installed = INSTALLED.get_or_init(|| {
            PrometheusBuilder::new()
                .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
                .and_then(PrometheusBuilder::install_recorder)
                .map_err(|e| e.to_string())
        });
        installed.clone().map(Metrics).map_err(MetricsError)
    }

    /// All of them, as Prometheus reads them.
    pub fn render(&self) -> String {
        self.0.render()
    }
}

/// `/livez`, `/readyz`, `/startupz` and `/metrics`. None of them asks another service.
pub fn health_routes(health: Health, metrics: Metrics) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz).with_state(health.clone()))
        .route("/startupz", get(async |State(health): State<Health>| health.startup()).with_state(health))
        .route("/metrics", get(async |State(metrics): State<Metrics>| metrics.render()).with_state(metrics))
}

async fn readyz(State(health): State<Health>) -> impl IntoResponse {
    health.readiness()
}

/// Serves [`health_routes`] until the future ends.
pub async fn serve_health(
    listener: TcpListener,
    health: Health,
    metrics: Metrics,
    until: impl Future<Output = ()> + Send + 'static,
) {
    serve_http(listener, health_routes(health, metrics), until).await;
}

/// Serves a service's own HTTP port, in HTTP/1.1 and HTTP/2 as clients want, until the future ends.
pub async fn serve_http(
    listener: TcpListener,
    routes: Router,
    until: impl Future<Output = ()> + Send + 'static,
) {
    let listener = listener.tap_io(|stream| {
        // Only slower without.
        let _ = stream.set_nodelay(true);
    });
    let routes = routes.into_make_service_with_connect_info::<SocketAddr>();
    if let Err(error) = axum::serve(listener, routes).with_graceful_shutdown(until).await {
        tracing::error!(%error, "the HTTP listener failed");
    }
}

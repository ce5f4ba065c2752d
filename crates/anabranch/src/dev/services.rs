use std::{future::Future, path::Path};

use controller::{ControllerConfig, ControllerHandle};
use futures_util::future::{join, join_all};
use gateway::{GatewayConfig, GatewayHandle};
use settings::Settings;
use storage_node::{StorageNodeConfig, StorageNodeError, StorageNodeHandle};
use tokio_util::sync::CancellationToken;

use super::{
    folder,
    ports::{Listeners, Ports},
};

/// The three services, running.
pub(super) struct Services {
    controller: ControllerHandle,
    pub(super) nodes: Vec<StorageNodeHandle>,
    pub(super) gateway: GatewayHandle,
}

impl Services {
    /// Starts all at once: each waits for those that it needs. `None` when a signal came first.
    ///
    /// # Errors
    /// One of them cannot start. The others are shut down then.
    pub(super) async fn start(
        settings: &Settings,
        dir: &Path,
        ports: &Ports,
        listeners: Listeners,
        stop: CancellationToken,
    ) -> anyhow::Result<Option<Self>> {
        let Listeners { controller_rpc, controller_http, rest, kafka, nodes } = listeners;
        let settings = shared(settings, dir, ports);
        // A failure of one ends the waiting of the others.
        let interrupted = stop.child_token();
        let controller =
            controller::start(ControllerConfig::from(&settings.controller), controller_rpc, controller_http);
        let nodes = nodes.into_iter().zip(0u16..).map(|((node, http), i)| {
            let config = StorageNodeConfig::from(&of_node(&settings, dir, i));
            let started = storage_node::start(config, node, http, interrupted.clone());
            or_cancel(&interrupted, started)
        });
        let gateway = gateway::start(GatewayConfig::from(&settings), rest, kafka);
        let (controller, (nodes, gateway)) = join(
            Box::pin(or_cancel(&interrupted, controller)),
            join(join_all(nodes), Box::pin(or_cancel(&interrupted, gateway))),
        )
        .await;

        let mut failure: Option<anyhow::Error> = None;
        let mut failed = |error: anyhow::Error| {
            failure.get_or_insert(error);
        };
        let controller = controller.map_err(|e| failed(e.into())).ok();
        let mut started = Vec::new();
        let mut stopped = false;
        for node in nodes {
            match node {
                Ok(node) => started.push(node),
                Err(StorageNodeError::Stopped) => stopped = true,
                Err(error) => failed(error.into()),
            }
        }
        let gateway = gateway.map_err(|e| failed(e.into())).ok();
        match (controller, gateway) {
            (Some(controller), Some(gateway)) if failure.is_none() && !stopped => {
                Ok(Some(Self { controller, nodes: started, gateway }))
            }
            (controller, gateway) => {
                shut_down(gateway, started, controller).await;
                failure.map_or(Ok(None), Err)
            }
        }
    }

    pub(super) async fn shutdown(self) {
        shut_down(Some(self.gateway), self.nodes, Some(self.controller)).await;
    }
}

/// In the order in which they need each other: the last requests are still answered.
async fn shut_down(
    gateway: Option<GatewayHandle>,
    nodes: Vec<StorageNodeHandle>,
    controller: Option<ControllerHandle>,
) {
    if let Some(gateway) = gateway {
        gateway.shutdown().await;
    }
    join_all(nodes.into_iter().map(StorageNodeHandle::shutdown)).await;
    if let Some(controller) = controller {
        controller.shutdown().await;
    }
}

async fn or_cancel<T, E>(
    interrupted: &CancellationToken,
    starting: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let started = starting.await;
    if started.is_err() {
        interrupted.cancel();
    }
    started
}

/// What all services of this process see. Listeners are open already, and nobody is told another address than theirs.
fn shared(settings: &Settings, dir: &Path, ports: &Ports) -> Settings {
    let mut settings = settings.clone();
    settings.controller.seeds = vec![ports.controller_rpc.to_string()];
    settings.controller.ordinal = 0;
    settings.controller.data_dir = folder::controller(dir).to_string_lossy().into_owned();
    settings.storage.kafka.advertised = None;
    settings.storage.http.advertised = None;
    // All end together: there is nobody to wait for.
    settings.storage.stop_wait_ms_max = 0;
    settings.gateway.rest.advertised = None;
    settings.gateway.kafka.advertised = None;
    settings
}

fn of_node(settings: &Settings, dir: &Path, node: u16) -> Settings {
    let mut settings = settings.clone();
    settings.storage.node_id = node.into();
    settings.storage.data_dir = folder::node(dir, node).to_string_lossy().into_owned();
    settings
}

//! A gateway for Kafka clients in front of a storage node that answers as a test wants.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use ::metadata::{Endpoint, Image};
use rpc::WatchedImage;
use settings::Settings;
use tokio::{net::TcpListener, time::Instant};
use tokio_util::sync::{CancellationToken, DropGuard};
use transport::{Client, Handler, Reply, Response, serve};
use wire::{ApiKey, Encodable, FrameError, HeaderVersion, Request, RequestFrame, StrBytes};

use super::{
    KafkaConfig, api_versions,
    backend::Backend,
    budget::Budget,
    front::{Front, Sessions, Traffic},
    reply::now,
    text,
};

/// Both, until it is dropped.
pub(super) struct FakeCluster {
    pub(super) front: Arc<Front>,
    pub(super) address: SocketAddr,
    _stops: DropGuard,
}

/// What the node says to a request.
pub(crate) trait Says: Fn(RequestFrame) -> Reply + Send + Sync + 'static {}
impl<F: Fn(RequestFrame) -> Reply + Send + Sync + 'static> Says for F {}

struct Node<F>(F);

impl<F: Says> Handler for Node<F> {
    fn handle(&self, frame: RequestFrame, _: SocketAddr) -> Result<Reply, FrameError> {
        match frame.api {
            ApiKey::ApiVersions => now(&frame, &api_versions::answer()),
            _ => Ok((self.0)(frame)),
        }
    }
}

/// An image in which all nodes are the one that says this, until the token is cancelled.
pub(crate) async fn in_front_of(mut image: Image, says: impl Says, stop: &CancellationToken) -> Image {
    let node = serving(Arc::new(Node(says)), stop).await;
    let ids: Vec<_> = image.nodes.keys().copied().collect();
    for id in ids {
        if let Some(known) = image.nodes.get_mut(&id) {
            Arc::make_mut(known).kafka = Endpoint { host: node.ip().to_string(), port: node.port() };
        }
    }
    image
}

impl FakeCluster {
    /// All nodes of the image are the one that says this.
    pub(super) async fn start(image: Image, answer_bytes_max: usize, says: impl Says) -> Self {
        let stop = CancellationToken::new();
        let image = in_front_of(image, says, &stop).await;
        let front = Arc::new(Front {
            backend: Arc::new(Backend::new(WatchedImage::fixed(image), stop.clone())),
            host: text("gw"),
            port: 9192,
            traffic: Traffic::new(),
            budget: Budget::new(answer_bytes_max),
        });
        let address = serving(Sessions(front.clone()), &stop).await;
        Self { front, address, _stops: stop.drop_guard() }
    }

    /// Asks on a connection of its own.
    pub(super) async fn ask<R: Request>(&self, request: R, version: i16) -> R::Response {
        let client = self.client().await;
        let pending = client.begin(&request, version, Vec::new()).await.expect("it is sent");
        pending.answer(Instant::now() + Duration::from_secs(20)).await.expect("it is answered")
    }

    pub(super) async fn client(&self) -> Client {
        let name = StrBytes::from_static_str("a client");
        Client::connect(&self.address.to_string(), &name).await.expect("the gateway listens")
    }
}

async fn serving(service: impl transport::Service, stop: &CancellationToken) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let config = KafkaConfig::from(&Settings::standard().gateway.kafka).server;
    tokio::spawn(serve(listener, config, service, stop.clone()));
    address
}

/// An answer to a request of this frame.
pub(crate) fn says<R: Encodable + HeaderVersion>(frame: &RequestFrame, answer: &R) -> Response {
    wire::encode_response(answer, frame.version, frame.correlation_id).expect("it can be said").into()
}

//! A small cluster that exists in metadata only.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Request, header},
};
use domain::{ClusterId, ConfigOverrides, DirectoryId, NodeId, OFFSETS_TOPIC, TopicId, TopicName};
use metadata::{Applied, Command, Endpoint, Image, NodeRegistration, Topic, TopicSpec};
use rpc::{ControllerClient, WatchedImage};
use serde_json::Value;
use settings::LimitSettings;
use telemetry::{Health, Metrics};
use tokio_util::sync::{CancellationToken, DropGuard};
use tower::ServiceExt;
use transport::ClientPool;
use uuid::Uuid;

use crate::{
    App,
    kafka::{
        Backend,
        fake_node::{Says, in_front_of},
    },
    leader::Nodes,
    memory::Memory,
    producer::{Choice, Cluster, Producer},
    router::router,
};

/// Its cluster id as text.
pub(crate) const CLUSTER: &str = "AAAAAAAAAAAAAAAAAAAAAQ";

/// Two nodes; the topic `orders` with four partitions and a setting of its own.
pub(crate) fn image() -> Image {
    let mut image = Image::default();
    let cluster_id = ClusterId(Uuid::from_u128(1));
    let mut done = |command: Command| image.apply(&command).result.unwrap();
    done(Command::NameCluster { cluster_id });
    for id in 0..2 {
        let endpoint = |port| Endpoint { host: format!("node-{id}.test"), port };
        let registered = done(Command::RegisterNode(NodeRegistration {
            node: NodeId(id),
            cluster_id: None,
            directory: DirectoryId(Uuid::from_u128(100 + id as u128)),
            kafka: endpoint(9092),
            http: endpoint(9600),
            rack: Some("r1".to_owned()),
            previous_epoch: None,
            intact: true,
            damaged: Vec::new(),
            incarnation: None,
        }));
        let Applied::Registered { epoch, .. } = registered else {
            panic!("{registered:?}");
        };
        done(Command::UnfenceNode { node: NodeId(id), epoch });
    }
    done(Command::CreateTopic(TopicSpec {
        id: TopicId(Uuid::from_u128(7)),
        name: TopicName::new("orders").unwrap(),
        partitions: Some(4),
        replication_factor: Some(1),
        assignments: Vec::new(),
        configs: ConfigOverrides::from([("retention.ms".to_owned(), "5000".to_owned())]),
    }));
    image
}

/// The same with the topic that groups live in.
pub(crate) fn image_with_groups() -> Image {
    let mut image = image();
    let name = TopicName::new(OFFSETS_TOPIC).unwrap();
    let orders = image.topics.get("orders").unwrap();
    let topic = Topic { id: TopicId(Uuid::from_u128(8)), name: name.clone(), ..Topic::clone(orders) };
    image.topic_names.insert(topic.id, name.clone());
    image.topics.insert(name, topic.into());
    image
}

/// The router over metadata that never changes; nobody is behind it.
pub(crate) fn rest(image: Image, limits: LimitSettings) -> Router {
    rest_of(app(WatchedImage::fixed(image), limits))
}

pub(crate) fn rest_of(app: Arc<App>) -> Router {
    router(app, Health::starting("no metadata yet"), Metrics::install().unwrap())
}

/// What a gateway's requests work with.
pub(crate) fn app(image: WatchedImage, limits: LimitSettings) -> Arc<App> {
    let controller = ControllerClient::new(["127.0.0.1:1".to_owned()]);
    let stopping = CancellationToken::new();
    let upstream = Cluster { controller: controller.clone(), nodes: ClientPool::new("test") };
    Arc::new(App {
        image: image.clone(),
        controller,
        nodes: Nodes::new("test"),
        backend: Arc::new(Backend::new(image.clone(), stopping.clone())),
        coordinators: Default::default(),
        producer: Producer::new(upstream, image, Duration::from_millis(limits.produce_ms_max)),
        choice: Choice::default(),
        memory: Memory::new(limits.memory_bytes_max),
        limits,
        base_url: "http://gw:8082".to_owned(),
        stopping,
    })
}

/// The same in front of a node that answers as a test wants, until the guard is dropped.
pub(crate) async fn rest_in_front_of(image: Image, says: impl Says) -> (Router, DropGuard) {
    let stop = CancellationToken::new();
    let image = in_front_of(image, says, &stop).await;
    (rest(image, LimitSettings::default()), stop.drop_guard())
}

/// What came of a request.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// A text where it is no JSON.
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn error(&self) -> (u16, i64) {
        assert!(self.body["message"].is_string(), "{}", self.body);
        (self.status, self.body["error_code"].as_i64().unwrap())
    }

    pub(crate) fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }

    pub(crate) fn header(&self, name: header::HeaderName) -> &str {
        self.headers.get(name).map(|v| v.to_str().unwrap()).unwrap_or_default()
    }
}

pub(crate) async fn send(router: &Router, request: Request<Body>) -> Answer {
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap();
    Answer {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned())),
    }
}

/// A request with a JSON body, below the cluster.
pub(crate) async fn call_v3(router: &Router, method: &str, below: &str, body: &str) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(format!("/v3/clusters/{CLUSTER}{below}"))
        .header(header::CONTENT_TYPE, "application/json");
    send(router, request.body(Body::from(body.to_owned())).unwrap()).await
}

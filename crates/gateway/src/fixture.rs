//! A small cluster that exists in metadata only.

use std::{sync::Arc, time::Duration};

use axum::Router;
use domain::{ClusterId, ConfigOverrides, DirectoryId, NodeId, OFFSETS_TOPIC, TopicId, TopicName};
use metadata::{Applied, Command, Endpoint, Image, NodeRegistration, Topic, TopicSpec};
use rpc::{ControllerClient, WatchedImage};
use settings::LimitSettings;
use telemetry::{Health, Metrics};
use tokio_util::sync::CancellationToken;
use transport::ClientPool;
use uuid::Uuid;

use crate::{
    App,
    kafka::Backend,
    leader::Nodes,
    limits::Memory,
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
    let image = WatchedImage::fixed(image);
    let controller = ControllerClient::new(["127.0.0.1:1".to_owned()]);
    let stopping = CancellationToken::new();
    let upstream = Cluster { controller: controller.clone(), nodes: ClientPool::new("test") };
    let app = Arc::new(App {
        image: image.clone(),
        controller,
        nodes: Nodes::new("test"),
        backend: Arc::new(Backend::new(image.clone(), stopping.clone())),
        producer: Producer::new(upstream, image, Duration::from_millis(limits.produce_ms_max)),
        choice: Choice::default(),
        memory: Memory::new(limits.memory_bytes_max),
        limits,
        base_url: "http://gw:8082".to_owned(),
        stopping,
    });
    router(app, Health::starting("no metadata yet"), Metrics::install().unwrap())
}

//! A topic was deleted and made anew; the gateway has not heard of it yet, the node has.

use bytes::Bytes;
use domain::TopicId;
use transport::Reply;
use uuid::Uuid;
use wire::{
    ApiKey, RequestFrame, ResponseError, WireTopicName,
    messages::{
        FetchRequest, FetchResponse, ProduceRequest, ProduceResponse,
        fetch_request::{FetchPartition, FetchTopic},
        fetch_response::{FetchableTopicResponse, PartitionData},
        produce_request::{PartitionProduceData, TopicProduceData},
        produce_response::{PartitionProduceResponse, TopicProduceResponse},
    },
};

use super::{
    fake_node::{FakeCluster, says},
    text,
};
use crate::fixture;

/// The topic's id as the gateway knows it, and as it is by now.
const OLD: Uuid = Uuid::from_u128(7);
const NEW: Uuid = Uuid::from_u128(8);

/// A node on which the name and the new id are the new topic, and the old id is nothing.
async fn cluster() -> FakeCluster {
    let image = fixture::image();
    assert!(image.topic_by_id(TopicId(OLD)).is_some());
    FakeCluster::start(image, 64 << 20, |frame| {
        Reply::Now(match frame.api {
            ApiKey::Fetch => says(&frame, &fetched(&frame)),
            _ => says(&frame, &produced(&frame)),
        })
    })
    .await
}

fn code(name: &str, id: Uuid) -> i16 {
    let is_known = name == "orders" || id == NEW;
    if is_known { 0 } else { ResponseError::UnknownTopicId.code() }
}

fn fetched(frame: &RequestFrame) -> FetchResponse {
    let request: FetchRequest = frame.decode_body().expect("a fetch");
    let topics = request.topics.iter().map(|topic| {
        let error_code = code(&topic.topic, topic.topic_id);
        let partitions = topic.partitions.iter().map(|asked| {
            PartitionData::default()
                .with_partition_index(asked.partition)
                .with_error_code(error_code)
                .with_records((error_code == 0).then(|| Bytes::from_static(b"of the new topic")))
        });
        FetchableTopicResponse::default()
            .with_topic(topic.topic.clone())
            .with_topic_id(topic.topic_id)
            .with_partitions(partitions.collect())
    });
    FetchResponse::default().with_responses(topics.collect())
}

fn produced(frame: &RequestFrame) -> ProduceResponse {
    let request: ProduceRequest = frame.decode_body().expect("a produce request");
    let topics = request.topic_data.iter().map(|topic| {
        let error_code = code(&topic.name, topic.topic_id);
        let partitions = topic.partition_data.iter().map(|asked| {
            PartitionProduceResponse::default().with_index(asked.index).with_error_code(error_code)
        });
        TopicProduceResponse::default()
            .with_name(topic.name.clone())
            .with_topic_id(topic.topic_id)
            .with_partition_responses(partitions.collect())
    });
    ProduceResponse::default().with_responses(topics.collect())
}

/// What a client is told that names the topic in this version.
async fn fetch(cluster: &FakeCluster, version: i16) -> (i16, usize) {
    let topic = FetchTopic::default()
        .with_topic(WireTopicName(text("orders")))
        .with_topic_id(if version >= 13 { OLD } else { Uuid::nil() })
        .with_partitions(vec![FetchPartition::default().with_partition_max_bytes(1 << 20)]);
    let request = FetchRequest::default()
        .with_min_bytes(1)
        .with_max_wait_ms(200)
        .with_max_bytes(1 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![topic]);
    let answer = cluster.ask(request, version).await;
    let topic = &answer.responses[0];
    assert!(if version >= 13 { topic.topic_id == OLD } else { topic.topic.as_str() == "orders" });
    let told = &topic.partitions[0];
    (told.error_code, told.records.as_ref().map_or(0, Bytes::len))
}

async fn produce(cluster: &FakeCluster, version: i16) -> i16 {
    let data = PartitionProduceData::default().with_records(Some(Bytes::from_static(b"a batch")));
    let topic = TopicProduceData::default()
        .with_name(WireTopicName(text("orders")))
        .with_topic_id(if version >= 13 { OLD } else { Uuid::nil() })
        .with_partition_data(vec![data]);
    let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(5_000).with_topic_data(vec![topic]);
    let answer = cluster.ask(request, version).await;
    answer.responses[0].partition_responses[0].error_code
}

#[tokio::test]
async fn who_names_a_topic_by_its_old_id_does_not_read_the_new_one() {
    let cluster = cluster().await;
    let unknown_id = ResponseError::UnknownTopicId.code();
    for version in 13..=17 {
        assert_eq!(fetch(&cluster, version).await, (unknown_id, 0), "version {version}");
    }
}

#[tokio::test]
async fn who_names_a_topic_by_its_old_id_does_not_write_to_the_new_one() {
    assert_eq!(produce(&cluster().await, 13).await, ResponseError::UnknownTopicId.code());
}

#[tokio::test]
async fn who_goes_by_names_hears_of_names_only() {
    let cluster = cluster().await;
    let unknown = ResponseError::UnknownTopicOrPartition.code();
    assert_eq!(fetch(&cluster, 12).await, (unknown, 0));
    assert_eq!(produce(&cluster, 12).await, unknown);
}

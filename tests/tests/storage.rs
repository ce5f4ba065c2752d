//! A storage node over Kafka's protocol.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use records::{BatchBuilder, Compression};
use tests::{Cluster, ClusterSpec, batch_of, sequenced_batch};
use wire::{
    ResponseError, StrBytes, WireTopicName,
    messages::{
        CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeClusterRequest,
        DescribeConfigsRequest, IncrementalAlterConfigsRequest, MetadataRequest,
        create_partitions_request::CreatePartitionsTopic,
        create_topics_request::{CreatableTopic, CreatableTopicConfig},
        delete_topics_request::DeleteTopicState,
        describe_configs_request::DescribeConfigsResource,
        incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
    },
};

async fn node() -> Cluster {
    Cluster::start(ClusterSpec { controllers: 1, storage_nodes: 1, gateways: 0 }).await
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn name(topic: &str) -> WireTopicName {
    WireTopicName(text(topic))
}

fn values(records: &[records::Record]) -> Vec<String> {
    records
        .iter()
        .map(|r| String::from_utf8_lossy(r.value.as_deref().unwrap_or_default()).into_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn records_come_back_in_order_and_byte_for_byte() {
    let cluster = node().await;
    let kafka = cluster.kafka(0);
    assert_eq!(kafka.create_topic("t", 2).await, 0);
    for (n, values) in [["a", "b"], ["c", "d"]].iter().enumerate() {
        let answer = kafka.produce("t", 1, batch_of(values), -1).await.unwrap();
        assert_eq!((answer.error_code, answer.base_offset), (0, 2 * n as i64));
    }
    assert_eq!(values(&kafka.read_all("t", 1, 0).await), ["a", "b", "c", "d"]);
    assert_eq!(values(&kafka.read_all("t", 1, 3).await), ["d"]);
    assert_eq!(values(&kafka.read_all("t", 0, 0).await), [""; 0]);
    assert_eq!(kafka.list_offset("t", 1, -1).await, Ok(4));
    assert_eq!(kafka.list_offset("t", 1, -2).await, Ok(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_batches_pass_through_untouched() {
    let cluster = node().await;
    let kafka = cluster.kafka(0);
    kafka.create_topic("t", 1).await;
    let mut sent = Vec::new();
    for compression in Compression::ALL {
        let mut builder = BatchBuilder::new(compression);
        for _ in 0..50 {
            builder.push(1_000, Some(b"key"), Some(compression.name().as_bytes()), &[(b"h", Some(b"1"))]);
        }
        let batch = builder.build();
        assert_eq!(kafka.produce("t", 0, batch.clone(), 1).await.unwrap().error_code, 0);
        sent.push(batch);
    }
    let stored = kafka.fetch("t", 0, 0, 0).await.unwrap().records.unwrap();
    let sent: Vec<u8> = sent.concat();
    assert_eq!(stored.len(), sent.len());
    // Only base offset and leader epoch differ, and those of the first batch are the same by chance.
    assert_eq!(stored[16..100], sent[16..100]);
    assert_eq!(kafka.read_all("t", 0, 0).await.len(), 50 * Compression::ALL.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_waits_for_a_record_and_no_longer() {
    let cluster = node().await;
    let kafka = cluster.kafka(0);
    kafka.create_topic("t", 1).await;
    let waiting = tokio::spawn({
        let kafka = kafka.clone();
        async move {
            let begun = Instant::now();
            let data = kafka.fetch("t", 0, 0, 8_000).await.unwrap();
            (data.records.unwrap_or_default().len(), begun.elapsed())
        }
    });
    // On another connection, or it would wait behind the fetch.
    let other = cluster.kafka(0);
    assert_eq!(other.produce("t", 0, batch_of(&["x"]), 1).await.unwrap().error_code, 0);
    let (bytes, waited) = waiting.await.unwrap();
    assert!(bytes > 0);
    assert!(waited < Duration::from_secs(7), "woken by the append, not by the clock: {waited:?}");
    let begun = Instant::now();
    let data = kafka.fetch("t", 0, 1, 300).await.unwrap();
    assert!(data.records.unwrap_or_default().is_empty());
    assert!(begun.elapsed() >= Duration::from_millis(290), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotent_producers_duplicates_get_their_original_offsets() {
    let cluster = node().await;
    let kafka = cluster.kafka(0);
    kafka.create_topic("t", 1).await;
    let producer = kafka.init_producer_id().await;
    let batch = |sequence: i32| sequenced_batch(producer, sequence, &[format!("v{sequence}")]);
    for sequence in 0..7 {
        assert_eq!(
            kafka.produce("t", 0, batch(sequence), -1).await.unwrap().base_offset,
            i64::from(sequence)
        );
    }
    for sequence in 2..7 {
        let again = kafka.produce("t", 0, batch(sequence), -1).await.unwrap();
        assert_eq!((again.error_code, again.base_offset), (0, i64::from(sequence)), "sequence {sequence}");
    }
    // A leader that is new takes a gap for a batch that is under way.
    let gap = async || kafka.produce("t", 0, batch(9), -1).await.unwrap().error_code;
    let out_of_order = ResponseError::OutOfOrderSequenceNumber.code();
    tests::wait_until("the gap is called one", Duration::from_secs(20), async || {
        let code = gap().await;
        assert!([out_of_order, ResponseError::NotLeaderOrFollower.code()].contains(&code), "{code}");
        code == out_of_order
    })
    .await;
    let other = kafka.init_producer_id().await;
    assert_ne!(other, producer);
    assert_eq!(kafka.read_all("t", 0, 0).await.len(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_produce_is_named() {
    let cluster = node().await;
    let kafka = cluster.kafka(0);
    kafka.create_topic("t", 1).await;
    let code = async |topic: &str, partition, batch: Bytes, acks| {
        kafka.produce(topic, partition, batch, acks).await.unwrap().error_code
    };
    assert_eq!(code("none", 0, batch_of(&["x"]), 1).await, ResponseError::UnknownTopicOrPartition.code());
    assert_eq!(code("t", 7, batch_of(&["x"]), 1).await, ResponseError::UnknownTopicOrPartition.code());
    assert_eq!(code("t", -1, batch_of(&["x"]), 1).await, ResponseError::UnknownTopicOrPartition.code());
    assert_eq!(code("t", 0, batch_of(&["x"]), 3).await, ResponseError::InvalidRequiredAcks.code());
    let mut corrupt = BytesMut::from(&batch_of(&["x"])[..]);
    let last = corrupt.len() - 1;
    corrupt[last] ^= 1;
    assert_eq!(code("t", 0, corrupt.freeze(), 1).await, ResponseError::CorruptMessage.code());
    assert_eq!(code("t", 0, Bytes::new(), 1).await, ResponseError::CorruptMessage.code());
    let large = "x".repeat(2 << 20);
    assert_eq!(code("t", 0, batch_of(&[&large]), 1).await, ResponseError::MessageTooLarge.code());
    assert_eq!(kafka.read_all("t", 0, 0).await.len(), 0, "nothing of it was appended");
    assert_eq!(kafka.fetch("t", 0, 5, 0).await.unwrap().error_code, ResponseError::OffsetOutOfRange.code());
    assert_eq!(kafka.fetch("t", 0, -4, 0).await.unwrap().error_code, ResponseError::OffsetOutOfRange.code());
    assert_eq!(kafka.list_offset("none", 0, -1).await, Err(ResponseError::UnknownTopicOrPartition.code()));
}

#[tokio::test(flavor = "multi_thread")]
async fn acks_zero_gets_no_answer_and_is_appended() {
    let cluster = node().await;
    let kafka = cluster.kafka(0);
    kafka.create_topic("t", 1).await;
    let unanswered = tokio::spawn({
        let kafka = kafka.clone();
        async move { kafka.produce("t", 0, batch_of(&["quiet"]), 0).await }
    });
    tests::wait_until("the record is there", Duration::from_secs(5), || async {
        cluster.kafka(0).list_offset("t", 0, -1).await == Ok(1)
    })
    .await;
    unanswered.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_are_found_by_timestamp() {
    let cluster = node().await;
    let kafka = cluster.kafka(0);
    kafka.create_topic("t", 1).await;
    for time in [1_000, 2_000, 3_000] {
        let mut builder = BatchBuilder::new(Compression::Zstd);
        builder.push(time, None, Some(b"a"), &[]).push(time + 500, None, Some(b"b"), &[]);
        kafka.produce("t", 0, builder.build(), 1).await.unwrap();
    }
    for (time, offset) in [(0, 0), (1_000, 0), (1_001, 1), (2_500, 3), (2_501, 4), (3_501, -1)] {
        assert_eq!(kafka.list_offset("t", 0, time).await, Ok(offset), "timestamp {time}");
    }
    assert_eq!(kafka.list_offset("t", 0, -3).await, Ok(5), "the record with the largest timestamp");
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_administered_over_kafkas_protocol() {
    let cluster = node().await;
    let kafka = cluster.kafka(0);
    let config =
        CreatableTopicConfig::default().with_name(text("retention.ms")).with_value(Some(text("5000")));
    let topic = |name_: &str| {
        CreatableTopic::default().with_name(name(name_)).with_num_partitions(-1).with_replication_factor(-1)
    };
    let create = |topics| CreateTopicsRequest::default().with_timeout_ms(10_000).with_topics(topics);
    let topics = vec![
        topic("good").with_configs(vec![config]),
        topic("bad/name"),
        topic("many").with_replication_factor(3),
        topic("wrong").with_configs(vec![
            CreatableTopicConfig::default().with_name(text("retention.sm")).with_value(Some(text("1"))),
        ]),
    ];
    let answer = kafka.call(create(topics)).await.unwrap();
    let codes: Vec<i16> = answer.topics.iter().map(|t| t.error_code).collect();
    assert_eq!(
        codes,
        [
            0,
            ResponseError::InvalidTopicException.code(),
            ResponseError::InvalidReplicationFactor.code(),
            ResponseError::InvalidConfig.code()
        ]
    );
    assert_eq!(answer.topics[3].error_message.as_deref(), Some("unknown topic config 'retention.sm'"));
    let again = kafka.call(create(vec![topic("good")])).await.unwrap();
    assert_eq!(again.topics[0].error_code, ResponseError::TopicAlreadyExists.code());

    let grow = CreatePartitionsTopic::default().with_name(name("good")).with_count(4).with_assignments(None);
    let request = CreatePartitionsRequest::default().with_timeout_ms(10_000).with_topics(vec![grow]);
    assert_eq!(kafka.call(request).await.unwrap().results[0].error_code, 0);

    let alter = AlterConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text("good"))
        .with_configs(vec![
            AlterableConfig::default().with_name(text("segment.bytes")).with_value(Some(text("1000000"))),
        ]);
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![alter]);
    assert_eq!(kafka.call(request).await.unwrap().responses[0].error_code, 0);

    let resource = DescribeConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text("good"))
        .with_configuration_keys(None);
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
    let configs = kafka.call(request).await.unwrap().results.remove(0).configs;
    let value = |key: &str| configs.iter().find(|c| c.name.as_str() == key).and_then(|c| c.value.clone());
    assert_eq!(value("retention.ms").as_deref(), Some("5000"));
    assert_eq!(value("segment.bytes").as_deref(), Some("1000000"));
    assert_eq!(value("cleanup.policy").as_deref(), Some("delete"));

    let metadata = kafka.call(MetadataRequest::default().with_topics(None)).await.unwrap();
    assert_eq!(metadata.topics.len(), 1);
    assert_eq!(metadata.topics[0].partitions.len(), 4);
    assert!(metadata.topics[0].partitions.iter().all(|p| p.leader_id.0 == 0 && p.error_code == 0));
    let described = kafka.call(DescribeClusterRequest::default()).await.unwrap();
    assert_eq!(described.brokers.len(), 1);
    assert_eq!(Some(described.cluster_id), metadata.cluster_id);

    let delete = DeleteTopicState::default().with_name(Some(name("good")));
    let request = DeleteTopicsRequest::default().with_timeout_ms(10_000).with_topics(vec![delete]);
    assert_eq!(kafka.call(request.clone()).await.unwrap().responses[0].error_code, 0);
    let gone = kafka.call(request).await.unwrap();
    assert_eq!(gone.responses[0].error_code, ResponseError::UnknownTopicOrPartition.code());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_again_starts_empty() {
    let cluster = node().await;
    let kafka = cluster.kafka(0);
    kafka.create_topic("t", 1).await;
    kafka.produce("t", 0, batch_of(&["old"]), 1).await.unwrap();
    let delete = DeleteTopicState::default().with_name(Some(name("t")));
    let request = DeleteTopicsRequest::default().with_timeout_ms(10_000).with_topics(vec![delete]);
    assert_eq!(kafka.call(request).await.unwrap().responses[0].error_code, 0);
    assert_eq!(kafka.create_topic("t", 1).await, 0);
    assert_eq!(kafka.list_offset("t", 0, -1).await, Ok(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_takes_whole_segments_away() {
    let spec = ClusterSpec { controllers: 1, storage_nodes: 1, gateways: 0 };
    let cluster = Cluster::start_with(spec, &[("storage.retention_check_interval_ms", "200")]).await;
    let kafka = cluster.kafka(0);
    let config = |key: &str, value: &str| {
        CreatableTopicConfig::default().with_name(text(key)).with_value(Some(text(value)))
    };
    let topic = CreatableTopic::default()
        .with_name(name("t"))
        .with_num_partitions(1)
        .with_replication_factor(1)
        .with_configs(vec![config("segment.bytes", "1000"), config("retention.bytes", "3000")]);
    let request = CreateTopicsRequest::default().with_timeout_ms(10_000).with_topics(vec![topic]);
    assert_eq!(kafka.call(request).await.unwrap().topics[0].error_code, 0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
    for _ in 0..20 {
        let mut builder = BatchBuilder::new(Compression::None);
        builder.push(now, None, Some(&[b'x'; 600]), &[]);
        assert_eq!(kafka.produce("t", 0, builder.build(), 1).await.unwrap().error_code, 0);
    }
    tests::wait_until("old segments go", Duration::from_secs(10), || async {
        kafka.list_offset("t", 0, -2).await.is_ok_and(|start| start >= 14)
    })
    .await;
    assert_eq!(kafka.list_offset("t", 0, -1).await, Ok(20));
    assert_eq!(kafka.fetch("t", 0, 0, 0).await.unwrap().error_code, ResponseError::OffsetOutOfRange.code());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_flushes_shows_a_record_only_once_it_is_on_disk() {
    let cluster = node().await;
    let kafka = cluster.kafka(0);
    assert_eq!(kafka.create_with("t", &[("flush.messages", "1")]).await, 0);
    let waiting = tokio::spawn({
        let kafka = cluster.kafka(0);
        async move { kafka.fetch("t", 0, 0, 8_000).await.unwrap() }
    });
    for n in 0..20 {
        let answer = kafka.produce("t", 0, batch_of(&["x"]), -1).await.unwrap();
        assert_eq!((answer.error_code, answer.base_offset), (0, n));
        assert_eq!(kafka.list_offset("t", 0, -1).await, Ok(n + 1), "acknowledged means flushed means seen");
    }
    assert!(!waiting.await.unwrap().records.unwrap().is_empty(), "woken by the flush");
}

/// The high watermark followed the flushed end, which lay at 0 for a topic that had not flushed until then.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_seen_stays_seen_when_a_topic_begins_to_flush() {
    let cluster = node().await;
    let kafka = cluster.kafka(0);
    kafka.create_topic("t", 1).await;
    kafka.produce("t", 0, batch_of(&["a", "b"]), -1).await.unwrap();
    assert_eq!(kafka.list_offset("t", 0, -1).await, Ok(2));
    assert_eq!(kafka.set_config("t", "flush.messages", "1").await, 0);
    assert_eq!(kafka.list_offset("t", 0, -1).await, Ok(2));
    assert_eq!(kafka.read_all("t", 0, 0).await.len(), 2);
    assert_eq!(kafka.produce("t", 0, batch_of(&["c"]), -1).await.unwrap().base_offset, 2);
    assert_eq!(kafka.list_offset("t", 0, -1).await, Ok(3));
}

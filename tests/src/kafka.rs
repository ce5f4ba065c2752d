use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use domain::{ProducerEpoch, ProducerId};
use records::{BatchBuilder, Compression, Record, decode_records};
use transport::{CallError, ClientPool};
use wire::{
    Request, StrBytes, WireTopicName,
    messages::{
        CreateTopicsRequest, DeleteTopicsRequest, FetchRequest, IncrementalAlterConfigsRequest,
        InitProducerIdRequest, ListOffsetsRequest, ProduceRequest,
        create_topics_request::{CreatableTopic, CreatableTopicConfig},
        delete_topics_request::DeleteTopicState,
        fetch_request::{FetchPartition, FetchTopic},
        fetch_response::PartitionData,
        incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
        list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
        produce_request::{PartitionProduceData, TopicProduceData},
        produce_response::PartitionProduceResponse,
    },
};

/// Kafka's protocol, spoken to one storage node.
#[derive(Clone)]
pub struct KafkaClient {
    pool: ClientPool,
    address: String,
}

const WITHIN: Duration = Duration::from_secs(10);
const DECOMPRESSED_MAX: usize = 64 << 20;

fn name(topic: &str) -> WireTopicName {
    WireTopicName(StrBytes::from_string(topic.to_owned()))
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as i64
}

/// A batch of values without keys, from a producer that is not idempotent.
pub fn batch_of(values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None);
    for value in values {
        builder.push(now_ms(), None, Some(value.as_bytes()), &[]);
    }
    builder.build()
}

/// A batch of an idempotent producer.
pub fn sequenced_batch(producer: ProducerId, sequence: i32, values: &[String]) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None);
    builder.producer(producer, ProducerEpoch(0), sequence);
    for value in values {
        builder.push(now_ms(), None, Some(value.as_bytes()), &[]);
    }
    builder.build()
}

impl KafkaClient {
    pub fn new(address: &str) -> Self {
        Self { pool: ClientPool::new("tests"), address: address.to_owned() }
    }

    pub async fn call<R: Request>(&self, request: R) -> Result<R::Response, CallError> {
        self.pool.call(&self.address, request, WITHIN).await
    }

    /// As [`KafkaClient::call`], in no version above this.
    pub async fn call_up_to<R: Request>(&self, request: R, version: i16) -> Result<R::Response, CallError> {
        self.pool.call_up_to(&self.address, request, version, WITHIN).await
    }

    /// The error code, 0 for success.
    pub async fn create_topic(&self, topic: &str, partitions: i32) -> i16 {
        let topic = CreatableTopic::default()
            .with_name(name(topic))
            .with_num_partitions(partitions)
            .with_replication_factor(1);
        let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000);
        let pool = self.pool.call(&self.address, request, Duration::from_secs(60));
        let answer = pool.await.expect("CreateTopics is answered").topics.remove(0);
        if let Some(message) = answer.error_message {
            eprintln!("CreateTopics: {}", &*message);
        }
        answer.error_code
    }

    /// Creates a topic with one partition and these settings.
    pub async fn create_with(&self, topic: &str, configs: &[(&str, &str)]) -> i16 {
        let text = |text: &str| StrBytes::from_string(text.to_owned());
        let config = |(key, value): &(&str, &str)| {
            CreatableTopicConfig::default().with_name(text(key)).with_value(Some(text(value)))
        };
        let topic = CreatableTopic::default()
            .with_name(name(topic))
            .with_num_partitions(1)
            .with_replication_factor(1)
            .with_configs(configs.iter().map(config).collect());
        let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000);
        self.call(request).await.expect("CreateTopics is answered").topics[0].error_code
    }

    /// Creates a topic whose partitions have so many replicas.
    pub async fn create_replicated(
        &self,
        topic: &str,
        partitions: i32,
        factor: i16,
        configs: &[(&str, &str)],
    ) -> i16 {
        let text = |text: &str| StrBytes::from_string(text.to_owned());
        let config = |(key, value): &(&str, &str)| {
            CreatableTopicConfig::default().with_name(text(key)).with_value(Some(text(value)))
        };
        let topic = CreatableTopic::default()
            .with_name(name(topic))
            .with_num_partitions(partitions)
            .with_replication_factor(factor)
            .with_configs(configs.iter().map(config).collect());
        let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000);
        self.call(request).await.expect("CreateTopics is answered").topics[0].error_code
    }

    pub async fn delete_topic(&self, topic: &str) -> i16 {
        let topic = DeleteTopicState::default().with_name(Some(name(topic)));
        let request = DeleteTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000);
        self.call(request).await.expect("DeleteTopics is answered").responses[0].error_code
    }

    /// Sets one setting of a topic.
    pub async fn set_config(&self, topic: &str, key: &str, value: &str) -> i16 {
        let text = |text: &str| StrBytes::from_string(text.to_owned());
        let config = AlterableConfig::default().with_name(text(key)).with_value(Some(text(value)));
        let resource = AlterConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(text(topic))
            .with_configs(vec![config]);
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
        self.call(request).await.expect("IncrementalAlterConfigs is answered").responses[0].error_code
    }

    pub async fn produce(
        &self,
        topic: &str,
        partition: i32,
        batch: Bytes,
        acks: i16,
    ) -> Result<PartitionProduceResponse, CallError> {
        let data = PartitionProduceData::default().with_index(partition).with_records(Some(batch));
        let topic = TopicProduceData::default().with_name(name(topic)).with_partition_data(vec![data]);
        let request =
            ProduceRequest::default().with_acks(acks).with_timeout_ms(5_000).with_topic_data(vec![topic]);
        // By name: newer versions go by topic id.
        let answer = self.pool.call_up_to(&self.address, request, 12, WITHIN).await?;
        Ok(answer.responses[0].partition_responses[0].clone())
    }

    /// One fetch; waits up to `wait_ms` for a byte.
    pub async fn fetch(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        wait_ms: i32,
    ) -> Result<PartitionData, CallError> {
        self.fetch_in_rack(topic, partition, offset, wait_ms, "").await
    }

    /// As [`KafkaClient::fetch`], by a consumer that says in which rack it is (KIP-392).
    pub async fn fetch_in_rack(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        wait_ms: i32,
        rack: &str,
    ) -> Result<PartitionData, CallError> {
        let partition = FetchPartition::default()
            .with_partition(partition)
            .with_fetch_offset(offset)
            .with_current_leader_epoch(-1)
            .with_partition_max_bytes(1 << 20);
        let topic = FetchTopic::default().with_topic(name(topic)).with_partitions(vec![partition]);
        let request = FetchRequest::default()
            .with_max_wait_ms(wait_ms)
            .with_min_bytes(1)
            .with_max_bytes(50 << 20)
            .with_session_epoch(-1)
            .with_rack_id(StrBytes::from_string(rack.to_owned()))
            .with_topics(vec![topic]);
        let mut answer = self.pool.call_up_to(&self.address, request, 12, WITHIN).await?;
        Ok(answer.responses.remove(0).partitions.remove(0))
    }

    /// All records of a partition from `offset` to its end now.
    pub async fn read_all(&self, topic: &str, partition: i32, mut offset: i64) -> Vec<Record> {
        let mut all = Vec::new();
        loop {
            let data = self.fetch(topic, partition, offset, 0).await.expect("Fetch is answered");
            assert_eq!(data.error_code, 0, "fetch of {topic}-{partition} at {offset}");
            let mut bytes = data.records.unwrap_or_default();
            if bytes.is_empty() {
                return all;
            }
            while !bytes.is_empty() {
                let header = records::BatchHeader::parse(&bytes).expect("a node sends whole batches");
                let batch = bytes.split_to(header.total_bytes());
                let decoded = decode_records(&batch, DECOMPRESSED_MAX).expect("a node sends sound batches");
                all.extend(decoded.into_iter().filter(|r| r.offset.0 >= offset));
                offset = header.next_offset().0;
            }
        }
    }

    /// The offset for a timestamp (-1: latest, -2: earliest), or the error code.
    pub async fn list_offset(&self, topic: &str, partition: i32, timestamp: i64) -> Result<i64, i16> {
        let partition = ListOffsetsPartition::default()
            .with_partition_index(partition)
            .with_current_leader_epoch(-1)
            .with_timestamp(timestamp);
        let topic = ListOffsetsTopic::default().with_name(name(topic)).with_partitions(vec![partition]);
        let request = ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![topic]);
        let answer = self.call(request).await.expect("ListOffsets is answered");
        let partition = &answer.topics[0].partitions[0];
        match partition.error_code {
            0 => Ok(partition.offset),
            code => Err(code),
        }
    }

    pub async fn init_producer_id(&self) -> ProducerId {
        let request = InitProducerIdRequest::default().with_transactional_id(None);
        let answer = self.call(request).await.expect("InitProducerId is answered");
        assert_eq!(answer.error_code, 0);
        ProducerId(answer.producer_id.0)
    }
}

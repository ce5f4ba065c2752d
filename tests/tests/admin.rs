//! Administration over Kafka's protocol, in the words of the protocol itself: what admin clients call, and what they are told
//! when it is wrong.

use std::time::Duration;

use tests::{
    Cluster, ClusterSpec, KafkaClient,
    replicated::{fill, in_sync, leader, replicated},
    wait_until,
};
use wire::{
    BrokerId, ResponseError, StrBytes, WireTopicName,
    messages::{
        AlterConfigsRequest, CreatePartitionsRequest, CreateTopicsRequest, DeleteRecordsRequest,
        DescribeConfigsRequest, IncrementalAlterConfigsRequest, alter_configs_request,
        create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic},
        create_topics_request::{CreatableReplicaAssignment, CreatableTopic},
        delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
        describe_configs_request::DescribeConfigsResource,
        describe_configs_response::DescribeConfigsResourceResult,
        incremental_alter_configs_request,
    },
};

const TWO: ClusterSpec = ClusterSpec { controllers: 1, storage_nodes: 2, gateways: 0 };
const WITHIN: Duration = Duration::from_secs(30);
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const GROUP: i8 = 32;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn name(topic: &str) -> WireTopicName {
    WireTopicName(text(topic))
}

/// The error code and where the log begins then.
async fn delete_records(kafka: &KafkaClient, topic: &str, before: i64) -> (i16, i64) {
    let partition = DeleteRecordsPartition::default().with_partition_index(0).with_offset(before);
    let topic = DeleteRecordsTopic::default().with_name(name(topic)).with_partitions(vec![partition]);
    let request = DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
    let answer = kafka.call(request).await.unwrap();
    let partition = &answer.topics[0].partitions[0];
    (partition.error_code, partition.low_watermark)
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_records_are_gone_on_every_replica_and_after_a_restart() {
    let mut cluster = replicated(1).await;
    let first = leader(&cluster).await;
    let kafka = cluster.kafka(first);
    fill(&kafka, 0, 20).await;
    assert_eq!(delete_records(&kafka, "t", 21).await, (ResponseError::OffsetOutOfRange.code(), -1));
    assert_eq!(delete_records(&kafka, "t", -7).await, (ResponseError::OffsetOutOfRange.code(), -1));
    assert_eq!(delete_records(&kafka, "nope", 1).await.0, ResponseError::UnknownTopicOrPartition.code());
    assert_eq!(delete_records(&kafka, "t", 12).await, (0, 12));
    assert_eq!(delete_records(&kafka, "t", 5).await, (0, 12), "it never goes back");
    assert_eq!(kafka.list_offset("t", 0, -2).await, Ok(12));
    let below = kafka.fetch("t", 0, 11, 0).await.unwrap();
    assert_eq!(below.error_code, ResponseError::OffsetOutOfRange.code());
    let follower = (0..3).find(|n| *n != first).unwrap();
    assert_eq!(
        delete_records(&cluster.kafka(follower), "t", 15).await.0,
        ResponseError::NotLeaderOrFollower.code()
    );

    // Whoever leads next has deleted them, too, once it is answered.
    in_sync(&cluster, 3).await;
    assert_eq!(delete_records(&kafka, "t", 17).await, (0, 17));
    cluster.kill(&format!("storage-node-{first}"));
    let other = async || match leader(&cluster).await {
        n if n == first => None,
        n => Some(n),
    };
    wait_until("another leads", WITHIN, || async { other().await.is_some() }).await;
    let second = cluster.kafka(other().await.unwrap());
    wait_until("it leads", WITHIN, || async { second.list_offset("t", 0, -1).await.is_ok() }).await;
    assert_eq!(second.list_offset("t", 0, -2).await, Ok(17));
    assert_eq!(delete_records(&second, "t", -1).await, (0, 20), "all that is committed");
    assert!(second.read_all("t", 0, 20).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_stays_deleted_after_kill_9() {
    let mut cluster = Cluster::start(ClusterSpec { storage_nodes: 1, ..TWO }).await;
    let kafka = cluster.kafka(0);
    assert_eq!(kafka.create_topic("t", 1).await, 0);
    fill(&kafka, 0, 10).await;
    assert_eq!(delete_records(&kafka, "t", 7).await, (0, 7));
    assert_eq!(kafka.create_with("keys", &[("cleanup.policy", "compact")]).await, 0);
    assert_eq!(delete_records(&kafka, "keys", 0).await.0, ResponseError::PolicyViolation.code());
    cluster.kill("storage-node-0");
    cluster.start_one("storage-node-0");
    cluster.ready().await;
    let kafka = cluster.kafka(0);
    wait_until("it leads again", WITHIN, || async { kafka.list_offset("t", 0, -1).await.is_ok() }).await;
    assert_eq!(kafka.list_offset("t", 0, -2).await, Ok(7));
    assert_eq!(kafka.read_all("t", 0, 7).await.len(), 3);
}

/// The older AlterConfigs: the error code and message.
async fn alter(kafka: &KafkaClient, configs: &[(&str, &str)], validate_only: bool) -> (i16, String) {
    let config = |(key, value): &(&str, &str)| {
        alter_configs_request::AlterableConfig::default().with_name(text(key)).with_value(Some(text(value)))
    };
    let resource = alter_configs_request::AlterConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(text("t"))
        .with_configs(configs.iter().map(config).collect());
    let request =
        AlterConfigsRequest::default().with_resources(vec![resource]).with_validate_only(validate_only);
    let answer = kafka.call(request).await.unwrap().responses.remove(0);
    (answer.error_code, answer.error_message.unwrap_or_default().to_string())
}

/// Sets (or, without a value, resets) one setting of all topics.
async fn alter_cluster(kafka: &KafkaClient, key: &str, value: Option<&str>) -> i16 {
    let config = incremental_alter_configs_request::AlterableConfig::default()
        .with_name(text(key))
        .with_config_operation(i8::from(value.is_none()))
        .with_value(value.map(text));
    let resource = incremental_alter_configs_request::AlterConfigsResource::default()
        .with_resource_type(BROKER)
        .with_configs(vec![config]);
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    kafka.call(request).await.unwrap().responses[0].error_code
}

async fn describe(
    kafka: &KafkaClient,
    kind: i8,
    resource: &str,
) -> Result<Vec<DescribeConfigsResourceResult>, (i16, String)> {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(resource))
        .with_configuration_keys(None);
    let request = DescribeConfigsRequest::default()
        .with_resources(vec![resource])
        .with_include_synonyms(true)
        .with_include_documentation(true);
    let answer = kafka.call(request).await.unwrap().results.remove(0);
    match answer.error_code {
        0 => Ok(answer.configs),
        code => Err((code, answer.error_message.unwrap_or_default().to_string())),
    }
}

/// Value, source, and the sources of the synonyms.
fn found(configs: &[DescribeConfigsResourceResult], name: &str) -> (String, i8, Vec<i8>) {
    let config = configs.iter().find(|c| &*c.name == name).unwrap_or_else(|| panic!("{name} is described"));
    assert!(config.documentation.as_ref().is_some_and(|d| !d.is_empty()), "{name} is documented");
    let sources = config.synonyms.iter().map(|s| s.source).collect();
    (config.value.clone().unwrap_or_default().to_string(), config.config_source, sources)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_older_way_of_altering_configs_replaces_all_of_them() {
    let cluster = Cluster::start(TWO).await;
    let (kafka, other) = (cluster.kafka(0), cluster.kafka(1));
    assert_eq!(kafka.create_with("t", &[("segment.bytes", "1000000"), ("retention.ms", "5000")]).await, 0);
    let (code, message) = alter(&kafka, &[("retention.ms", "soon")], false).await;
    assert_eq!(code, ResponseError::InvalidConfig.code());
    assert!(message.contains("retention.ms: 'soon' is not a whole number"), "{message}");
    let (code, message) = alter(&kafka, &[("retention.sm", "1")], false).await;
    assert_eq!((code, message.contains("retention.sm")), (ResponseError::InvalidConfig.code(), true));

    assert_eq!(alter(&kafka, &[("retention.ms", "7000")], true).await.0, 0, "only validated");
    let configs = describe(&other, TOPIC, "t").await.unwrap();
    assert_eq!(found(&configs, "retention.ms"), ("5000".to_owned(), 1, vec![1, 5]));
    assert_eq!(alter(&kafka, &[("retention.ms", "7000")], false).await.0, 0);
    // The other node may not have heard of it yet; it asks.
    let configs = describe(&other, TOPIC, "t").await.unwrap();
    assert_eq!(found(&configs, "retention.ms"), ("7000".to_owned(), 1, vec![1, 5]));
    assert_eq!(found(&configs, "segment.bytes"), ("1073741824".to_owned(), 5, vec![5]));
    let (code, message) = describe(&other, TOPIC, "nope").await.unwrap_err();
    assert_eq!((code, message.contains("nope")), (ResponseError::UnknownTopicOrPartition.code(), true));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_all_topics_have_is_set_at_the_broker_without_a_name() {
    let cluster = Cluster::start(TWO).await;
    let (kafka, other) = (cluster.kafka(0), cluster.kafka(1));
    assert_eq!(kafka.create_with("t", &[]).await, 0);
    assert_eq!(describe(&kafka, BROKER, "").await.unwrap(), []);
    assert_eq!(alter_cluster(&kafka, "log.retention.ms", Some("9000")).await, 0);
    let unknown = alter_cluster(&kafka, "log.retention", Some("9000")).await;
    assert_eq!(unknown, ResponseError::InvalidConfig.code());

    let all = describe(&kafka, BROKER, "").await.unwrap();
    assert_eq!((all.len(), found(&all, "log.retention.ms")), (1, ("9000".to_owned(), 3, vec![3, 5])));
    let seen = async || found(&describe(&other, TOPIC, "t").await.unwrap(), "retention.ms").1 == 3;
    wait_until("the other node has heard of it", WITHIN, seen).await;
    let node = describe(&kafka, BROKER, "0").await.unwrap();
    assert_eq!(found(&node, "log.retention.ms"), ("9000".to_owned(), 3, vec![3, 5]));
    assert_eq!(found(&node, "node.id"), ("0".to_owned(), 4, vec![4]));
    let (code, message) = describe(&kafka, BROKER, "1").await.unwrap_err();
    assert_eq!(code, ResponseError::InvalidRequest.code());
    assert_eq!(message, "node '1' is asked for at node 0");
    let group = describe(&kafka, GROUP, "g").await.unwrap();
    assert_eq!(found(&group, "consumer.session.timeout.ms"), ("45000".to_owned(), 4, vec![4]));

    assert_eq!(alter_cluster(&kafka, "log.retention.ms", None).await, 0);
    assert_eq!(describe(&kafka, BROKER, "").await.unwrap(), []);
}

/// The error code and message.
async fn create(kafka: &KafkaClient, topic: CreatableTopic, validate_only: bool) -> (i16, String) {
    let request = CreateTopicsRequest::default()
        .with_topics(vec![topic])
        .with_timeout_ms(30_000)
        .with_validate_only(validate_only);
    let answer = kafka.call(request).await.unwrap().topics.remove(0);
    (answer.error_code, answer.error_message.unwrap_or_default().to_string())
}

fn placed(assignments: &[(i32, &[i32])]) -> CreatableTopic {
    let assignment = |(partition, nodes): &(i32, &[i32])| {
        CreatableReplicaAssignment::default()
            .with_partition_index(*partition)
            .with_broker_ids(nodes.iter().map(|n| BrokerId(*n)).collect())
    };
    CreatableTopic::default()
        .with_name(name("placed"))
        .with_num_partitions(-1)
        .with_replication_factor(-1)
        .with_assignments(assignments.iter().map(assignment).collect())
}

async fn add(kafka: &KafkaClient, count: i32, nodes: &[&[i32]], validate_only: bool) -> (i16, String) {
    let assignment = |nodes: &&[i32]| {
        CreatePartitionsAssignment::default().with_broker_ids(nodes.iter().map(|n| BrokerId(*n)).collect())
    };
    let topic = CreatePartitionsTopic::default()
        .with_name(name("placed"))
        .with_count(count)
        .with_assignments(Some(nodes.iter().map(assignment).collect()).filter(|a: &Vec<_>| !a.is_empty()));
    let request = CreatePartitionsRequest::default()
        .with_topics(vec![topic])
        .with_timeout_ms(30_000)
        .with_validate_only(validate_only);
    let answer = kafka.call(request).await.unwrap().results.remove(0);
    (answer.error_code, answer.error_message.unwrap_or_default().to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_go_where_they_are_placed_and_a_wrong_place_is_named() {
    let cluster = Cluster::start(TWO).await;
    let kafka = cluster.kafka(0);
    let refused = ResponseError::InvalidReplicaAssignment.code();
    let (code, message) = create(&kafka, placed(&[(0, &[0, 77])]), false).await;
    assert!(code == refused && message.contains("77"), "{code}: {message}");
    let (code, message) = create(&kafka, placed(&[(0, &[1, 1])]), false).await;
    assert!(code == refused && !message.is_empty(), "{code}: {message}");
    let (code, message) = create(&kafka, placed(&[(1, &[0])]), false).await;
    assert!(code == refused && message.contains("0 to n - 1"), "{code}: {message}");
    assert_eq!(create(&kafka, placed(&[(0, &[1]), (1, &[0])]), true).await.0, 0);
    assert_eq!(create(&kafka, placed(&[(0, &[1]), (1, &[0])]), false).await.0, 0, "it was only validated");

    assert_eq!(add(&kafka, 3, &[&[1]], true).await.0, 0);
    let (code, message) = add(&kafka, 3, &[&[5]], false).await;
    assert!(code == refused && message.contains('5'), "{code}: {message}");
    let (code, message) = add(&kafka, 4, &[&[1]], false).await;
    assert!(code == refused && !message.is_empty(), "{code}: {message}");
    assert_eq!(add(&kafka, 3, &[&[1]], false).await.0, 0);
    let (code, message) = add(&kafka, 2, &[], false).await;
    assert!(code == ResponseError::InvalidPartitions.code() && message.contains('3'), "{code}: {message}");
    let topic = domain::TopicName::new("placed").unwrap();
    let described = cluster.controllers().describe_topic(&topic, WITHIN).await.unwrap();
    let replicas: Vec<i32> = described.partitions.iter().map(|(_, p)| p.replicas[0].0).collect();
    assert_eq!(replicas, [1, 0, 1]);
}

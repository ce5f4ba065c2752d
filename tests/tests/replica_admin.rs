//! What an operator asks of replicas, over Kafka's protocol.

use std::time::Duration;

use domain::{NodeId, TopicName};
use metadata::Partition;
use tests::{Cluster, ClusterSpec, KafkaClient, batch_of, sequenced_batch, wait_until};
use wire::{
    BrokerId, ResponseError, StrBytes, WireTopicName,
    messages::{
        AlterPartitionReassignmentsRequest, DescribeClusterRequest, DescribeLogDirsRequest,
        DescribeProducersRequest, ElectLeadersRequest, FetchRequest, ListPartitionReassignmentsRequest,
        MetadataRequest, OffsetForLeaderEpochRequest,
        alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic},
        describe_log_dirs_request::DescribableLogDirTopic,
        describe_producers_request::TopicRequest,
        elect_leaders_request::TopicPartitions,
        fetch_request::{FetchPartition, FetchTopic, ReplicaState},
        offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic},
    },
};

const THREE: ClusterSpec = ClusterSpec { controllers: 1, storage_nodes: 3, gateways: 0 };
const WITHIN: Duration = Duration::from_secs(30);

fn name(topic: &str) -> WireTopicName {
    WireTopicName(StrBytes::from_string(topic.to_owned()))
}

async fn partition(cluster: &Cluster) -> Partition {
    let topic = TopicName::new("t").unwrap();
    cluster.controllers().describe_topic(&topic, WITHIN).await.unwrap().partitions.remove(0).1
}

async fn until(cluster: &Cluster, what: &str, holds: impl Fn(&Partition) -> bool) -> Partition {
    wait_until(what, WITHIN, || async { holds(&partition(cluster).await) }).await;
    partition(cluster).await
}

/// Three nodes; the topic `t` with one partition on so many of them.
async fn with_topic(factor: i16) -> Cluster {
    let cluster = Cluster::start(THREE).await;
    assert_eq!(cluster.kafka(0).create_replicated("t", 1, factor, &[("min.insync.replicas", "2")]).await, 0);
    cluster
}

async fn elect(
    cluster: &Cluster,
    at: usize,
    election_type: i8,
    topics: Option<Vec<TopicPartitions>>,
) -> (i16, Vec<i16>) {
    let request = ElectLeadersRequest::default()
        .with_election_type(election_type)
        .with_topic_partitions(topics)
        .with_timeout_ms(10_000);
    let answer = cluster.kafka(at).call(request).await.unwrap();
    let results = answer.replica_election_results.iter().flat_map(|t| &t.partition_result);
    (answer.error_code, results.map(|r| r.error_code).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_preferred_leader_is_elected_at_an_operators_word() {
    let mut cluster = with_topic(3).await;
    let before = partition(&cluster).await;
    let first = before.leader.unwrap();
    assert_eq!(Some(&first), before.replicas.first());
    let named = || Some(vec![TopicPartitions::default().with_topic(name("t")).with_partitions(vec![0, 7])]);
    let unknown = ResponseError::UnknownTopicOrPartition.code();
    let (code, results) = elect(&cluster, 0, 0, named()).await;
    assert_eq!((code, results), (0, vec![ResponseError::ElectionNotNeeded.code(), unknown]));
    assert_eq!(elect(&cluster, 0, 0, None).await, (0, vec![]), "all, of which none needs it");
    assert_eq!(elect(&cluster, 0, 9, None).await.0, ResponseError::InvalidRequest.code());

    let node = format!("storage-node-{}", first.0);
    cluster.kill(&node);
    let other =
        until(&cluster, "another leads", |p| p.leader.is_some_and(|n| n != first)).await.leader.unwrap();
    let (_, results) = elect(&cluster, other.0 as usize, 0, named()).await;
    assert_eq!(results[0], ResponseError::PreferredLeaderNotAvailable.code());
    cluster.start_one(&node);
    until(&cluster, "it is in sync", |p| p.isr.len() == 3).await;
    let (_, results) = elect(&cluster, other.0 as usize, 0, named()).await;
    // By now it may have come back by itself.
    assert!([0, ResponseError::ElectionNotNeeded.code()].contains(&results[0]), "{results:?}");
    assert_eq!(partition(&cluster).await.leader, Some(first));
}

/// `None` as replicas calls off what is under way.
async fn reassign(kafka: &KafkaClient, replicas: Option<&[NodeId]>, factor_may_change: bool) -> i16 {
    let replicas = replicas.map(|nodes| nodes.iter().map(|n| BrokerId(n.0)).collect());
    let partition = ReassignablePartition::default().with_partition_index(0).with_replicas(replicas);
    let topic = ReassignableTopic::default().with_name(name("t")).with_partitions(vec![partition]);
    let request = AlterPartitionReassignmentsRequest::default()
        .with_topics(vec![topic])
        .with_allow_replication_factor_change(factor_may_change)
        .with_timeout_ms(10_000);
    let answer = kafka.call(request).await.unwrap();
    assert_eq!(answer.error_code, 0);
    answer.responses[0].partitions[0].error_code
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reassignment_moves_the_data_and_is_listed_while_it_lasts() {
    let mut cluster = with_topic(2).await;
    let old = until(&cluster, "both are in sync", |p| p.isr.len() == 2).await;
    let leader = old.leader.unwrap();
    let kafka = cluster.kafka(leader.0 as usize);
    for n in 0..20 {
        assert_eq!(kafka.produce("t", 0, batch_of(&["x"]), -1).await.unwrap().base_offset, n);
    }
    let new = NodeId((0..3).find(|n| !old.replicas.contains(&NodeId(*n))).unwrap());
    assert_eq!(reassign(&kafka, None, true).await, ResponseError::NoReassignmentInProgress.code());
    let three: Vec<NodeId> = (0..3).map(NodeId).collect();
    let factor = ResponseError::InvalidReplicationFactor.code();
    assert_eq!(reassign(&kafka, Some(&three), false).await, factor);
    let strange = ResponseError::InvalidReplicaAssignment.code();
    assert_eq!(reassign(&kafka, Some(&[leader, NodeId(77)]), true).await, strange);

    // While the new node is away, the move cannot end: it is listed, and can be called off.
    let away = format!("storage-node-{}", new.0);
    cluster.terminate(&away);
    let list = async || {
        let request = ListPartitionReassignmentsRequest::default().with_topics(None).with_timeout_ms(10_000);
        kafka.call(request).await.unwrap().topics
    };
    assert!(list().await.is_empty());
    let target = [leader, new];
    assert_eq!(reassign(&kafka, Some(&target), true).await, 0);
    let listed = list().await.remove(0).partitions.remove(0);
    assert_eq!((listed.partition_index, listed.replicas.len()), (0, 3));
    assert_eq!(listed.adding_replicas, [BrokerId(new.0)]);
    assert_eq!(listed.removing_replicas.len(), 1);
    assert_eq!(reassign(&kafka, None, true).await, 0);
    assert_eq!(partition(&cluster).await.replicas, old.replicas);
    assert!(list().await.is_empty());

    assert_eq!(reassign(&kafka, Some(&target), true).await, 0);
    cluster.start_one(&away);
    cluster.ready().await;
    let moved = until(&cluster, "the move ends", |p| !p.is_reassigning()).await;
    assert_eq!((moved.replicas.as_slice(), moved.isr.len()), (&target[..], 2));
    let at = cluster.kafka(new.0 as usize);
    wait_until("the new node has all of it", WITHIN, || async { sizes(&at).await == sizes(&kafka).await })
        .await;
}

/// A follower is who the controller has registered, in that registration: nobody else's fetch counts for the high watermark.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_only_claims_to_be_a_follower_is_refused() {
    let cluster = with_topic(3).await;
    let leader = until(&cluster, "somebody leads", |p| p.leader.is_some()).await.leader.unwrap();
    let kafka = cluster.kafka(leader.0 as usize);
    let fetch = |claims: i32| {
        let partition = FetchPartition::default().with_fetch_offset(0).with_partition_max_bytes(1 << 20);
        let topic = FetchTopic::default().with_topic(name("t")).with_partitions(vec![partition]);
        FetchRequest::default().with_replica_id(BrokerId(claims)).with_topics(vec![topic])
    };
    for claims in [(leader.0 + 1) % 3, 7] {
        // Before version 15 a follower gave no registration.
        let answer = kafka.call_up_to(fetch(claims), 12).await.unwrap();
        let refused = [ResponseError::StaleBrokerEpoch, ResponseError::BrokerIdNotRegistered];
        assert!(refused.map(|e| e.code()).contains(&answer.error_code), "{claims}: {answer:?}");
        assert!(answer.responses.is_empty());
        let later = ReplicaState::default().with_replica_id(BrokerId(claims)).with_replica_epoch(1 << 40);
        let request = FetchRequest::default().with_replica_state(later).with_topics(Vec::new());
        let answer = kafka.call_up_to(request, 17).await.unwrap();
        assert_eq!(answer.error_code, ResponseError::BrokerIdNotRegistered.code(), "{claims}");
    }
}

async fn sizes(kafka: &KafkaClient) -> Vec<(i32, i64)> {
    let request = DescribeLogDirsRequest::default().with_topics(None);
    let dir = kafka.call(request).await.unwrap().results.remove(0);
    let partitions = dir.topics.iter().flat_map(|t| &t.partitions);
    partitions.map(|p| (p.partition_index, p.partition_size)).collect()
}

/// Error, epoch and end.
async fn epoch_end(kafka: &KafkaClient, current: i32, epoch: i32) -> (i16, i32, i64) {
    let partition = OffsetForLeaderPartition::default()
        .with_partition(0)
        .with_current_leader_epoch(current)
        .with_leader_epoch(epoch);
    let topic = OffsetForLeaderTopic::default().with_topic(name("t")).with_partitions(vec![partition]);
    let request =
        OffsetForLeaderEpochRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic]);
    let answer = kafka.call(request).await.unwrap();
    let found = &answer.topics[0].partitions[0];
    (found.error_code, found.leader_epoch, found.end_offset)
}

#[tokio::test(flavor = "multi_thread")]
async fn epochs_end_where_the_leader_says() {
    let mut cluster = with_topic(3).await;
    let first = until(&cluster, "all are in sync", |p| p.isr.len() == 3).await;
    let (leader, epoch) = (first.leader.unwrap(), first.leader_epoch.0);
    let kafka = cluster.kafka(leader.0 as usize);
    for _ in 0..5 {
        assert_eq!(kafka.produce("t", 0, batch_of(&["a", "b"]), -1).await.unwrap().error_code, 0);
    }
    assert_eq!(epoch_end(&kafka, epoch, epoch).await, (0, epoch, 10));
    assert_eq!(epoch_end(&kafka, -1, epoch + 5).await, (0, -1, -1), "an epoch that never was");
    assert_eq!(epoch_end(&kafka, epoch + 1, epoch).await.0, ResponseError::UnknownLeaderEpoch.code());
    let follower = first.isr.iter().find(|n| **n != leader).unwrap();
    let follower = cluster.kafka(follower.0 as usize);
    assert_eq!(epoch_end(&follower, -1, epoch).await.0, ResponseError::NotLeaderOrFollower.code());

    cluster.kill(&format!("storage-node-{}", leader.0));
    let second = until(&cluster, "another leads", |p| p.leader.is_some_and(|n| n != leader)).await;
    let newer = second.leader_epoch.0;
    let kafka = cluster.kafka(second.leader.unwrap().0 as usize);
    wait_until("it leads", WITHIN, || async { kafka.list_offset("t", 0, -1).await.is_ok() }).await;
    assert_eq!(kafka.produce("t", 0, batch_of(&["c"]), -1).await.unwrap().error_code, 0);
    assert_eq!(epoch_end(&kafka, newer, epoch).await, (0, epoch, 10), "the first epoch has ended there");
    assert_eq!(epoch_end(&kafka, newer, newer).await, (0, newer, 11));
    assert_eq!(epoch_end(&kafka, epoch, epoch).await.0, ResponseError::FencedLeaderEpoch.code());
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_tell_their_size_and_their_producers() {
    let cluster = with_topic(3).await;
    let p = until(&cluster, "all are in sync", |p| p.isr.len() == 3).await;
    let kafka = cluster.kafka(p.leader.unwrap().0 as usize);
    let producer = kafka.init_producer_id().await;
    for sequence in 0..3 {
        let batch = sequenced_batch(producer, sequence, &["v".to_owned()]);
        assert_eq!(kafka.produce("t", 0, batch, -1).await.unwrap().error_code, 0);
    }
    for n in 0..3 {
        let kafka = cluster.kafka(n);
        let topic = DescribableLogDirTopic::default().with_topic(name("t")).with_partitions(vec![0, 9]);
        let request = DescribeLogDirsRequest::default().with_topics(Some(vec![topic]));
        let dir = kafka.call(request).await.unwrap().results.remove(0);
        assert!(dir.log_dir.ends_with(&format!("storage-node-{n}")), "{}", &*dir.log_dir);
        assert!(dir.total_bytes > dir.usable_bytes && dir.usable_bytes > 0);
        let described = &dir.topics[0].partitions;
        assert_eq!((described.len(), described[0].partition_index, described[0].offset_lag), (1, 0, 0));
        assert!(described[0].partition_size > 200 && !described[0].is_future_key);

        let topic = TopicRequest::default().with_name(name("t")).with_partition_indexes(vec![0, 9]);
        let request = DescribeProducersRequest::default().with_topics(vec![topic]);
        let partitions = kafka.call(request).await.unwrap().topics.remove(0).partitions;
        assert_eq!(partitions[1].error_code, ResponseError::UnknownTopicOrPartition.code());
        let known = &partitions[0].active_producers;
        assert_eq!(known.len(), 1);
        assert_eq!((known[0].producer_id.0, known[0].last_sequence), (producer.0, 2));
        assert_eq!((known[0].coordinator_epoch, known[0].current_txn_start_offset), (-1, -1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_tells_who_leads_who_is_in_sync_and_who_is_away() {
    let mut cluster = with_topic(-1).await;
    let before = until(&cluster, "all are in sync", |p| p.isr.len() == 3).await;
    assert_eq!((before.replicas.len(), before.min_isr), (3, 2), "the default is three, with three nodes");
    let dead = before.leader.unwrap();
    cluster.kill(&format!("storage-node-{}", dead.0));
    let after = until(&cluster, "another leads", |p| p.leader.is_some_and(|n| n != dead)).await;
    let asked = NodeId((0..3).find(|n| NodeId(*n) != dead).unwrap()).0 as usize;
    let kafka = cluster.kafka(asked);
    let seen = async || {
        let answer = kafka.call(MetadataRequest::default().with_topics(None)).await.unwrap();
        (answer.brokers.len(), answer.topics[0].partitions[0].clone())
    };
    wait_until("the node has heard of it", WITHIN, || async { seen().await.0 == 2 }).await;
    let (_, shown) = seen().await;
    assert_eq!((shown.leader_id.0, shown.leader_epoch), (after.leader.unwrap().0, after.leader_epoch.0));
    assert_eq!((shown.replica_nodes.len(), shown.isr_nodes.len()), (3, 2));
    assert_eq!(shown.offline_replicas, [BrokerId(dead.0)]);
    let all = DescribeClusterRequest::default().with_include_fenced_brokers(true);
    let brokers = kafka.call(all).await.unwrap().brokers;
    assert_eq!(brokers.iter().filter(|b| b.is_fenced).map(|b| b.broker_id.0).collect::<Vec<_>>(), [dead.0]);
}

//! Acknowledged records survive kill -9 of everything, in order, and none twice with an idempotent producer.

use std::{sync::Arc, time::Duration};

use tests::{Cluster, ClusterSpec, KafkaClient, sequenced_batch};
use tokio::sync::Mutex;

const SPEC: ClusterSpec = ClusterSpec { controllers: 1, storage_nodes: 1, gateways: 0 };

/// Produces batches of ten to one partition until told to stop; a batch that is not acknowledged is sent again. How
/// many values were acknowledged.
async fn produce(kafka: KafkaClient, partition: i32, stop: Arc<Mutex<bool>>) -> usize {
    let producer = kafka.init_producer_id().await;
    let mut acknowledged = 0;
    while !*stop.lock().await {
        let values: Vec<String> = (0..10).map(|n| format!("{partition}-{}", acknowledged + n)).collect();
        let batch = sequenced_batch(producer, acknowledged as i32, &values);
        loop {
            match kafka.produce("t", partition, batch.clone(), -1).await {
                Ok(answer) if answer.error_code == 0 => break,
                // Down, or not leading yet: the same batch again. Its outcome is unknown, its sequence is not.
                Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
        acknowledged += 10;
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_everything_loses_nothing_and_doubles_nothing() {
    let mut cluster = Cluster::start(SPEC).await;
    let kafka = cluster.kafka(0);
    assert_eq!(kafka.create_topic("t", 3).await, 0);
    let stop = Arc::new(Mutex::new(false));
    let producers: Vec<_> =
        (0..3).map(|p| tokio::spawn(produce(cluster.kafka(0), p, stop.clone()))).collect();
    for _ in 0..4 {
        let before = kafka.list_offset("t", 0, -1).await.unwrap();
        tests::wait_until("more was produced", Duration::from_secs(20), || async {
            kafka.list_offset("t", 0, -1).await.is_ok_and(|end| end > before + 200)
        })
        .await;
        cluster.kill_all();
        cluster.start_all();
        cluster.ready().await;
    }
    *stop.lock().await = true;
    for (partition, producer) in producers.into_iter().enumerate() {
        let acknowledged = producer.await.unwrap();
        assert!(acknowledged > 800, "{acknowledged}");
        let records = kafka.read_all("t", partition as i32, 0).await;
        let values: Vec<String> =
            records.iter().map(|r| String::from_utf8_lossy(r.value.as_ref().unwrap()).into_owned()).collect();
        let expected: Vec<String> = (0..acknowledged).map(|n| format!("{partition}-{n}")).collect();
        assert_eq!(values, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_restart_keeps_everything_and_recovers_nothing() {
    let mut cluster = Cluster::start(SPEC).await;
    let kafka = cluster.kafka(0);
    kafka.create_topic("t", 1).await;
    let producer = kafka.init_producer_id().await;
    let batch = sequenced_batch(producer, 0, &["a".to_owned(), "b".to_owned()]);
    assert_eq!(kafka.produce("t", 0, batch.clone(), -1).await.unwrap().error_code, 0);
    cluster.terminate_all();
    cluster.start_all();
    cluster.ready().await;
    assert!(cluster.process("storage-node-0").log().contains("clean=true"));
    tests::wait_until("the partition leads again", Duration::from_secs(10), || async {
        kafka.list_offset("t", 0, -1).await == Ok(2)
    })
    .await;
    // The producer's state came back, too.
    let again = kafka.produce("t", 0, batch, -1).await.unwrap();
    assert_eq!((again.error_code, again.base_offset), (0, 0));
    assert_eq!(kafka.read_all("t", 0, 0).await.len(), 2);
}

/// After a crash the high watermark of a topic that flushes was 0 until the next append: acknowledged records were there
/// and nobody saw them.
#[tokio::test(flavor = "multi_thread")]
async fn flushed_records_are_seen_again_after_kill_9() {
    let mut cluster = Cluster::start(SPEC).await;
    let kafka = cluster.kafka(0);
    assert_eq!(kafka.create_with("t", &[("flush.messages", "1")]).await, 0);
    for n in 0..3 {
        assert_eq!(kafka.produce("t", 0, tests::batch_of(&["x"]), -1).await.unwrap().base_offset, n);
    }
    cluster.kill("storage-node-0");
    cluster.start_one("storage-node-0");
    cluster.ready().await;
    tests::wait_until("the partition leads again", Duration::from_secs(10), || async {
        kafka.list_offset("t", 0, -1).await.is_ok()
    })
    .await;
    assert_eq!(kafka.list_offset("t", 0, -1).await, Ok(3));
    assert_eq!(kafka.read_all("t", 0, 0).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_lost_committed_records_is_offline_and_the_others_go_on() {
    let mut cluster = Cluster::start(SPEC).await;
    let kafka = cluster.kafka(0);
    for topic in ["good", "bad"] {
        kafka.create_topic(topic, 1).await;
        kafka.produce(topic, 0, tests::batch_of(&["x", "y"]), -1).await.unwrap();
        kafka.produce(topic, 0, tests::batch_of(&["z"]), -1).await.unwrap();
    }
    cluster.process("storage-node-0").terminate(Duration::from_secs(20));
    let folder = cluster.folder().join("storage-node-0");
    // Somebody took the clean mark and half of a log that was flushed.
    std::fs::remove_file(folder.join(".kafka_cleanshutdown")).unwrap();
    let log =
        std::fs::File::options().write(true).open(folder.join("bad-0/00000000000000000000.log")).unwrap();
    let bytes = log.metadata().unwrap().len();
    log.set_len(bytes / 2).unwrap();
    for _ in 0..2 {
        // Also after another restart: nothing was cut, nothing was taken for granted.
        cluster.start_one("storage-node-0");
        cluster.ready().await;
        tests::wait_until("the sound partition leads", Duration::from_secs(10), || async {
            kafka.list_offset("good", 0, -1).await == Ok(3)
        })
        .await;
        // The damaged replica was the only one: nobody leads until an operator decides.
        let refused = kafka.list_offset("bad", 0, -1).await;
        assert_eq!(refused, Err(wire::ResponseError::NotLeaderOrFollower.code()));
        let metadata =
            kafka.call(wire::messages::MetadataRequest::default().with_topics(None)).await.unwrap();
        let bad = metadata.topics.iter().find(|t| t.name.as_ref().is_some_and(|n| n.as_str() == "bad"));
        let shown = bad.unwrap().partitions[0].error_code;
        assert_eq!(shown, wire::ResponseError::LeaderNotAvailable.code());
        assert_eq!(log.metadata().unwrap().len(), bytes / 2);
        cluster.process("storage-node-0").terminate(Duration::from_secs(20));
    }
}

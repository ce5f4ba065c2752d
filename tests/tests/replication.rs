//! Replication on real processes: three storage nodes, one controller, gateways.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use domain::NodeId;
use serde_json::json;
use tests::{
    Cluster, ClusterSpec, Rest, batch_of,
    replicated::{
        LEADER_EPOCH_AT, MAGIC_AT, MIN_TWO, THREE, WITHIN, fill, flip_a_bit, follower, in_sync, leader, node,
        partition, replicated, same_logs, values,
    },
    sequenced_batch, wait_until,
};
use tokio::task::JoinHandle;
use wire::ResponseError;

/// A client that produces one value after the other through REST.
struct Writer {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicI64>,
    task: JoinHandle<Written>,
}

#[derive(Default)]
struct Written {
    acknowledged: Vec<String>,
    failed: Vec<(i64, String)>,
    longest: Duration,
}

impl Writer {
    fn start(rest: Rest) -> Self {
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI64::new(0)));
        let task = tokio::spawn(Self::run(rest, stop.clone(), acknowledged.clone()));
        Self { stop, acknowledged, task }
    }

    async fn run(rest: Rest, stop: Arc<AtomicBool>, acknowledged: Arc<AtomicI64>) -> Written {
        let mut written = Written::default();
        for n in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let begun = Instant::now();
            match rest.produce_value("t", 0, &json!(n)).await {
                Ok(_) => written.acknowledged.push(n.to_string()),
                Err(error) => written.failed.push(error),
            }
            written.longest = written.longest.max(begun.elapsed());
            acknowledged.store(written.acknowledged.len() as i64, Ordering::Relaxed);
        }
        written
    }

    /// Waits until so many more were acknowledged.
    async fn goes_on(&self, more: i64) {
        let before = self.acknowledged.load(Ordering::Relaxed);
        wait_until("writes go on", WITHIN, || async {
            self.acknowledged.load(Ordering::Relaxed) >= before + more
        })
        .await;
    }

    async fn end(self) -> Written {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

/// Whether `log` has everything in `acknowledged`, in that order, and nothing twice.
fn holds(log: &[String], acknowledged: &[String]) {
    let mut once = std::collections::BTreeSet::new();
    assert!(log.iter().all(|v| once.insert(v)), "a record is there twice");
    let mut rest = log.iter();
    for value in acknowledged {
        assert!(rest.any(|v| v == value), "acknowledged value {value} is lost or out of order");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_records_are_on_every_replica_byte_for_byte() {
    let cluster = replicated(2).await;
    for number in 0..2 {
        let leader = partition(&cluster, "t", number).await.leader.unwrap().0 as usize;
        let kafka = cluster.kafka(leader);
        let producer = kafka.init_producer_id().await;
        for n in 0..50 {
            let batch = sequenced_batch(producer, n * 2, &[format!("a{n}"), format!("b{n}")]);
            let answer = kafka.produce("t", number, batch, -1).await.unwrap();
            assert_eq!((answer.error_code, answer.base_offset), (0, i64::from(n) * 2));
            assert_eq!(
                kafka.list_offset("t", number, -1).await,
                Ok(i64::from(n) * 2 + 2),
                "acknowledged is seen"
            );
        }
    }
    same_logs(cluster, 0);
}

/// A follower that begins to follow a node in one idle partition says a moment later that it follows it in another, too.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_followed_next_does_not_wait_for_the_news_of_what_was_followed_first() {
    let spec = ClusterSpec { controllers: 1, storage_nodes: 2, gateways: 0 };
    let cluster = Cluster::start_with(spec, &[("storage.replica_fetch_wait_ms_max", "8000")]).await;
    // Each node leads one.
    assert_eq!(cluster.kafka(0).create_replicated("idle", 2, 2, MIN_TWO).await, 0);
    assert_eq!(cluster.kafka(0).create_replicated("t", 1, 2, MIN_TWO).await, 0);
    let leader = leader(&cluster).await;
    wait_until("the leader serves it", WITHIN, || async {
        cluster.kafka(leader).list_offset("t", 0, -2).await.is_ok()
    })
    .await;
    // Waits for 5 s.
    let answer = cluster.kafka(leader).produce("t", 0, batch_of(&["a"]), -1).await.unwrap();
    assert_eq!(answer.error_code, 0, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_leader_costs_no_record_and_comes_back_into_the_isr() {
    let mut cluster = replicated(1).await;
    let writer = Writer::start(cluster.rest(0));
    let latest = Latest::watch(cluster.rest(0));
    for _ in 0..3 {
        writer.goes_on(50).await;
        let dead = leader(&cluster).await;
        cluster.kill(&node(dead));
        writer.goes_on(50).await;
        assert_ne!(leader(&cluster).await, dead);
        cluster.start_one(&node(dead));
        in_sync(&cluster, 3).await;
    }
    let written = writer.end().await;
    assert_eq!(written.failed, [], "of {} records", written.acknowledged.len());
    eprintln!("the longest write took {:?}", written.longest);
    holds(&values(&cluster, 0).await, &written.acknowledged);
    latest.never_went_back().await;
    same_logs(cluster, 0);
}

/// Somebody who looks again and again at where the partition ends.
struct Latest {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Vec<i64>>,
}

impl Latest {
    fn watch(rest: Rest) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let mut seen = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let (status, offsets) = rest.get("/topics/t/partitions/0/offsets").await;
                if status.is_success() {
                    seen.push(offsets["end_offset"].as_i64().unwrap());
                }
            }
            seen
        });
        Self { stop, task }
    }

    async fn never_went_back(self) {
        self.stop.store(true, Ordering::Relaxed);
        let seen = self.task.await.unwrap();
        assert!(seen.len() > 100, "{}", seen.len());
        let back = seen.windows(2).find(|pair| pair[0] > pair[1] || pair[1] < 0);
        assert_eq!(back, None, "the latest offset went back");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_fails_no_produce() {
    let mut cluster = replicated(1).await;
    let writer = Writer::start(cluster.rest(0));
    for n in 0..3 {
        writer.goes_on(50).await;
        let led = leader(&cluster).await == n;
        cluster.terminate(&node(n));
        if led {
            // Its end was ordered: somebody else led before it was gone, so no stream's end had to be noticed.
            assert_ne!(partition(&cluster, "t", 0).await.leader, Some(NodeId(n as i32)));
        }
        writer.goes_on(50).await;
        cluster.start_one(&node(n));
        in_sync(&cluster, 3).await;
    }
    let written = writer.end().await;
    assert_eq!(written.failed, []);
    eprintln!("the longest write took {:?}", written.longest);
    holds(&values(&cluster, 0).await, &written.acknowledged);
    same_logs(cluster, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_one_node_of_three_reading_goes_on_and_writing_waits() {
    let mut cluster = Cluster::start_with(THREE, &[("gateway.limits.produce_ms_max", "1000")]).await;
    assert_eq!(cluster.kafka(0).create_replicated("t", 1, 3, MIN_TWO).await, 0);
    in_sync(&cluster, 3).await;
    let rest = cluster.rest(0);
    rest.produce_value("t", 0, &json!("before")).await.unwrap();
    let mut dead = Vec::new();
    for left in [2, 1] {
        // What a survivor is to show it must know to be committed; a follower learns that with its next fetch.
        for n in (0..3).filter(|n| !dead.contains(n)) {
            let kafka = cluster.kafka(n);
            wait_until("each node knows what is committed", WITHIN, || async {
                // Only to a consumer that knows of racks does a follower answer.
                let fetched = kafka.fetch_in_rack("t", 0, 0, 0, "any").await.unwrap();
                fetched.error_code == 0 && !fetched.records.unwrap_or_default().is_empty()
            })
            .await;
        }
        let victim = leader(&cluster).await;
        cluster.kill(&node(victim));
        dead.push(victim);
        in_sync(&cluster, left).await;
    }
    let last = leader(&cluster).await;
    let kafka = cluster.kafka(last);
    let refused = kafka.produce("t", 0, batch_of(&["refused"]), -1).await.unwrap();
    assert_eq!(refused.error_code, ResponseError::NotEnoughReplicas.code());
    let (code, message) = rest.produce_value("t", 0, &json!("refused")).await.unwrap_err();
    assert_eq!(code, 50302, "nothing was written, and it says so: {message}");
    assert!(message.contains("in sync"), "{message}");
    let (status, records) = rest.read_json("/topics/t/partitions/0/records?offset=0").await;
    assert_eq!((status.as_u16(), &records[0]["value"]), (200, &json!("before")), "{records}");
    for n in dead {
        cluster.start_one(&node(n));
    }
    in_sync(&cluster, 3).await;
    rest.produce_value("t", 0, &json!("after")).await.unwrap();
    assert_eq!(values(&cluster, 0).await, ["\"before\"", "\"after\""]);
    same_logs(cluster, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_every_node_at_once_loses_nothing() {
    let mut cluster = replicated(1).await;
    let writer = Writer::start(cluster.rest(0));
    for _ in 0..2 {
        writer.goes_on(100).await;
        for n in 0..3 {
            cluster.process(&node(n)).signal(rustix::process::Signal::KILL);
        }
        for n in 0..3 {
            cluster.kill(&node(n));
        }
        (0..3).for_each(|n| cluster.start_one(&node(n)));
        in_sync(&cluster, 3).await;
    }
    writer.goes_on(20).await;
    let written = writer.end().await;
    // Unknown is allowed while everything is down, a definite failure is, too; a wrong "acknowledged" is not.
    eprintln!("{} acknowledged, {} failed", written.acknowledged.len(), written.failed.len());
    holds(&values(&cluster, 0).await, &written.acknowledged);
    same_logs(cluster, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_with_an_empty_folder_is_filled_again() {
    let mut cluster = replicated(1).await;
    let (leader, follower) = (leader(&cluster).await, follower(&cluster).await);
    fill(&cluster.kafka(leader), 0, 100).await;
    cluster.kill(&node(follower));
    std::fs::remove_dir_all(cluster.folder().join(node(follower))).unwrap();
    in_sync(&cluster, 2).await;
    cluster.start_one(&node(follower));
    in_sync(&cluster, 3).await;
    fill(&cluster.kafka(self::leader(&cluster).await), 100, 10).await;
    assert_eq!(values(&cluster, 0).await.len(), 110);
    same_logs(cluster, 0);
}

/// A bit flips in a follower's log while it is down, of which 100 records are flushed and 10 are not; once the follower has put
/// its replica aside and fetched it again, all is as it was.
async fn is_put_aside_and_fetched_again(damaged: i64, at: usize) {
    let mut cluster = replicated(1).await;
    let follower = follower(&cluster).await;
    fill(&cluster.kafka(leader(&cluster).await), 0, 100).await;
    // An orderly end checkpoints what is flushed; then a crash.
    cluster.terminate(&node(follower));
    cluster.start_one(&node(follower));
    in_sync(&cluster, 3).await;
    fill(&cluster.kafka(leader(&cluster).await), 100, 10).await;
    cluster.kill(&node(follower));
    in_sync(&cluster, 2).await;
    flip_a_bit(&cluster, follower, damaged, at);
    cluster.start_one(&node(follower));
    // It may be in sync once more before it has read all of its log.
    let told = cluster.folder().join(format!("{}.log", node(follower)));
    wait_until("the damaged replica is fetched again", WITHIN, || async {
        std::fs::read_to_string(&told).is_ok_and(|text| text.contains("put a damaged replica aside"))
    })
    .await;
    in_sync(&cluster, 3).await;
    assert_eq!(values(&cluster, 0).await.len(), 110);
    same_logs(cluster, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_damaged_below_its_recovery_point_is_put_aside_and_fetched_again() {
    is_put_aside_and_fetched_again(99, MAGIC_AT).await;
}

/// In what was flushed, and at the end of what a killed node left, where nothing contradicts it but the metadata.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_with_a_leader_epoch_that_never_was_is_put_aside_and_fetched_again() {
    for damaged in [50, 109] {
        is_put_aside_and_fetched_again(damaged, LEADER_EPOCH_AT + 2).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_reads_from_the_replica_in_its_own_rack() {
    let mut cluster = Cluster::prepare(THREE, &[]);
    for n in 0..3 {
        cluster.set(&node(n), "storage.rack", &format!("rack-{n}"));
    }
    cluster.start_all();
    cluster.ready().await;
    assert_eq!(cluster.kafka(0).create_replicated("t", 1, 3, MIN_TWO).await, 0);
    in_sync(&cluster, 3).await;
    let (leader, near) = (leader(&cluster).await, follower(&cluster).await);
    fill(&cluster.kafka(leader), 0, 10).await;
    let rack = format!("rack-{near}");
    let sent_on = cluster.kafka(leader).fetch_in_rack("t", 0, 0, 0, &rack).await.unwrap();
    assert_eq!((sent_on.error_code, sent_on.preferred_read_replica.0), (0, near as i32));
    assert!(sent_on.records.unwrap_or_default().is_empty());
    // The follower learns of the high watermark with its next fetch.
    wait_until("the follower serves all of it", WITHIN, || async {
        let fetched = cluster.kafka(near).fetch_in_rack("t", 0, 9, 500, &rack).await.unwrap();
        fetched.error_code == 0 && !fetched.records.unwrap_or_default().is_empty()
    })
    .await;
    let refused = cluster.kafka(near).fetch("t", 0, 0, 0).await.unwrap();
    assert_eq!(refused.error_code, ResponseError::NotLeaderOrFollower.code(), "it did not say where it is");
    let own = cluster.kafka(leader).fetch_in_rack("t", 0, 0, 0, &format!("rack-{leader}")).await.unwrap();
    assert_eq!(own.preferred_read_replica.0, -1);
    assert!(!own.records.unwrap_or_default().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_made_again_has_nothing_of_the_old_one_on_any_replica() {
    let cluster = replicated(1).await;
    fill(&cluster.kafka(leader(&cluster).await), 0, 20).await;
    for round in 0..3 {
        assert_eq!(cluster.kafka(0).delete_topic("t").await, 0);
        assert_eq!(cluster.kafka(1).create_replicated("t", 1, 3, MIN_TWO).await, 0);
        in_sync(&cluster, 3).await;
        let kafka = cluster.kafka(leader(&cluster).await);
        wait_until("the new leader leads", WITHIN, || async { kafka.list_offset("t", 0, -1).await == Ok(0) })
            .await;
        fill(&kafka, 100 + round, 1).await;
        assert_eq!(values(&cluster, 0).await, [format!("v{}", 100 + round)]);
    }
    same_logs(cluster, 0);
}

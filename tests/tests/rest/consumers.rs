//! REST consumers on real clusters: any gateway, the same consumer.

use std::{collections::BTreeSet, time::Duration};

use group::{OFFSETS_TOPIC, partition_of};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::{
    Cluster, ClusterSpec, Rest,
    consumer::{Member, Protocol},
    replicated::partition,
    rest_consumer::{Polled, RestConsumer},
    wait_until,
};

const WITHIN: Duration = Duration::from_secs(30);

async fn with_topic(spec: ClusterSpec, partitions: i32) -> Cluster {
    let cluster = Cluster::start(spec).await;
    let (status, body) = cluster.rest(0).create_topic("t", partitions).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    cluster
}

async fn one_node(gateways: usize, partitions: i32) -> Cluster {
    with_topic(ClusterSpec { controllers: 1, storage_nodes: 1, gateways }, partitions).await
}

/// Writes the numbers from `from` on, so many to each partition.
async fn fill(rest: &Rest, partitions: i32, from: i64, count: i64) {
    for partition in 0..partitions {
        let records: Vec<Value> = (from..from + count).map(|n| json!({"value": n})).collect();
        let path = format!("/topics/t/partitions/{partition}");
        let (status, answer) = rest.produce_json(&path, &json!({"records": records})).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }
}

fn error(answer: &(StatusCode, Value)) -> (u16, i64) {
    assert!(answer.1["message"].as_str().is_some_and(|m| !m.is_empty()), "{}", answer.1);
    (answer.0.as_u16(), answer.1["error_code"].as_i64().unwrap_or(-1))
}

fn offsets_of(records: &[Polled], partition: i64) -> Vec<i64> {
    records.iter().filter(|r| r.partition == partition).map(|r| r.offset).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn any_gateway_serves_any_request_of_a_consumer_and_its_death_loses_nothing() {
    let mut cluster = one_node(3, 3).await;
    let (a, b, c) = (cluster.rest(0), cluster.rest(1), cluster.rest(2));
    fill(&a, 3, 0, 10).await;
    let consumer = RestConsumer::create(&a, "g", "one", json!({"auto.commit.enable": "false"})).await;
    consumer.done(&b, "/subscription", &json!({"topics": ["t"]})).await;
    let first = consumer.poll_many(&c, 30).await;
    assert_eq!(first.len(), 30);
    cluster.kill("gateway-2");
    consumer.done(&a, "/offsets", &json!({})).await;
    fill(&b, 3, 10, 1).await;
    let more = consumer.poll_many(&b, 3).await;
    assert!(more.iter().all(|record| record.offset == 10), "{more:?}");
    assert_eq!(more.len(), 3);
    cluster.kill("gateway-0");
    assert_eq!(consumer.assignments(&b).await, [0, 1, 2]);
    assert_eq!(consumer.committed(&b, "t", 3).await, [(0, 10), (1, 10), (2, 10)].into());
    assert_eq!(consumer.delete(&b, "").await.0, StatusCode::NO_CONTENT);
    assert_eq!(error(&consumer.get(&b, "/records").await), (404, 40403));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_that_repeats_its_request_id_gets_the_same_records_from_any_gateway() {
    let cluster = one_node(2, 2).await;
    let (a, b) = (cluster.rest(0), cluster.rest(1));
    fill(&a, 2, 0, 5).await;
    let consumer = RestConsumer::subscribed(&a, "g", "one", "t", json!({})).await;
    let first = consumer.poll_as(&a, "r1").await;
    assert!(!first.is_empty());
    assert_eq!(consumer.poll_as(&b, "r1").await, first);
    assert_eq!(consumer.poll_as(&a, "r1").await, first);
    assert!(
        consumer.committed(&a, "t", 2).await.values().all(|offset| *offset == 0),
        "nothing is acknowledged"
    );
    let mut all = first;
    let mut polls = 1;
    while all.len() < 10 {
        polls += 1;
        all.extend(consumer.poll_as(&b, &format!("r{polls}")).await);
    }
    for partition in 0..2 {
        assert_eq!(offsets_of(&all, partition), [0, 1, 2, 3, 4]);
    }
    assert!(consumer.poll_as(&a, "last").await.is_empty());
    assert_eq!(consumer.committed(&a, "t", 2).await, [(0, 5), (1, 5)].into());
}

/// The client goes away without having read the answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_closes_before_it_reads_is_given_everything_when_it_says_which_poll_it_repeats() {
    let cluster = one_node(1, 1).await;
    let rest = cluster.rest(0);
    let consumer = RestConsumer::subscribed(&rest, "g", "one", "t", json!({})).await;
    let mut seen = BTreeSet::new();
    for round in 0..20 {
        fill(&rest, 1, round * 5, 5).await;
        let request = format!("poll-{round}");
        cut_off(&rest, &consumer.path("/records"), &request).await;
        for record in consumer.poll_as(&rest, &request).await {
            seen.insert(record.offset);
        }
    }
    let rest_of_it = consumer.poll_many(&rest, 100 - seen.len()).await;
    seen.extend(rest_of_it.iter().map(|record| record.offset));
    assert_eq!(seen, (0..100).collect());
}

/// Sends a poll, and closes the connection when the answer is there, without reading any of it.
async fn cut_off(rest: &Rest, path: &str, request: &str) {
    use tokio::io::AsyncWriteExt;
    let address = rest.url("").trim_start_matches("http://").to_owned();
    let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nX-Request-Id: {request}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.readable().await.unwrap();
    stream.set_zero_linger().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_waits_for_records_and_returns_with_the_first() {
    let cluster = one_node(1, 2).await;
    let rest = cluster.rest(0);
    let options = json!({"consumer.request.timeout.ms": 20_000, "auto.offset.reset": "latest"});
    let consumer = RestConsumer::subscribed(&rest, "g", "one", "t", options).await;
    let (_, answer) = consumer.get(&rest, "/records?timeout=50").await;
    assert_eq!(answer, json!([]), "the query makes it shorter");
    let polling = tokio::spawn({
        let (consumer, rest) = (consumer.clone(), rest.clone());
        async move { consumer.poll(&rest).await }
    });
    fill(&rest, 2, 7, 1).await;
    let polled = tokio::time::timeout(Duration::from_secs(10), polling).await;
    let polled = polled.expect("long before its time is over").unwrap();
    assert_eq!((polled[0].offset, &polled[0].value), (0, &json!(7)), "latest was where the first poll was");
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_and_offsets_can_be_set_and_asked_for() {
    let cluster = one_node(1, 2).await;
    let rest = cluster.rest(0);
    fill(&rest, 2, 0, 10).await;
    let consumer = RestConsumer::create(&rest, "g", "one", json!({"auto.commit.enable": false})).await;
    let of = |partition: i32| json!({"topic": "t", "partition": partition});
    consumer.done(&rest, "/assignments", &json!({"partitions": [of(0)]})).await;
    assert_eq!(consumer.assignments(&rest).await, [0]);
    let to = |offset: i64| json!({"offsets": [{"topic": "t", "partition": 0, "offset": offset}]});
    consumer.done(&rest, "/positions", &to(7)).await;
    assert_eq!(offsets_of(&consumer.poll(&rest).await, 0), [7, 8, 9]);
    consumer.done(&rest, "/positions/beginning", &json!({"partitions": [of(0)]})).await;
    assert_eq!(consumer.poll(&rest).await.len(), 10);
    consumer.done(&rest, "/positions/end", &json!({"partitions": [of(0)]})).await;
    assert!(consumer.poll(&rest).await.is_empty());
    let times = json!({"timestamps": [{"topic": "t", "partition": 0, "timestamp": 0}]});
    consumer.done(&rest, "/positions", &times).await;
    assert_eq!(consumer.poll(&rest).await.len(), 10);
    let other = json!({"offsets": [{"topic": "t", "partition": 1, "offset": 1}]});
    assert_eq!(error(&consumer.post(&rest, "/positions", &other).await), (409, 40903));

    assert_eq!(consumer.committed(&rest, "t", 2).await, [].into());
    consumer.done(&rest, "/offsets", &to(3)).await;
    assert_eq!(consumer.committed(&rest, "t", 2).await, [(0, 4)].into(), "the one after what was read");
    let exact = json!({"partitions": [{"topic": "t", "partition": 0, "offset": 3, "metadata": "note"}]});
    consumer.done(&rest, "/offsets", &exact).await;
    let (_, answer) = consumer.get(&rest, "/offsets?topic=t&partition=0").await;
    assert_eq!(answer, json!({"offsets": [{"topic": "t", "partition": 0, "offset": 3, "metadata": "note"}]}));
    let (status, _) = rest.send(Method::POST, &consumer.path("/offsets"), "", "", "").await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(consumer.committed(&rest, "t", 2).await, [(0, 10)].into(), "all that was delivered");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_consumer_cannot_do_is_said_with_its_code() {
    let cluster = one_node(1, 1).await;
    let rest = cluster.rest(0);
    let consumer = RestConsumer::subscribed(&rest, "g", "one", "t", json!({})).await;
    let create = async |body: Value| {
        let (v2, body) = ("application/vnd.kafka.v2+json", body.to_string());
        rest.send(Method::POST, "/consumers/g", v2, "", body).await
    };
    assert_eq!(error(&create(json!({"name": "one"})).await), (409, 40902));
    assert_eq!(error(&create(json!({"format": "avro"})).await), (422, 42204));
    assert_eq!(error(&create(json!({"auto.offset.reset": 5})).await), (422, 422));
    let partitions = json!({"partitions": [{"topic": "t", "partition": 0}]});
    assert_eq!(error(&consumer.post(&rest, "/assignments", &partitions).await), (409, 40903));
    let both = json!({"topics": ["t"], "topic_pattern": "t"});
    assert_eq!(error(&consumer.post(&rest, "/subscription", &both).await), (409, 40903));
    assert_eq!(error(&consumer.post(&rest, "/subscription", &json!({"topic": "t"})).await), (422, 422));
    let unknown = json!({"partitions": [{"topic": "none", "partition": 0}]});
    assert_eq!(error(&consumer.post(&rest, "/positions/end", &unknown).await), (404, 40403));
    let binary = "application/vnd.kafka.binary.v2+json";
    let other = rest.send(Method::GET, &consumer.path("/records"), "", binary, "").await;
    assert_eq!(error(&other), (406, 40601));
    let text = rest.send(Method::POST, &consumer.path("/subscription"), "text/plain", "", "{}").await;
    assert_eq!(error(&text), (415, 415));
    let broken = rest
        .send(Method::POST, &consumer.path("/subscription"), "application/vnd.kafka.v2+json", "", "{")
        .await;
    assert_eq!(error(&broken), (400, 400));
    for body in ["", "null"] {
        let (status, answer) = rest.send(Method::POST, "/consumers/g", "", "", body).await;
        assert_eq!(status, StatusCode::OK, "an empty body: {answer}");
    }
    let nobody = RestConsumer::create(&rest, "g", "two", json!({})).await;
    assert_eq!(nobody.poll(&rest).await, []);
    assert_eq!(nobody.get(&rest, "/subscription").await.1, json!({"topics": []}));
}

#[tokio::test(flavor = "multi_thread")]
async fn rest_and_kafka_consumers_share_the_partitions_of_a_group() {
    let cluster = one_node(2, 6).await;
    let (a, b) = (cluster.rest(0), cluster.rest(1));
    fill(&a, 6, 0, 10).await;
    let member = Member::join(&cluster.gateway_kafka_address(0), "g", "t", Protocol::Consumer);
    wait_until("the Kafka consumer has all", WITHIN, async || member.owned().len() == 6).await;
    let consumer = RestConsumer::subscribed(&a, "g", "one", "t", json!({})).await;
    wait_until("they share", WITHIN, async || {
        consumer.poll(&b).await;
        member.owned().len() == 3 && consumer.assignments(&a).await.len() == 3
    })
    .await;
    let theirs: BTreeSet<i64> = member.owned().into_iter().map(i64::from).collect();
    let ours: BTreeSet<i64> = consumer.assignments(&b).await.into_iter().collect();
    assert!(theirs.is_disjoint(&ours));
    fill(&a, 6, 10, 10).await;
    let read = consumer.poll_many(&b, 30).await;
    let new: BTreeSet<(i64, i64)> =
        read.iter().filter(|r| r.offset >= 10).map(|r| (r.partition, r.offset)).collect();
    assert_eq!(new.len(), 30);
    drop(member);
    wait_until("it has all", WITHIN, async || {
        consumer.poll(&a).await;
        consumer.assignments(&a).await.len() == 6
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_outlives_its_coordinator() {
    let spec = ClusterSpec { controllers: 1, storage_nodes: 3, gateways: 1 };
    let mut cluster = with_topic(spec, 3).await;
    let rest = cluster.rest(0);
    fill(&rest, 3, 0, 10).await;
    let consumer = RestConsumer::subscribed(&rest, "g", "one", "t", json!({})).await;
    let first = consumer.poll_many(&rest, 30).await;
    assert_eq!(first.len(), 30);
    // The poll that finds nothing more acknowledges the last that did.
    assert!(consumer.poll(&rest).await.is_empty());
    assert_eq!(consumer.committed(&rest, "t", 3).await, [(0, 10), (1, 10), (2, 10)].into());
    let seat = partition_of("g", 50);
    let coordinator = partition(&cluster, OFFSETS_TOPIC, seat).await.leader.unwrap();
    cluster.kill(&format!("storage-node-{coordinator}"));
    fill(&rest, 3, 10, 5).await;
    let more = consumer.poll_many(&rest, 15).await;
    let values: BTreeSet<(i64, i64)> = more.iter().map(|r| (r.partition, r.offset)).collect();
    let expected: BTreeSet<(i64, i64)> = (0..3).flat_map(|p| (10..15).map(move |o| (p, o))).collect();
    assert_eq!(values, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_is_silent_for_too_long_is_gone() {
    let spec = ClusterSpec { controllers: 1, storage_nodes: 1, gateways: 1 };
    let cluster = Cluster::start_with(spec, &[("storage.groups.rest_session_timeout_ms", "1500")]).await;
    let rest = cluster.rest(0);
    rest.create_topic("t", 2).await;
    let silent = RestConsumer::subscribed(&rest, "g", "silent", "t", json!({})).await;
    let other = RestConsumer::subscribed(&rest, "g", "other", "t", json!({})).await;
    wait_until("the other has all", WITHIN, async || {
        other.poll(&rest).await;
        other.assignments(&rest).await.len() == 2
    })
    .await;
    assert_eq!(error(&silent.get(&rest, "/records").await), (404, 40403));
}

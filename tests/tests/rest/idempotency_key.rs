//! Requests with an `Idempotency-Key`: repeated, they are carried out once, whoever is asked and whoever leads.

use reqwest::StatusCode;
use serde_json::{Value, json};
use tests::{
    Cluster, ClusterSpec, Rest,
    replicated::{MIN_TWO, WITHIN, in_sync, leader, node, partition, values},
    wait_until,
};

const V2_JSON: &str = "application/vnd.kafka.json.v2+json";
const V3: &str = "application/json";

/// A request under a key: the status, and each JSON object of the answer.
async fn post(rest: &Rest, key: &str, path: &str, media_type: &str, body: &str) -> (StatusCode, Vec<Value>) {
    let request = reqwest::Client::new().post(rest.url(path)).header("content-type", media_type);
    let response = request.header("idempotency-key", key).body(body.to_owned()).send().await.unwrap();
    let (status, text) = (response.status(), response.text().await.unwrap());
    let objects = serde_json::Deserializer::from_str(&text).into_iter();
    (status, objects.collect::<Result<_, _>>().unwrap_or_else(|e| panic!("{e}: {text}")))
}

async fn produce(rest: &Rest, key: &str, body: &Value) -> (StatusCode, Value) {
    let (status, mut answer) = post(rest, key, "/topics/t", V2_JSON, &body.to_string()).await;
    (status, answer.remove(0))
}

/// Where each record of a v2 answer is.
fn places(answer: &Value) -> Vec<(i64, i64)> {
    let number = |place: &Value, name: &str| place[name].as_i64().unwrap_or_else(|| panic!("{answer}"));
    let offsets = answer["offsets"].as_array().unwrap_or_else(|| panic!("{answer}"));
    offsets.iter().map(|place| (number(place, "partition"), number(place, "offset"))).collect()
}

async fn with_topic(partitions: i32, gateways: usize) -> Cluster {
    let cluster = Cluster::start(ClusterSpec { controllers: 1, storage_nodes: 1, gateways }).await;
    let (status, body) = cluster.rest(0).create_topic("t", partitions).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    cluster
}

/// How many records the topic has.
async fn records(rest: &Rest, partitions: i32) -> i64 {
    let mut records = 0;
    for number in 0..partitions {
        let (_, offsets) = rest.get(&format!("/topics/t/partitions/{number}/offsets")).await;
        records += offsets["end_offset"].as_i64().unwrap();
    }
    records
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_is_answered_with_the_first_offsets_by_any_gateway_and_any_leader() {
    let spec = ClusterSpec { controllers: 1, storage_nodes: 3, gateways: 2 };
    let mut cluster = Cluster::start(spec).await;
    assert_eq!(cluster.kafka(0).create_replicated("t", 1, 3, MIN_TWO).await, 0);
    in_sync(&cluster, 3).await;
    let (a, b) = (cluster.rest(0), cluster.rest(1));
    assert!(a.produce_value("t", 0, &json!("before")).await.is_ok());
    let body = json!({"records": [{"value": "x"}, {"value": "y"}]});
    let first = produce(&a, "order-17", &body).await;
    assert_eq!((first.0, places(&first.1)), (StatusCode::OK, vec![(0, 1), (0, 2)]));
    assert!(a.produce_value("t", 0, &json!("after")).await.is_ok());
    assert_eq!(produce(&b, "order-17", &body).await, first);
    let old = leader(&cluster).await;
    cluster.kill(&node(old));
    wait_until("another leads", WITHIN, || async {
        partition(&cluster, "t", 0).await.leader.is_some_and(|leader| leader.0 as usize != old)
    })
    .await;
    assert_eq!(produce(&b, "order-17", &body).await, first);
    cluster.kill("gateway-1");
    assert_eq!(produce(&a, "order-17", &body).await, first);
    assert_eq!(values(&cluster, 0).await, ["\"before\"", "\"x\"", "\"y\"", "\"after\""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn repeats_at_the_same_time_write_once() {
    let cluster = with_topic(3, 2).await;
    let rests = [cluster.rest(0), cluster.rest(1)];
    let body = json!({"records": (0..50).map(|n| json!({"key": n, "value": n})).collect::<Vec<_>>()});
    let asked = (0..20).map(|n| {
        let (rest, body) = (rests[n % 2].clone(), body.clone());
        tokio::spawn(async move { produce(&rest, "k", &body).await })
    });
    let mut answers = Vec::new();
    for answer in asked.collect::<Vec<_>>() {
        answers.push(answer.await.unwrap());
    }
    assert!(answers.iter().all(|answer| answer.0 == StatusCode::OK && *answer == answers[0]), "{answers:?}");
    assert_eq!(records(&rests[0], 3).await, 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_request_under_the_same_key_is_refused() {
    let cluster = with_topic(3, 1).await;
    let rest = cluster.rest(0);
    let body = json!({"records": [{"value": 1}]});
    let (status, answer) = produce(&rest, "k", &body).await;
    assert_eq!(status, StatusCode::OK);
    let (number, _) = places(&answer)[0];
    let (status, refused) = produce(&rest, "k", &json!({"records": [{"value": 2}]})).await;
    assert_eq!((status.as_u16(), refused["error_code"].as_i64()), (422, Some(42209)), "{refused}");
    // The same content, sent in another way, is another request.
    let path = format!("/topics/t/partitions/{number}");
    let (status, _) = post(&rest, "k", &path, V2_JSON, &body.to_string()).await;
    assert_eq!(status.as_u16(), 422);
    let (status, refused) = produce(&rest, &"k".repeat(256), &body).await;
    assert_eq!((status.as_u16(), refused["error_code"].as_i64()), (400, Some(400)), "{refused}");
    let (status, fresh) = produce(&rest, "another", &body).await;
    assert_eq!(status, StatusCode::OK, "{fresh}");
    assert_eq!(records(&rest, 3).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_for_one_batch_is_refused_whole() {
    let cluster = with_topic(1, 1).await;
    let rest = cluster.rest(0);
    let value = "x".repeat(400_000);
    let body = |count: usize| json!({"records": vec![json!({"value": value}); count]});
    let (status, refused) = produce(&rest, "k", &body(3)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{refused}");
    assert!(refused["message"].as_str().unwrap().contains("max.message.bytes"), "{refused}");
    assert_eq!(records(&rest, 1).await, 0);
    assert_eq!(produce(&rest, "k", &body(2)).await.0, StatusCode::OK);
    assert_eq!(records(&rest, 1).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn v3s_stream_and_batch_are_carried_out_once_too() {
    let cluster = with_topic(2, 2).await;
    let (a, b) = (cluster.rest(0), cluster.rest(1));
    let path = format!("/v3/clusters/{}/topics/t/records", a.cluster_id().await);
    let record = |n: i32| json!({"partition_id": n % 2, "value": {"type": "JSON", "data": n}}).to_string();
    let stream = |count: i32| (0..count).map(record).collect::<Vec<_>>().join("\n");
    let offsets =
        |answers: &[Value]| -> Vec<i64> { answers.iter().map(|r| r["offset"].as_i64().unwrap()).collect() };
    // The first try broke off after three records.
    let (status, first) = post(&a, "s", &path, V3, &stream(3)).await;
    assert_eq!((status, offsets(&first)), (StatusCode::OK, vec![0, 0, 1]));
    let (_, again) = post(&b, "s", &path, V3, &stream(5)).await;
    assert_eq!(offsets(&again), [0, 0, 1, 1, 2]);
    assert_eq!(records(&a, 2).await, 5);
    let (_, other) = post(&b, "s", &path, V3, &record(8)).await;
    assert_eq!(other[0]["error_code"], 42209, "{other:?}");
    // What is wrong with a record is mended, and those behind it are still the same.
    let (_, first) = post(
        &a,
        "m",
        &path,
        V3,
        &[record(0), r#"{"vaule":1}"#.to_owned(), record(2)].join(
            "
",
        ),
    )
    .await;
    assert_eq!((&first[1]["error_code"], &first[2]["offset"]), (&json!(400), &json!(4)), "{first:?}");
    let (_, mended) = post(
        &b,
        "m",
        &path,
        V3,
        &[record(0), record(3), record(2)].join(
            "
",
        ),
    )
    .await;
    assert_eq!(offsets(&mended), [3, 2, 4]);
    let entry = |id: &str, n: i32| json!({"id": id, "partition_id": 1, "value": {"type": "JSON", "data": n}});
    let batch = json!({"entries": [entry("a", 1), entry("b", 2)]}).to_string();
    let (status, first) = post(&a, "b", &format!("{path}:batch"), V3, &batch).await;
    assert_eq!(status, StatusCode::MULTI_STATUS);
    assert_eq!(offsets(first[0]["successes"].as_array().unwrap()), [3, 4], "{first:?}");
    let (_, again) = post(&b, "b", &format!("{path}:batch"), V3, &batch).await;
    assert_eq!(offsets(again[0]["successes"].as_array().unwrap()), [3, 4], "{again:?}");
    let other = json!({"entries": [entry("a", 1), entry("b", 3)]}).to_string();
    let (_, refused) = post(&b, "b", &format!("{path}:batch"), V3, &other).await;
    assert_eq!(refused[0]["failures"][1]["error_code"], 42209, "{refused:?}");
    assert_eq!(records(&a, 2).await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_topic_does_not_take_refuses_the_whole_request_until_it_does() {
    let cluster = with_topic(1, 1).await;
    let rest = cluster.rest(0);
    let path = format!("/v3/clusters/{}/topics/t", rest.cluster_id().await);
    let alter = |value: &str| {
        let change = json!({"data": [{"name": "max.message.bytes", "value": value}]});
        let (rest, path) = (rest.clone(), format!("{path}/configs:alter"));
        async move { rest.post(&path, &change).await.0 }
    };
    assert_eq!(alter("2000").await, StatusCode::NO_CONTENT);
    let body = json!({"records": [{"value": "x".repeat(3_000)}, {"value": 1}]});
    let (_, refused) = produce(&rest, "k", &body).await;
    let codes: Vec<&Value> =
        refused["offsets"].as_array().unwrap().iter().map(|o| &o["error_code"]).collect();
    assert_eq!(codes, [&json!(413), &json!(422)], "{refused}");
    assert_eq!(records(&rest, 1).await, 0);
    assert_eq!(alter("100000").await, StatusCode::NO_CONTENT);
    let (_, written) = produce(&rest, "k", &body).await;
    assert_eq!(places(&written), [(0, 0), (0, 1)]);
    assert_eq!(produce(&rest, "k", &body).await.1, written);
}

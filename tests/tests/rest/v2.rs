//! v2, and what both versions share.

use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::{Cluster, ClusterSpec, Rest};

const V2_JSON: &str = "application/vnd.kafka.json.v2+json";

async fn with_topic(partitions: i32) -> (Cluster, Rest) {
    let cluster = Cluster::small().await;
    let rest = cluster.rest(0);
    let (status, body) = rest.create_topic("t", partitions).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    (cluster, rest)
}

fn error(answer: &(StatusCode, Value)) -> (u16, i64) {
    assert!(answer.1["message"].as_str().is_some_and(|m| !m.is_empty()), "{}", answer.1);
    (answer.0.as_u16(), answer.1["error_code"].as_i64().unwrap_or(-1))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_goes_in_and_comes_out() {
    let (cluster, rest) = with_topic(1).await;
    let sent = json!({"records": [{"key": "k", "value": {"n": 1}}, {"value": null}, {"value": 0}, {"value": false}]});
    let (status, answer) = rest.produce_json("/topics/t", &sent).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let offsets: Vec<i64> =
        answer["offsets"].as_array().unwrap().iter().map(|o| o["offset"].as_i64().unwrap()).collect();
    assert_eq!(offsets, [0, 1, 2, 3]);
    let (status, records) = rest.read_json("/topics/t/partitions/0/records?offset=0").await;
    assert_eq!(status, StatusCode::OK, "{records}");
    let values: Vec<&Value> = records.as_array().unwrap().iter().map(|r| &r["value"]).collect();
    assert_eq!(values, [&json!({"n": 1}), &Value::Null, &json!(0), &json!(false)]);
    assert_eq!(records[0]["key"], "k");
    assert_eq!(records[0]["topic"], "t");
    assert!(records[0]["timestamp"].as_i64().unwrap() > 1_600_000_000_000);
    // And straight from the storage node.
    assert_eq!(cluster.kafka(0).read_all("t", 0, 0).await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn any_bytes_come_back_as_they_were() {
    let (_cluster, rest) = with_topic(1).await;
    let values: Vec<Vec<u8>> = vec![vec![], (0..=255).collect(), vec![0xff; 100_000], "grüße\n".into()];
    let records: Vec<Value> = values.iter().map(|v| json!({"value": STANDARD.encode(v)})).collect();
    let (status, answer) = rest.produce_binary("/topics/t/partitions/0", &json!({"records": records})).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let (_, read) = rest.read_binary("/topics/t/partitions/0/records?offset=0").await;
    let read: Vec<Vec<u8>> = read
        .as_array()
        .unwrap()
        .iter()
        .map(|r| STANDARD.decode(r["value"].as_str().unwrap()).unwrap())
        .collect();
    assert_eq!(read, values);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_go_where_javas_client_puts_them() {
    let (_cluster, rest) = with_topic(4).await;
    // murmur2 of these, as Kafka's own tests have it, made positive, modulo 4.
    let hashes = [
        ("21", -973_932_308i32),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
        ("abc", 479_470_107),
    ];
    for (key, hash) in hashes {
        let record = json!({"records": [{"key": STANDARD.encode(key), "value": ""}]});
        let (_, answer) = rest.produce_binary("/topics/t", &record).await;
        let expected = i64::from((hash & 0x7fff_ffff) % 4);
        assert_eq!(answer["offsets"][0]["partition"], expected, "key {key}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_gets_a_clear_error_and_nothing_is_appended() {
    let (cluster, rest) = with_topic(1).await;
    let send =
        async |path: &str, body: &str| rest.send(Method::POST, path, V2_JSON, "", body.to_owned()).await;
    assert_eq!(error(&send("/topics/t", "{not json").await), (400, 400));
    assert_eq!(error(&send("/topics/t", "{\"records\": 5}").await), (422, 422));
    assert_eq!(error(&send("/topics/t", "{}").await), (422, 422));
    assert_eq!(error(&send("/topics/none", "{\"records\":[{\"value\":1}]}").await), (404, 40401));
    assert_eq!(error(&send("/topics/t/partitions/9", "{\"records\":[{\"value\":1}]}").await), (404, 40402));
    let bad_base64 = rest.produce_binary("/topics/t", &json!({"records": [{"value": "*not base64*"}]})).await;
    assert_eq!(error(&bad_base64), (400, 400));
    let media = rest.send(Method::POST, "/topics/t", "text/plain", "", "x").await;
    assert_eq!(error(&media), (415, 415));
    assert!(media.1["message"].as_str().unwrap().contains("application/vnd.kafka"), "it names what is taken");
    let huge = format!("{{\"records\":[{{\"value\":\"{}\"}}]}}", "x".repeat(17 << 20));
    // A connection that was closed before all of it was written would take the answer with it, now and then.
    for _ in 0..10 {
        assert_eq!(error(&send("/topics/t", &huge).await).0, 413);
    }
    let accept = rest.send(Method::GET, "/topics", "", "text/html", "").await;
    assert_eq!(error(&accept), (406, 406));
    assert_eq!(error(&rest.get("/no/such/path").await), (404, 404));
    assert_eq!(error(&rest.send(Method::PUT, "/topics", "", "", "").await), (405, 405));
    assert_eq!(error(&rest.get("/topics/none").await), (404, 40403));
    assert_eq!(error(&rest.get("/topics/t/partitions/7").await), (404, 40402));
    assert_eq!(error(&rest.read_json("/topics/t/partitions/0/records?offset=99").await), (400, 40003));
    assert_eq!(error(&rest.read_json("/topics/t/partitions/0/records?offset=-1").await).0, 400);
    assert_eq!(error(&rest.get("/v3/clusters/nope").await), (404, 404));
    assert_eq!(cluster.kafka(0).list_offset("t", 0, -1).await, Ok(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_too_large_is_refused_alone() {
    let (_cluster, rest) = with_topic(1).await;
    let large = "x".repeat(2 << 20);
    let (status, answer) = rest
        .produce_json("/topics/t", &json!({"records": [{"value": "a"}, {"value": large}, {"value": "b"}]}))
        .await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["offsets"][0]["offset"], 0);
    assert!(answer["offsets"][1]["error_code"].as_i64().is_some(), "{answer}");
    assert_eq!(answer["offsets"][2]["offset"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_administered() {
    let (_cluster, rest) = with_topic(2).await;
    let topics = format!("/v3/clusters/{}/topics", rest.cluster_id().await);
    let again = rest.create_topic("t", 1).await;
    assert_eq!(error(&again), (400, 40002));
    let factor = json!({"topic_name": "r3", "partitions_count": 1, "replication_factor": 3});
    assert_eq!(error(&rest.post(&topics, &factor).await), (400, 40002));
    let (_, listed) = rest.get(&topics).await;
    assert_eq!(listed["data"][0]["topic_name"], "t");
    assert_eq!(listed["kind"], "KafkaTopicList");
    let config = format!("{topics}/t/configs/retention.ms");
    let put =
        rest.send(Method::PUT, &config, "application/json", "", json!({"value": "5000"}).to_string()).await;
    assert_eq!(put.0, StatusCode::NO_CONTENT);
    assert_eq!(rest.get(&config).await.1["value"], "5000");
    assert_eq!(error(&rest.get(&format!("{topics}/t/configs/no.such")).await).0, 404);
    let (_, offsets) = rest.get("/topics/t/partitions/0/offsets").await;
    assert_eq!(offsets, json!({"beginning_offset": 0, "end_offset": 0}));
    assert_eq!(rest.delete(&format!("{topics}/t")).await.0, StatusCode::NO_CONTENT);
    assert_eq!(error(&rest.delete(&format!("{topics}/t")).await), (404, 40403));
    assert_eq!(rest.get("/topics").await.1, json!([]));
    let (_, nodes) = rest.get("/admin/v1/nodes").await;
    assert_eq!(nodes["nodes"][0]["state"], "active");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_v3_stream_reports_every_record_in_order() {
    let (_cluster, rest) = with_topic(3).await;
    let path = format!("/v3/clusters/{}/topics/t/records", rest.cluster_id().await);
    let body: String = (0..2_000)
        .map(|n| {
            let value = STANDARD.encode(format!("v{n}"));
            json!({"partition_id": n % 3, "value": {"type": "BINARY", "data": value}}).to_string()
        })
        .collect();
    let client = reqwest::Client::new();
    let response = client
        .post(rest.url(&path))
        .header("content-type", "application/json")
        .body(body)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let text = response.text().await.unwrap();
    let reports: Vec<Value> =
        serde_json::Deserializer::from_str(&text).into_iter().collect::<Result<_, _>>().unwrap();
    assert_eq!(reports.len(), 2_000);
    for (n, report) in reports.iter().enumerate() {
        assert_eq!(report["error_code"], 200, "{report}");
        assert_eq!(
            (report["partition_id"].as_u64(), report["offset"].as_u64()),
            (Some(n as u64 % 3), Some(n as u64 / 3))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_finds_the_leaders_of_several_nodes_and_keeps_nothing() {
    let spec = ClusterSpec { controllers: 1, storage_nodes: 3, gateways: 2 };
    let mut cluster = Cluster::start(spec).await;
    let rest = cluster.rest(0);
    rest.create_topic("t", 6).await;
    for partition in 0..6 {
        let path = format!("/topics/t/partitions/{partition}");
        let (status, answer) = rest.produce_json(&path, &json!({"records": [{"value": partition}]})).await;
        assert_eq!((status, &answer["offsets"][0]["offset"]), (StatusCode::OK, &json!(0)), "{answer}");
    }
    cluster.kill("gateway-0");
    let other = cluster.rest(1);
    for partition in 0..6 {
        let path = format!("/topics/t/partitions/{partition}/records?offset=0");
        let (status, records) = other.read_json(&path).await;
        assert_eq!(status, StatusCode::OK, "{records}");
        assert_eq!(records[0]["value"], partition);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_produce_outlives_the_restart_of_the_leader() {
    let mut cluster = Cluster::small().await;
    let rest = cluster.rest(0);
    rest.create_topic("t", 1).await;
    rest.produce_json("/topics/t", &json!({"records": [{"value": "before"}]})).await;
    cluster.kill("storage-node-0");
    let produced = tokio::spawn({
        let rest = rest.clone();
        async move { rest.produce_json("/topics/t", &json!({"records": [{"value": "during"}]})).await }
    });
    cluster.start_one("storage-node-0");
    let (status, answer) = produced.await.unwrap();
    assert_eq!((status, &answer["offsets"][0]["offset"]), (StatusCode::OK, &json!(1)), "{answer}");
    let (_, records) = rest.read_json("/topics/t/partitions/0/records?offset=0").await;
    assert_eq!(records.as_array().unwrap().len(), 2, "neither lost nor doubled: {records}");
}

//! What v3 has besides topics and records, on a real cluster: batches, consumer groups, configs, and the live tail.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::{
    Cluster, ClusterSpec, Rest,
    consumer::{Member, Protocol},
    wait_until,
};

const WITHIN: Duration = Duration::from_secs(30);

async fn base(rest: &Rest) -> String {
    format!("/v3/clusters/{}", rest.cluster_id().await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_named_records_is_written_and_read() {
    let cluster = Cluster::small().await;
    let rest = cluster.rest(0);
    rest.create_topic("t", 2).await;
    let path = format!("{}/topics/t/records:batch", base(&rest).await);
    let entry = |id: &str, partition: i32, value: &str| {
        let value = json!({"type": "BINARY", "data": STANDARD.encode(value)});
        json!({"id": id, "partition_id": partition, "value": value, "headers": [{"name": "h", "value": "eA=="}]})
    };
    let entries = [entry("a", 0, "1"), entry("b", 1, "2"), entry("c", 7, "3"), entry("d", 0, "4")];
    let (status, outcomes) = rest.post(&path, &json!({"entries": entries})).await;
    assert_eq!(status, StatusCode::MULTI_STATUS, "{outcomes}");
    let places: Vec<_> = outcomes["successes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| (&s["id"], &s["partition_id"], &s["offset"]))
        .collect();
    let place = |id: &str, partition: i64, offset: i64| (json!(id), json!(partition), json!(offset));
    let expected = [place("a", 0, 0), place("b", 1, 0), place("d", 0, 1)];
    assert_eq!(places, expected.iter().map(|(a, b, c)| (a, b, c)).collect::<Vec<_>>());
    assert_eq!(
        (&outcomes["failures"][0]["id"], &outcomes["failures"][0]["error_code"]),
        (&json!("c"), &json!(40402))
    );
    let (_, records) = rest.read_json("/topics/t/partitions/0/records?offset=0").await;
    assert_eq!((&records[0]["value"], &records[1]["value"]), (&json!(1), &json!(4)));
    let many: Vec<Value> = (0..11).map(|n| entry(&n.to_string(), 0, "x")).collect();
    let (status, error) = rest.post(&path, &json!({"entries": many})).await;
    assert_eq!((status, &error["error_code"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!(42208)));
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_of_both_protocols_show_members_and_lags() {
    let spec = ClusterSpec { controllers: 1, storage_nodes: 3, gateways: 1 };
    let cluster = Cluster::start(spec).await;
    let rest = cluster.rest(0);
    rest.create_topic("t", 4).await;
    let groups = format!("{}/consumer-groups", base(&rest).await);
    assert_eq!(rest.get(&groups).await.1["data"], json!([]), "nobody coordinates anything yet");
    assert_eq!(rest.get(&format!("{groups}/nope")).await.0, StatusCode::NOT_FOUND);
    for partition in 0..4 {
        rest.produce_value("t", partition, &json!("x")).await.unwrap();
    }
    for (group, protocol, kind) in
        [("classic/one", Protocol::Cooperative, "CLASSIC"), ("new", Protocol::Consumer, "CONSUMER")]
    {
        let path = format!("{groups}/{}", group.replace('/', "%2F"));
        let members: Vec<Member> =
            (0..2).map(|_| Member::join(&cluster.kafka_address(0), group, "t", protocol)).collect();
        // One that came first has all for a moment.
        let shared = async || members.iter().all(|member| member.owned().len() == 2);
        wait_until("each member has its half of the partitions", WITHIN, shared).await;
        let stable = async || rest.get(&path).await.1["state"] == "STABLE";
        wait_until("the group is stable", WITHIN, stable).await;
        let (_, shown) = rest.get(&path).await;
        assert_eq!((&shown["type"], &shown["consumer_group_id"]), (&json!(kind), &json!(group)));
        let (_, consumers) = rest.get(&format!("{path}/consumers")).await;
        let mut assigned = 0;
        for consumer in consumers["data"].as_array().unwrap() {
            // An id may hold anything, librdkafka's a slash now and then: the link has it as a path needs it.
            let link = consumer["assignments"]["related"].as_str().unwrap();
            let (status, assignments) = rest.get(&link[link.find("/v3/").unwrap()..]).await;
            assert_eq!(status, StatusCode::OK, "{assignments}");
            assigned += assignments["data"].as_array().unwrap().len();
        }
        assert_eq!((consumers["data"].as_array().unwrap().len(), assigned), (2, 4));
        // Members commit what they have seen when they leave.
        let read = async || members.iter().map(|m| m.seen().len()).sum::<usize>() == 4;
        wait_until("everything is read", WITHIN, read).await;
        members.into_iter().for_each(|member| drop(member.leave()));
        rest.produce_value("t", 2, &json!("more")).await.unwrap();
        let (status, summary) = rest.get(&format!("{path}/lag-summary")).await;
        assert_eq!(status, StatusCode::OK, "{summary}");
        assert_eq!((&summary["total_lag"], &summary["max_lag_partition_id"]), (&json!(1), &json!(2)));
        let (_, lag) = rest.get(&format!("{path}/lags/t/partitions/2")).await;
        assert_eq!(lag["lag"], 1);
        rest.produce_value("t", 2, &json!("and more")).await.unwrap();
        assert_eq!(rest.get(&format!("{path}/lags")).await.1["data"][0]["lag"], 2, "the longest first");
        // The next group begins where nothing is behind.
        assert_eq!(rest.get(&format!("{path}/lags")).await.1["data"].as_array().unwrap().len(), 4);
        rest.delete(&format!("{}/topics/t", base(&rest).await)).await;
        rest.create_topic("t", 4).await;
        for partition in 0..4 {
            rest.produce_value("t", partition, &json!("x")).await.unwrap();
        }
    }
    let (_, list) = rest.get(&groups).await;
    let names: Vec<_> =
        list["data"].as_array().unwrap().iter().map(|g| g["consumer_group_id"].as_str().unwrap()).collect();
    assert_eq!(names, ["classic/one", "new"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_holds_for_all_topics_is_set_seen_and_unset() {
    let cluster = Cluster::small().await;
    let rest = cluster.rest(0);
    rest.create_topic("t", 1).await;
    let base = base(&rest).await;
    let put = async |path: &str, value: &str| {
        let body = json!({"value": value}).to_string();
        rest.send(Method::PUT, &format!("{base}{path}"), "application/json", "", body).await
    };
    let value = async |path: &str| rest.get(&format!("{base}{path}")).await.1["value"].clone();
    assert_eq!(rest.get(&format!("{base}/broker-configs")).await.1["data"], json!([]));
    assert_eq!(put("/broker-configs/log.retention.ms", "3600000").await.0, StatusCode::NO_CONTENT);
    assert_eq!(value("/broker-configs/log.retention.ms").await, "3600000");
    assert_eq!(value("/brokers/0/configs/log.retention.ms").await, "3600000");
    assert_eq!(value("/topics/t/configs/retention.ms").await, "3600000");
    assert_eq!(value("/brokers/0/configs/node.id").await, "0");
    let alter = json!({"data": [{"name": "log.retention.ms", "operation": "DELETE"}, {"name": "log.segment.bytes", "value": "2097152"}]});
    assert_eq!(rest.post(&format!("{base}/broker-configs:alter"), &alter).await.0, StatusCode::NO_CONTENT);
    assert_eq!(rest.get(&format!("{base}/broker-configs/log.retention.ms")).await.0, StatusCode::NOT_FOUND);
    assert_eq!(value("/topics/t/configs/segment.bytes").await, "2097152");
    assert_eq!(
        rest.delete(&format!("{base}/broker-configs/log.segment.bytes")).await.0,
        StatusCode::NO_CONTENT
    );
    let many = json!({"data": [
        {"topic_name": "t", "configs": [{"name": "retention.ms", "value": "5000"}]},
        {"topic_name": "nope", "configs": [{"name": "retention.ms", "value": "5000"}]},
    ]});
    let (status, failures) = rest.post(&format!("{base}/topics/-/configs:alter"), &many).await;
    assert_eq!((status, &failures["failures"][0]["topic_name"]), (StatusCode::MULTI_STATUS, &json!("nope")));
    assert_eq!(value("/topics/t/configs/retention.ms").await, "5000");
    let (status, error) = put("/brokers/0/configs/log.retention.ms", "1").await;
    assert_eq!((status, &error["error_code"]), (StatusCode::BAD_REQUEST, &json!(40002)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_grown_and_its_settings_changed_together() {
    let cluster = Cluster::small().await;
    let rest = cluster.rest(0);
    rest.create_topic("t", 1).await;
    let topic = format!("{}/topics/t", base(&rest).await);
    let patch = json!({"partitions_count": 3}).to_string();
    let (status, grown) = rest.send(Method::PATCH, &topic, "application/json", "", patch).await;
    assert_eq!((status, &grown["partitions_count"]), (StatusCode::OK, &json!(3)), "{grown}");
    let shrunk = json!({"partitions_count": 2}).to_string();
    let (status, error) = rest.send(Method::PATCH, &topic, "application/json", "", shrunk).await;
    assert_eq!((status, &error["error_code"]), (StatusCode::BAD_REQUEST, &json!(40002)));
    rest.produce_value("t", 2, &json!(1)).await.unwrap();
    let offset = format!("{topic}/partitions/2/offset");
    let (_, ends) = rest.get(&format!("{offset}?offset_type=earliest_and_latest")).await;
    assert_eq!((&ends["earliest_offset"], &ends["latest_offset"]), (&json!(0), &json!(1)));
    let (_, end) = rest.get(&format!("{offset}?offset_type=latest")).await;
    assert_eq!((&end["earliest_offset"], &end["latest_offset"]), (&Value::Null, &json!(1)));
    let value = async |name: &str| rest.get(&format!("{topic}/configs/{name}")).await.1["value"].clone();
    let alter = |first: &str, second: &str| json!({"data": [{"name": "retention.ms", "value": first}, {"name": "segment.ms", "value": second}]});
    let path = format!("{topic}/configs:alter");
    assert_eq!(rest.post(&path, &alter("1000", "nonsense")).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(value("retention.ms").await, "604800000", "all or nothing");
    assert_eq!(rest.post(&path, &alter("1000", "2000")).await.0, StatusCode::NO_CONTENT);
    assert_eq!((value("retention.ms").await, value("segment.ms").await), (json!("1000"), json!("2000")));
    let deleted = rest.delete(&format!("{topic}/configs/retention.ms")).await;
    assert_eq!((deleted.0, value("retention.ms").await), (StatusCode::NO_CONTENT, json!("604800000")));
    let (_, controllers) = rest.get("/admin/v1/controllers").await;
    let controller = &controllers["controllers"][0];
    assert_eq!((&controller["leader"], &controller["voter"]), (&json!(true), &json!(true)));
}

/// A live tail, as `EventSource` reads it.
struct Tail {
    response: reqwest::Response,
    text: String,
    last_id: String,
}

impl Tail {
    async fn open(rest: &Rest, path: &str, last_id: &str) -> Self {
        let mut request = reqwest::Client::new().get(rest.url(path)).header("accept", "text/event-stream");
        if !last_id.is_empty() {
            request = request.header("last-event-id", last_id);
        }
        let response = request.send().await.expect("the gateway answers");
        assert_eq!(response.status(), StatusCode::OK);
        Self { response, text: String::new(), last_id: last_id.to_owned() }
    }

    /// The next event's name and data; `None`: the stream has ended.
    async fn event(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name: &str| block.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(": "));
                if let Some(id) = field("id") {
                    id.clone_into(&mut self.last_id);
                }
                if let Some(data) = field("data") {
                    return Some((
                        field("event").unwrap_or_default().to_owned(),
                        serde_json::from_str(data).unwrap(),
                    ));
                }
                continue;
            }
            let piece = tokio::time::timeout(WITHIN, self.response.chunk()).await.expect("something comes");
            self.text.push_str(std::str::from_utf8(&piece.ok()??).unwrap());
        }
    }

    async fn values(&mut self, count: usize) -> Vec<i64> {
        let mut values = Vec::new();
        while values.len() < count {
            let (name, data) = self.event().await.expect("the stream goes on");
            assert_eq!(name, "record", "{data}");
            values.push(data["value"].as_i64().unwrap());
        }
        values.sort_unstable();
        values
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_tail_outlives_a_leader_and_goes_on_at_another_gateway() {
    let spec = ClusterSpec { controllers: 1, storage_nodes: 3, gateways: 2 };
    let mut cluster = Cluster::start(spec).await;
    let rest = cluster.rest(0);
    let topics = format!("{}/topics", base(&rest).await);
    let topic = json!({"topic_name": "t", "partitions_count": 6, "replication_factor": 3});
    assert_eq!(rest.post(&topics, &topic).await.0, StatusCode::CREATED);
    let write = async |rest: &Rest, values: std::ops::Range<i64>| {
        for value in values {
            let partition = i32::try_from(value % 6).unwrap();
            rest.produce_value("t", partition, &json!(value)).await.unwrap();
        }
    };
    let path = format!("{topics}/t/records");
    write(&rest, 0..12).await;
    let mut tail = Tail::open(&rest, &format!("{path}?from=earliest"), "").await;
    assert_eq!(tail.values(12).await, (0..12).collect::<Vec<_>>());
    cluster.kill("storage-node-1");
    write(&rest, 12..24).await;
    assert_eq!(tail.values(12).await, (12..24).collect::<Vec<_>>(), "whoever leads now");
    cluster.kill("gateway-0");
    assert_eq!(tail.event().await, None);
    let other = cluster.rest(1);
    write(&other, 24..36).await;
    let mut tail = Tail::open(&other, &path, &tail.last_id).await;
    assert_eq!(tail.values(12).await, (24..36).collect::<Vec<_>>(), "nothing twice, nothing left out");
    let path = format!("{topics}/t");
    assert_eq!(other.delete(&path).await.0, StatusCode::NO_CONTENT);
    let (name, error) = tail.event().await.unwrap();
    assert_eq!((name.as_str(), &error["error_code"]), ("error", &json!(40403)));
    assert_eq!(tail.event().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_stops_ends_live_tails_and_is_not_held_up_by_them() {
    let mut cluster = Cluster::small().await;
    let rest = cluster.rest(0);
    rest.create_topic("t", 1).await;
    let path = format!("{}/topics/t/records?from=earliest", base(&rest).await);
    let mut tail = Tail::open(&rest, &path, "").await;
    rest.produce_value("t", 0, &json!(1)).await.unwrap();
    assert_eq!(tail.values(1).await, [1]);
    let stopping = tokio::task::spawn_blocking(move || {
        assert!(
            cluster.process("gateway-0").terminate(Duration::from_secs(10)),
            "it does not wait for readers"
        );
    });
    assert_eq!(tail.event().await, None);
    stopping.await.unwrap();
}

//! The REST interface as far as metadata alone goes.

use axum::{
    Router,
    body::Body,
    http::{Request, header},
};
use metadata::Image;
use serde_json::{Value, json};
use settings::LimitSettings;

use crate::{
    fixture::{self, Answer, CLUSTER, send},
    negotiate::{V2, V2_JSON},
};

fn rest() -> Router {
    fixture::rest(fixture::image(), LimitSettings::default())
}

async fn get(path: &str) -> Answer {
    send(&rest(), Request::get(path).body(Body::empty()).unwrap()).await
}

async fn call(method: &str, path: &str, content_type: &str, body: &str) -> Answer {
    let request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, content_type);
    send(&rest(), request.body(Body::from(body.to_owned())).unwrap()).await
}

#[tokio::test]
async fn v2_shows_the_cluster() {
    assert_eq!(get("/").await.body, json!({}));
    assert_eq!(get("/brokers").await.body, json!({"brokers": [0, 1]}));
    assert_eq!(get("/topics").await.body, json!(["orders"]));
    let topic = get("/topics/orders/").await;
    assert_eq!((topic.status, topic.header(header::CONTENT_TYPE)), (200, V2));
    assert_eq!(topic.body["name"], "orders");
    assert_eq!(topic.body["configs"]["retention.ms"], "5000");
    assert_eq!(topic.body["configs"]["cleanup.policy"], "delete");
    let partition =
        json!({"partition": 1, "leader": 1, "replicas": [{"broker": 1, "leader": true, "in_sync": true}]});
    assert_eq!(topic.body["partitions"][1], partition);
    assert_eq!(get("/topics/orders/partitions/1").await.body, partition);
    let partitions = get("/topics/orders/partitions").await;
    assert_eq!(partitions.body.as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn operators_see_what_the_controller_knows_of_a_partition() {
    let partitions = get("/admin/v1/topics/orders/partitions").await.body;
    let partition = json!({
        "partition": 1, "leader": 1, "leader_epoch": 0, "replicas": [1], "in_sync": [1], "eligible": [],
        "last_known": [], "adding": [], "removing": [], "min_in_sync": 1, "recovering": false,
    });
    assert_eq!(partitions["partitions"][1], partition);
    assert_eq!(get("/admin/v1/topics/nope/partitions").await.error(), (404, 40403));
}

#[tokio::test]
async fn what_does_not_exist_is_named_in_json() {
    for (path, code) in [
        ("/topics/nope", 40403),
        ("/topics/nope/partitions", 40403),
        ("/topics/orders/partitions/4", 40402),
        ("/topics/orders/partitions/-1", 40402),
        ("/topics/orders/partitions/x/offsets", 40402),
        ("/topics/nope/partitions/0/records?offset=0", 40403),
        ("/nowhere", 404),
        ("/topics/a%2Fb", 40403),
        ("/v3/clusters/other", 404),
        ("/v3/clusters/other/topics/orders", 404),
        (&format!("/v3/clusters/{CLUSTER}/topics/nope"), 40403),
        (&format!("/v3/clusters/{CLUSTER}/topics/nope/configs"), 40403),
        (&format!("/v3/clusters/{CLUSTER}/topics/orders/configs/x"), 404),
        (&format!("/v3/clusters/{CLUSTER}/topics/orders/partitions/9"), 40402),
        (&format!("/v3/clusters/{CLUSTER}/topics/orders/partitions/0/replicas/9"), 404),
        (&format!("/v3/clusters/{CLUSTER}/brokers/9"), 404),
    ] {
        assert_eq!(get(path).await.error(), (404, code), "{path}");
    }
    let answer = call("DELETE", "/topics/orders", V2_JSON, "").await;
    assert_eq!(answer.error(), (405, 405));
    assert!(answer.header(header::ALLOW).contains("GET"));
    assert_eq!(call("PUT", "/livez", V2_JSON, "").await.error(), (405, 405));
}

#[tokio::test]
async fn a_path_that_is_no_text_is_refused() {
    assert_eq!(get("/topics/%ff").await.error(), (400, 400));
}

#[tokio::test]
async fn media_types_are_negotiated() {
    let accept = async |path: &str, accept: &str| {
        let request = Request::get(path).header(header::ACCEPT, accept);
        send(&rest(), request.body(Body::empty()).unwrap()).await
    };
    assert_eq!(accept("/topics", "text/html").await.error(), (406, 406));
    assert_eq!(accept("/topics", "application/json").await.header(header::CONTENT_TYPE), V2);
    let v3 = accept("/v3/clusters", "application/json").await;
    assert_eq!((v3.status, v3.header(header::CONTENT_TYPE)), (200, "application/json"));
    assert_eq!(accept("/v3/clusters", "text/html").await.error(), (406, 406));
    let records = "/topics/orders/partitions/0/records?offset=0";
    assert_eq!(accept(records, "text/html").await.error(), (406, 406));
    let answer = call("POST", "/topics/orders", "application/json", "{}").await;
    assert_eq!(answer.error(), (415, 415));
    assert!(answer.body["message"].as_str().unwrap().contains("binary.v2+json"));
    let topics = format!("/v3/clusters/{CLUSTER}/topics");
    assert_eq!(call("POST", &topics, "text/plain", "{}").await.error(), (415, 415));
}

#[tokio::test]
async fn a_bad_produce_request_is_refused_as_a_whole() {
    let v2 = async |path: &str, body: &str| call("POST", path, V2_JSON, body).await.error();
    assert_eq!(v2("/topics/orders", "{").await, (400, 400));
    assert_eq!(v2("/topics/orders", "{}").await, (422, 422));
    assert_eq!(v2("/topics/nope", r#"{"records":[{"value":1}]}"#).await, (404, 40401));
    assert_eq!(v2("/topics/nope/partitions/0", r#"{"records":[{"value":1}]}"#).await, (404, 40401));
    assert_eq!(v2("/topics/orders/partitions/9", r#"{"records":[{"value":1}]}"#).await, (404, 40402));
    assert_eq!(
        v2("/topics/orders", r#"{"records":[{"value":1},{"value":1,"partition":9}]}"#).await,
        (404, 40402)
    );
    let records = format!("/v3/clusters/{CLUSTER}/topics/orders/records");
    let v3 = async |body: &str| call("POST", &records, "application/json", body).await.error();
    assert_eq!(v3(" \n").await, (422, 42206));
    assert_eq!(v3("nonsense").await, (400, 400));
    assert_eq!(v3("{\"value\": ").await, (400, 400));
    assert_eq!(v3("{\"partition_id\": 9}").await, (404, 40402));
    let nope = format!("/v3/clusters/{CLUSTER}/topics/nope/records");
    assert_eq!(call("POST", &nope, "application/json", "{}").await.error(), (404, 40403));
}

#[tokio::test]
async fn an_array_is_no_object_anywhere_in_a_body() {
    for body in [
        r#"[[[null,"viaarray",0]]]"#,
        r#"{"records":[["k","v",0]]}"#,
        r#"{"records":[{"value":1},[null,2,0]]}"#,
        r#"[[{"value":1}]]"#,
    ] {
        let answer = call("POST", "/topics/orders", V2_JSON, body).await;
        assert_eq!(answer.error(), (422, 422), "{body}");
        assert!(
            answer.body["message"].as_str().unwrap().contains("expected a JSON object"),
            "{}",
            answer.body
        );
    }
    for (path, body) in [
        ("/topics/orders/records", r#"{"value":["JSON",1]}"#),
        ("/topics/orders/records", r#"{"key":["STRING","k"]}"#),
        ("/topics/orders/records", r#"{"headers":[["h","eA=="]]}"#),
        ("/topics/orders/records", r#"[0,[],null,["JSON",1],null]"#),
        ("/topics", r#"["t",1]"#),
        ("/topics", r#"{"topic_name":"t","configs":[["retention.ms","1"]]}"#),
        ("/topics", r#"{"topic_name":"t","replicas_assignments":[[0,[0]]]}"#),
        ("/topics/orders/configs:alter", r#"[[{"name":"retention.ms"}]]"#),
        ("/topics/orders/configs:alter", r#"{"data":[["retention.ms","1","SET"]]}"#),
    ] {
        let path = format!("/v3/clusters/{CLUSTER}{path}");
        assert_eq!(call("POST", &path, "application/json", body).await.error(), (400, 400), "{path} {body}");
    }
    let config = format!("/v3/clusters/{CLUSTER}/topics/orders/configs/retention.ms");
    assert_eq!(call("PUT", &config, "application/json", r#"["1"]"#).await.error(), (400, 400));
    let topic = format!("/v3/clusters/{CLUSTER}/topics/orders");
    assert_eq!(call("PATCH", &topic, "application/json", "[5]").await.error(), (400, 400));
}

#[tokio::test]
async fn json_with_half_a_character_is_refused_by_name() {
    let body = r#"{"records":[{"value":1},{"value":{"a":"\ud800"}}]}"#;
    let answer = call("POST", "/topics/orders", V2_JSON, body).await;
    assert_eq!(answer.error(), (422, 422));
    assert_eq!(answer.body["message"], r"records[1].value is not text: \ud800 is half of a character");
    let answer = call("POST", "/topics/orders", V2_JSON, r#"{"records":[{"key":"\udc00","value":1}]}"#).await;
    assert_eq!(answer.error(), (422, 422));
    let records = format!("/v3/clusters/{CLUSTER}/topics/orders/records");
    let body = r#"{"value":{"type":"JSON","data":"\ud800"}}"#;
    let answer = call("POST", &records, "application/json", body).await;
    assert_eq!(answer.error(), (400, 400));
    assert!(answer.body["message"].as_str().unwrap().starts_with("value.data"), "{}", answer.body);
}

#[tokio::test]
async fn a_compressed_body_is_refused_by_name() {
    let records = format!("/v3/clusters/{CLUSTER}/topics/orders/records");
    let topics = format!("/v3/clusters/{CLUSTER}/topics");
    for (path, content_type) in
        [("/topics/orders", V2_JSON), (&records, "application/json"), (&topics, "application/json")]
    {
        let encoded = async |encoding: &str| {
            let request = Request::post(path)
                .header(header::CONTENT_TYPE, content_type)
                .header(header::CONTENT_ENCODING, encoding);
            send(&rest(), request.body(Body::from("{\"vaule\":1}")).unwrap()).await
        };
        for encoding in ["gzip", "GZIP", "identity, br", "deflate"] {
            let answer = encoded(encoding).await;
            assert_eq!(answer.error(), (415, 415), "{path} {encoding}");
            let named = encoding.rsplit(' ').next().unwrap();
            assert!(answer.body["message"].as_str().unwrap().contains(named), "{}", answer.body);
        }
        assert_ne!(encoded("Identity").await.status, 415);
    }
}

#[tokio::test(start_paused = true)]
async fn malformed_json_in_a_stream_is_called_that() {
    let limits = LimitSettings { produce_ms_max: 1_000, ..LimitSettings::default() };
    let router = fixture::rest(fixture::image(), limits);
    let records = format!("/v3/clusters/{CLUSTER}/topics/orders/records");
    let last = async |body: &'static str| {
        let request = Request::post(&records).header(header::CONTENT_TYPE, "application/json");
        let answer = send(&router, request.body(Body::from(body)).unwrap()).await;
        let text = answer.body.as_str().unwrap().to_owned();
        let line: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        (line["error_code"].as_i64().unwrap(), line["message"].as_str().unwrap().to_owned())
    };
    let (code, message) = last(r#"{"value":{"type":"JSON","data":1}} {bad"#).await;
    assert!(
        code == 400 && message.contains("begins at byte 35") && message.contains("column 2"),
        "{message}"
    );
    let (code, message) = last(r#"{"value":{"type":"JSON","data":1}} {"value":"#).await;
    assert_eq!((code, message.as_str()), (400, "the body ends in the middle of a record"));
}

#[tokio::test]
async fn a_bad_read_is_refused() {
    let records = "/topics/orders/partitions/0/records";
    assert_eq!(get(records).await.error(), (400, 400));
    let answer = get(&format!("{records}?offset=x")).await;
    assert_eq!(answer.error(), (400, 400));
    assert!(answer.body["message"].as_str().unwrap().contains("offset"));
    let offset = format!("/v3/clusters/{CLUSTER}/topics/orders/partitions/0/offset?offset_type=last");
    assert_eq!(get(&offset).await.error(), (400, 400));
}

#[tokio::test(start_paused = true)]
async fn with_nobody_to_lead_nothing_is_changed_and_the_client_told_so() {
    let limits = LimitSettings { produce_ms_max: 1_000, ..LimitSettings::default() };
    let router = fixture::rest(fixture::image(), limits);
    let request = |path: &str, content_type: &str, body: &str| {
        let request = Request::post(path).header(header::CONTENT_TYPE, content_type);
        request.body(Body::from(body.to_owned())).unwrap()
    };
    let body = r#"{"records":[{"value":1}]}"#;
    let produced = send(&router, request("/topics/orders/partitions/2", V2_JSON, body)).await;
    assert_eq!(produced.status, 200);
    let offset = &produced.body["offsets"][0];
    assert_eq!(
        (&offset["partition"], &offset["offset"], &offset["error_code"]),
        (&json!(2), &Value::Null, &json!(50302))
    );
    assert_eq!(produced.body["key_schema_id"], Value::Null);
    let records = format!("/v3/clusters/{CLUSTER}/topics/orders/records");
    let body = r#"{"partition_id":1,"value":{"type":"JSON","data":1}} {"partition_id":9} {"value":5} x"#;
    let streamed = send(&router, request(&records, "application/json", body)).await;
    assert_eq!(streamed.status, 200);
    let text = streamed.body.as_str().unwrap().to_owned();
    let codes: Vec<i64> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["error_code"].as_i64().unwrap())
        .collect();
    assert_eq!(codes, [50302, 40402, 400, 400]);
}

#[tokio::test]
async fn a_record_too_large_for_its_topic_is_refused_by_name() {
    let value = "x".repeat(1 << 20);
    let body = format!(r#"{{"records":[{{"value":"{value}","partition":0}}]}}"#);
    let answer = call("POST", "/topics/orders", V2_JSON, &body).await;
    let offset = &answer.body["offsets"][0];
    assert_eq!((answer.status, &offset["error_code"]), (200, &json!(413)));
    assert!(offset["error"].as_str().unwrap().contains("max.message.bytes"), "{offset}");
}

#[tokio::test]
async fn limits_are_kept() {
    let mut limits = LimitSettings { body_bytes_max: 10, ..LimitSettings::default() };
    let router = fixture::rest(fixture::image(), limits.clone());
    let post = |body: &str| {
        Request::post("/topics/orders")
            .header(header::CONTENT_TYPE, V2_JSON)
            .body(Body::from(body.to_owned()))
            .unwrap()
    };
    assert_eq!(send(&router, post("01234567890")).await.error(), (413, 413));
    limits.requests_max = 0;
    let router = fixture::rest(fixture::image(), limits);
    let answer = send(&router, post("{}")).await;
    assert_eq!(answer.error(), (503, 503));
    assert_eq!(answer.header(header::RETRY_AFTER), "1");
    let alive = send(&router, Request::get("/livez").body(Body::empty()).unwrap()).await;
    assert_eq!(alive.status, 200, "health is served however much there is");
}

#[tokio::test]
async fn without_metadata_there_is_a_clear_503() {
    let router = fixture::rest(Image::default(), LimitSettings::default());
    let answer = send(&router, Request::get("/topics").body(Body::empty()).unwrap()).await;
    assert_eq!(answer.error(), (503, 503));
    let ready = send(&router, Request::get("/readyz").body(Body::empty()).unwrap()).await;
    assert_eq!(ready.status, 503);
    let started = send(&router, Request::get("/startupz").body(Body::empty()).unwrap()).await;
    assert_eq!(started.status, 503);
}

#[tokio::test]
async fn operators_see_the_nodes() {
    let nodes = get("/admin/v1/nodes").await.body;
    assert_eq!(
        nodes["nodes"][0],
        json!({"node_id": 0, "state": "active", "draining": false, "epoch": nodes["nodes"][0]["epoch"], "kafka": "node-0.test:9092",
            "http": "node-0.test:9600", "rack": "r1", "leaders": 2, "replicas": 2})
    );
}

#[tokio::test]
async fn metrics_name_the_route_and_not_the_path() {
    let router = rest();
    let ask = |path: &'static str| send(&router, Request::get(path).body(Body::empty()).unwrap());
    ask("/topics/orders").await;
    let metrics = ask("/metrics").await.body;
    let text = metrics.as_str().unwrap();
    assert!(
        text.contains(r#"route="/topics/{topic}""#) && text.contains("anabranch_gateway_requests_total"),
        "{text}"
    );
}

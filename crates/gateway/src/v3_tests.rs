//! v3 as far as metadata alone goes; groups, settings of brokers, and the tail have files of their own.

use axum::{
    Router,
    body::Body,
    http::{Request, header},
};
use serde_json::json;
use settings::LimitSettings;

use crate::fixture::{self, Answer, CLUSTER, call_v3, send};

fn rest() -> Router {
    fixture::rest(fixture::image(), LimitSettings::default())
}

async fn get(path: &str) -> Answer {
    send(&rest(), Request::get(path).body(Body::empty()).unwrap()).await
}

#[tokio::test(start_paused = true)]
async fn each_entry_of_a_batch_has_its_own_outcome() {
    let limits = LimitSettings { produce_ms_max: 1_000, ..LimitSettings::default() };
    let router = fixture::rest(fixture::image(), limits);
    let batch = async |topic: &str, body: &str| {
        let path = format!("/v3/clusters/{CLUSTER}/topics/{topic}/records:batch");
        let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
        send(&router, request.body(Body::from(body.to_owned())).unwrap()).await
    };
    let body = r#"{"entries":[{"id":"a","partition_id":1},{"id":"b","partition_id":9},
        {"id":"c","value":{"type":"BINARY","data":"?"}},{"id":"d","vaule":1}]}"#;
    let answer = batch("orders", body).await;
    assert_eq!((answer.status, &answer.body["successes"]), (207, &json!([])));
    let failures = answer.body["failures"].as_array().unwrap();
    let codes: Vec<_> =
        failures.iter().map(|f| (f["id"].as_str().unwrap(), f["error_code"].as_i64().unwrap())).collect();
    assert_eq!(codes, [("a", 50302), ("b", 40402), ("c", 400), ("d", 400)]);
    assert!(failures[3]["message"].as_str().unwrap().contains("vaule"));
    assert_eq!(batch("orders", r#"{"entries":[]}"#).await.error(), (422, 42206));
    assert_eq!(batch("orders", r#"{"entries":[{"id":"a"},{"id":"a"}]}"#).await.error(), (422, 42208));
    assert_eq!(batch("nope", r#"{"entries":[{"id":"a"}]}"#).await.error(), (404, 40403));
}

#[tokio::test]
async fn v3_objects_have_kinds_and_links() {
    let base = format!("http://gw:8082/v3/clusters/{CLUSTER}");
    let clusters = get("/v3/clusters/").await.body;
    assert_eq!(clusters["kind"], "KafkaClusterList");
    assert_eq!(clusters["metadata"], json!({"self": "http://gw:8082/v3/clusters", "next": null}));
    let cluster = get(&format!("/v3/clusters/{CLUSTER}")).await.body;
    assert_eq!(clusters["data"], json!([cluster]));
    assert_eq!(
        cluster,
        json!({
            "kind": "KafkaCluster",
            "metadata": {"self": base, "resource_name": format!("crn:///kafka={CLUSTER}")},
            "cluster_id": CLUSTER,
            "brokers": {"related": format!("{base}/brokers")},
            "broker_configs": {"related": format!("{base}/broker-configs")},
            "consumer_groups": {"related": format!("{base}/consumer-groups")},
            "partition_reassignments": {"related": format!("{base}/topics/-/partitions/-/reassignment")},
            "topics": {"related": format!("{base}/topics")},
        })
    );
    let broker = get(&format!("/v3/clusters/{CLUSTER}/brokers/1")).await.body;
    assert_eq!(
        broker,
        json!({
            "kind": "KafkaBroker",
            "metadata": {"self": format!("{base}/brokers/1"), "resource_name": format!("crn:///kafka={CLUSTER}/broker=1")},
            "cluster_id": CLUSTER, "broker_id": 1, "host": "node-1.test", "port": 9092, "rack": "r1",
            "configs": {"related": format!("{base}/brokers/1/configs")},
            "partition_replicas": {"related": format!("{base}/brokers/1/partition-replicas")},
        })
    );
    let topic = get(&format!("/v3/clusters/{CLUSTER}/topics/orders")).await.body;
    assert_eq!(
        topic,
        json!({
            "kind": "KafkaTopic",
            "metadata": {
                "self": format!("{base}/topics/orders"),
                "resource_name": format!("crn:///kafka={CLUSTER}/topic=orders"),
            },
            "cluster_id": CLUSTER, "topic_name": "orders", "is_internal": false,
            "replication_factor": 1, "partitions_count": 4,
            "partitions": {"related": format!("{base}/topics/orders/partitions")},
            "configs": {"related": format!("{base}/topics/orders/configs")},
            "partition_reassignments": {"related": format!("{base}/topics/orders/partitions/-/reassignment")},
        })
    );
    let topics = get(&format!("/v3/clusters/{CLUSTER}/topics")).await.body;
    assert_eq!(topics["data"], json!([topic]));
    let replicas = get(&format!("/v3/clusters/{CLUSTER}/topics/orders/partitions/1/replicas")).await.body;
    let replica = &replicas["data"][0];
    assert_eq!(
        (&replica["broker_id"], &replica["is_leader"], &replica["is_in_sync"]),
        (&json!(1), &json!(true), &json!(true))
    );
    let partition = get(&format!("/v3/clusters/{CLUSTER}/topics/orders/partitions/1")).await.body;
    assert_eq!(partition["leader"]["related"], format!("{base}/topics/orders/partitions/1/replicas/1"));
}

#[tokio::test]
async fn replicas_on_their_way_are_shown_and_those_at_rest_are_not() {
    let mut image = fixture::image();
    let orders = image.topics.get_mut("orders").map(std::sync::Arc::make_mut).unwrap();
    let moving = orders.partitions.get_mut(2).unwrap();
    (moving.adding, moving.removing) = (vec![domain::NodeId(1)], vec![domain::NodeId(0)]);
    let router = fixture::rest(image, LimitSettings::default());
    let ask = async |below: &str| call_v3(&router, "GET", below, "").await;
    let one = ask("/topics/orders/partitions/2/reassignment").await.body;
    let own = format!("http://gw:8082/v3/clusters/{CLUSTER}/topics/orders/partitions/2");
    assert_eq!(
        one,
        json!({
            "kind": "KafkaReassignment",
            "metadata": {
                "self": format!("{own}/reassignment"),
                "resource_name": format!("crn:///kafka={CLUSTER}/topic=orders/partition=2/reassignment"),
            },
            "cluster_id": CLUSTER, "topic_name": "orders", "partition_id": 2,
            "adding_replicas": [1], "removing_replicas": [0], "replicas": {"related": format!("{own}/replicas")},
        })
    );
    for below in ["/topics/orders/partitions/-/reassignment", "/topics/-/partitions/-/reassignment"] {
        let list = ask(below).await.body;
        assert_eq!((&list["kind"], &list["data"]), (&json!("KafkaReassignmentList"), &json!([one])));
    }
    let at_rest = ask("/topics/orders/partitions/1/reassignment").await;
    assert_eq!((at_rest.error(), at_rest.message()), ((404, 404), "orders-1 is not being reassigned"));
    assert_eq!(ask("/topics/nope/partitions/-/reassignment").await.error(), (404, 40403));
}

#[tokio::test]
async fn a_broker_shows_the_replicas_that_it_has() {
    let here = get(&format!("/v3/clusters/{CLUSTER}/brokers/1/partition-replicas")).await.body;
    assert_eq!(here["kind"], "KafkaReplicaList");
    let places: Vec<_> =
        here["data"].as_array().unwrap().iter().map(|r| (&r["partition_id"], &r["broker_id"])).collect();
    assert_eq!(places, [(&json!(1), &json!(1)), (&json!(3), &json!(1))]);
    let one = get(&format!("/v3/clusters/{CLUSTER}/topics/orders/partitions/1/replicas/1")).await.body;
    assert_eq!(here["data"][0], one);
    assert_eq!(
        get(&format!("/v3/clusters/{CLUSTER}/brokers/9/partition-replicas")).await.error(),
        (404, 404)
    );
}

#[tokio::test]
async fn v3_configs_show_where_a_value_comes_from() {
    let path = format!("/v3/clusters/{CLUSTER}/topics/orders/configs/retention.ms");
    let config = get(&path).await.body;
    assert_eq!((&config["value"], &config["is_default"]), (&json!("5000"), &json!(false)));
    assert_eq!(config["source"], "DYNAMIC_TOPIC_CONFIG");
    assert_eq!(
        config["synonyms"],
        json!([
            {"name": "retention.ms", "value": "5000", "source": "DYNAMIC_TOPIC_CONFIG"},
            {"name": "retention.ms", "value": "604800000", "source": "DEFAULT_CONFIG"},
        ])
    );
    let all = get(&format!("/v3/clusters/{CLUSTER}/topics/-/configs")).await.body;
    let of_topic = get(&format!("/v3/clusters/{CLUSTER}/topics/orders/configs")).await.body;
    assert_eq!(all["data"], of_topic["data"]);
    assert_eq!(all["data"].as_array().unwrap().len(), domain::topic_config_definitions().len());
    let body = r#"{"data":[{"name":"retention.ms","operation":"FLIP"}]}"#;
    let answer = call_v3(&rest(), "POST", "/topics/orders/configs:alter", body).await;
    assert_eq!(answer.error(), (400, 400));
    assert!(answer.body["message"].as_str().unwrap().contains("FLIP"), "the handler was reached");
}

#[tokio::test]
async fn v3_lists_brokers_and_partitions() {
    let base = format!("/v3/clusters/{CLUSTER}");
    let brokers = get(&format!("{base}/brokers")).await.body;
    let broker = get(&format!("{base}/brokers/0")).await.body;
    assert_eq!((&brokers["kind"], &brokers["data"][0]), (&json!("KafkaBrokerList"), &broker));
    assert_eq!(brokers["data"].as_array().unwrap().len(), 2);
    let partitions = get(&format!("{base}/topics/orders/partitions")).await.body;
    let partition = get(&format!("{base}/topics/orders/partitions/3")).await.body;
    assert_eq!((&partitions["kind"], &partitions["data"][3]), (&json!("KafkaPartitionList"), &partition));
    assert_eq!(partitions["data"].as_array().unwrap().len(), 4);
}

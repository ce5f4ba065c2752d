//! Settings over REST: those of topics, of all topics, and those that a broker was started with.

use axum::Router;
use metadata::Image;
use serde_json::{Value, json};
use settings::LimitSettings;
use transport::Reply;
use wire::{
    ApiKey, RequestFrame, ResponseError,
    messages::{
        DescribeConfigsRequest, DescribeConfigsResponse,
        describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult},
    },
};

use crate::{
    fixture::{self, CLUSTER, call_v3},
    kafka::fake_node::says,
};

/// A node that says the name that it is asked by, and one of the settings that are in the metadata, too.
fn node(frame: RequestFrame) -> Reply {
    assert_eq!(frame.api, ApiKey::DescribeConfigs);
    let request: DescribeConfigsRequest = frame.decode_body().unwrap();
    let results = request.resources.iter().map(|resource| {
        let config = |name: &'static str, value: &str, source| {
            DescribeConfigsResourceResult::default()
                .with_name(name.into())
                .with_value(Some(wire::StrBytes::from_string(value.to_owned())))
                .with_config_source(source)
        };
        let configs =
            vec![config("broker.id", &resource.resource_name, 4), config("log.retention.ms", "stale", 5)];
        DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone())
            .with_configs(configs)
    });
    let answer = DescribeConfigsResponse::default().with_results(results.collect());
    Reply::Now(says(&frame, &answer))
}

/// Where all topics keep records for an hour, unless they say something else.
fn image() -> Image {
    let mut image = fixture::image();
    image.cluster_configs.insert("retention.ms".to_owned(), "3600000".to_owned());
    image
}

fn without_nodes() -> Router {
    fixture::rest(image(), LimitSettings::default())
}

async fn get(router: &Router, below: &str) -> Value {
    let answer = call_v3(router, "GET", below, "").await;
    assert_eq!(answer.status, 200, "{below}: {}", answer.body);
    answer.body
}

fn names(list: &Value) -> Vec<&str> {
    list["data"].as_array().unwrap().iter().map(|config| config["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn what_holds_for_all_topics_has_the_names_that_brokers_have_for_it() {
    let router = without_nodes();
    let list = get(&router, "/broker-configs").await;
    assert_eq!((&list["kind"], names(&list)), (&json!("KafkaClusterConfigList"), vec!["log.retention.ms"]));
    for name in ["log.retention.ms", "retention.ms"] {
        assert_eq!(get(&router, &format!("/broker-configs/{name}")).await, list["data"][0]);
    }
    let own = format!("http://gw:8082/v3/clusters/{CLUSTER}/broker-configs/log.retention.ms");
    assert_eq!(
        list["data"][0],
        json!({
            "kind": "KafkaClusterConfig",
            "metadata": {
                "self": own, "resource_name": format!("crn:///kafka={CLUSTER}/broker-config=log.retention.ms"),
            },
            "cluster_id": CLUSTER, "config_type": "BROKER", "name": "log.retention.ms", "value": "3600000",
            "is_default": false, "is_read_only": false, "is_sensitive": false,
            "source": "DYNAMIC_DEFAULT_BROKER_CONFIG",
            "synonyms": [
                {"name": "log.retention.ms", "value": "3600000", "source": "DYNAMIC_DEFAULT_BROKER_CONFIG"},
                {"name": "log.retention.ms", "value": "604800000", "source": "DEFAULT_CONFIG"},
            ],
        })
    );
    let unset = call_v3(&router, "GET", "/broker-configs/log.retention.bytes", "").await;
    assert_eq!(unset.error(), (404, 404));
    assert_eq!(unset.message(), "config 'log.retention.bytes' is not set, its default is -1");
}

#[tokio::test]
async fn a_brokers_configs_are_its_own_and_those_of_all_topics_as_this_gateway_knows_them() {
    let (router, _node) = fixture::rest_in_front_of(image(), node).await;
    let list = get(&router, "/brokers/1/configs").await;
    assert_eq!(list["kind"], "KafkaBrokerConfigList");
    assert_eq!(list["data"].as_array().unwrap().len(), domain::topic_config_definitions().len() + 1);
    assert!(names(&list).is_sorted(), "{:?}", names(&list));
    let own = get(&router, "/brokers/1/configs/broker.id").await;
    assert_eq!((&own["value"], &own["broker_id"]), (&json!("1"), &json!(1)));
    assert_eq!((&own["source"], &own["is_read_only"]), (&json!("STATIC_BROKER_CONFIG"), &json!(true)));
    let retention = get(&router, "/brokers/1/configs/log.retention.ms").await;
    assert_eq!((&retention["value"], &retention["is_read_only"]), (&json!("3600000"), &json!(false)));
    let all = get(&router, "/brokers/-/configs").await;
    let other = get(&router, "/brokers/0/configs").await;
    let both = [other["data"].as_array().unwrap().clone(), list["data"].as_array().unwrap().clone()].concat();
    assert_eq!(all["data"], json!(both));
}

#[tokio::test]
async fn a_broker_by_its_name_is_not_altered_and_says_what_is() {
    let (router, _node) = fixture::rest_in_front_of(image(), node).await;
    let path = "/brokers/1/configs/broker.id";
    for (method, path, body) in [
        ("PUT", path, r#"{"value":"5"}"#),
        ("DELETE", path, ""),
        ("POST", "/brokers/1/configs:alter", r#"{"data":[{"name":"broker.id","value":"5"}]}"#),
    ] {
        let answer = call_v3(&router, method, path, body).await;
        assert_eq!(answer.error(), (400, 40002), "{method}");
        assert!(answer.message().contains("/broker-configs"), "{}", answer.body);
    }
    for (method, path, body) in [
        ("GET", "/brokers/1/configs/no.such", ""),
        ("PUT", "/brokers/1/configs/no.such", r#"{"value":"5"}"#),
        ("DELETE", "/brokers/1/configs/no.such", ""),
        ("GET", "/brokers/9/configs", ""),
        ("DELETE", "/brokers/9/configs/broker.id", ""),
        ("POST", "/brokers/9/configs:alter", r#"{"data":[]}"#),
        ("PUT", "/broker-configs/no.such", r#"{"value":"5"}"#),
        ("DELETE", "/broker-configs/no.such", ""),
    ] {
        assert_eq!(call_v3(&router, method, path, body).await.error(), (404, 404), "{method} {path}");
    }
}

#[tokio::test]
async fn a_broker_that_does_not_answer_is_named() {
    let answer = call_v3(&without_nodes(), "GET", "/brokers/1/configs", "").await;
    assert_eq!(answer.error(), (503, 50302));
    assert!(answer.message().starts_with("broker 1: "), "{}", answer.body);
    let refusing = |frame: RequestFrame| {
        let result = DescribeConfigsResult::default()
            .with_error_code(ResponseError::InvalidRequest.code())
            .with_error_message(Some("not me".into()));
        Reply::Now(says(&frame, &DescribeConfigsResponse::default().with_results(vec![result])))
    };
    let (router, _node) = fixture::rest_in_front_of(image(), refusing).await;
    let answer = call_v3(&router, "GET", "/brokers/1/configs", "").await;
    assert_eq!((answer.error(), answer.message()), ((500, 50002), "broker 1: not me"));
}

#[tokio::test]
async fn each_of_many_topics_is_altered_or_named() {
    let router = without_nodes();
    let alter = async |body: &str| call_v3(&router, "POST", "/topics/-/configs:alter", body).await;
    let answer =
        alter(r#"{"data":[{"topic_name":"nope","configs":[{"name":"retention.ms","value":"1"}]}]}"#).await;
    assert_eq!(
        (answer.status, answer.body),
        (
            207,
            json!({"failures": [{"topic_name": "nope", "error_code": 40403, "message": "topic 'nope' does not exist"}]})
        )
    );
    assert_eq!(alter(r#"{"data":[]}"#).await.status, 204);
    let flipped =
        r#"{"data":[{"topic_name":"orders","configs":[{"name":"retention.ms","operation":"FLIP"}]}]}"#;
    assert_eq!(alter(flipped).await.error(), (400, 400));
}

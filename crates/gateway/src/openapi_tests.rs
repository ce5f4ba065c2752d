//! The document of the interface, as it is served.

use std::collections::BTreeSet;

use axum::{body::Body, http::Request};
use serde_json::Value;
use settings::LimitSettings;

use crate::fixture;

async fn document() -> Value {
    let router = fixture::rest(fixture::image(), LimitSettings::default());
    let answer = fixture::send(&router, Request::get("/openapi.json").body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, 200);
    answer.body
}

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

fn operations(document: &Value) -> Vec<(String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, item)| {
        let of_path = METHODS.iter().filter_map(move |method| Some((*method, item.get(*method)?)));
        of_path.map(move |(method, operation)| (format!("{} {path}", method.to_uppercase()), operation))
    });
    operations.collect()
}

#[tokio::test]
async fn every_operation_has_a_name_of_its_own_and_says_what_it_does() {
    let document = document().await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let operations = operations(&document);
    assert!(operations.len() > 60, "{}", operations.len());
    let mut names = BTreeSet::new();
    for (route, operation) in operations {
        assert!(names.insert(operation["operationId"].as_str().unwrap()), "{route}");
        assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{route} says nothing");
        assert_eq!(operation["tags"].as_array().unwrap().len(), 1, "{route}");
        let params = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
        let in_path = params.iter().filter(|p| p["in"] == "path").map(|p| p["name"].as_str().unwrap());
        let in_route = route.split('{').skip(1).map(|part| part.split('}').next().unwrap());
        assert_eq!(in_path.collect::<BTreeSet<_>>(), in_route.collect::<BTreeSet<_>>(), "{route}");
    }
}

#[tokio::test]
async fn every_reference_of_the_document_leads_somewhere() {
    let document = document().await;
    let mut open = vec![&document];
    let mut references = 0;
    while let Some(value) = open.pop() {
        if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            references += 1;
            let found = document.pointer(reference.trim_start_matches('#'));
            assert!(found.is_some(), "{reference}");
        }
        match value {
            Value::Object(fields) => open.extend(fields.values()),
            Value::Array(items) => open.extend(items),
            _ => {}
        }
    }
    assert!(references > 100, "{references}");
}

/// schemathesis holds each event of a stream against its schema.
#[tokio::test]
async fn the_events_of_the_tail_are_described_and_not_their_text() {
    let document = document().await;
    let tail = &document["paths"]["/v3/clusters/{cluster}/topics/{topic}/records"]["get"];
    let schema = &tail["responses"]["200"]["content"]["text/event-stream"]["schema"];
    assert_eq!(schema["$ref"], "#/components/schemas/TailEvent");
    let event = &document["components"]["schemas"]["TailEvent"];
    assert_eq!(event["required"], serde_json::json!(["event", "data"]));
    assert_eq!(event["properties"]["event"]["enum"], serde_json::json!(["record", "gap", "error"]));
}

#[tokio::test]
async fn a_poll_has_its_request_id_and_a_body_that_may_be_left_out_is_said_to_be() {
    let document = document().await;
    let below = |path: &str| format!("/consumers/{{group}}/instances/{{instance}}{path}");
    let poll = &document["paths"][below("/records")]["get"];
    let headers = poll["parameters"].as_array().unwrap().iter().filter(|p| p["in"] == "header");
    assert_eq!(headers.map(|p| &p["name"]).collect::<Vec<_>>(), ["X-Request-Id"]);
    assert!(poll["responses"]["200"]["content"].as_object().unwrap().len() > 1);
    for (path, method, is_required) in [
        ("/offsets", "get", false),
        ("/offsets", "post", false),
        ("/positions", "post", true),
        ("/subscription", "post", true),
    ] {
        let body = &document["paths"][below(path)][method]["requestBody"];
        assert!(body["content"]["application/vnd.kafka.v2+json"].is_object(), "{method} {path}");
        assert_eq!(body["required"].as_bool().unwrap_or(false), is_required, "{method} {path}");
    }
    assert!(document["paths"]["/consumers/{group}"]["post"]["requestBody"]["required"].is_null());
}

use std::collections::BTreeMap;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::Rest;

const V2: &str = "application/vnd.kafka.v2+json";

/// A consumer of the REST API, which any gateway serves: each call names the one that is asked.
#[derive(Clone, Debug)]
pub struct RestConsumer {
    path: String,
}

/// A record as a consumer was given it.
#[derive(Clone, Debug, PartialEq)]
pub struct Polled {
    pub topic: String,
    pub partition: i64,
    pub offset: i64,
    pub value: Value,
}

impl RestConsumer {
    /// Makes one with these options; `earliest` is what every test wants.
    pub async fn create(rest: &Rest, group: &str, name: &str, options: Value) -> Self {
        let mut body = json!({"name": name, "format": "json", "auto.offset.reset": "earliest"});
        for (option, value) in options.as_object().into_iter().flatten() {
            body[option] = value.clone();
        }
        let (status, answer) =
            rest.send(Method::POST, &format!("/consumers/{group}"), V2, V2, body.to_string()).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert_eq!(answer["instance_id"], name);
        Self { path: format!("/consumers/{group}/instances/{name}") }
    }

    /// The same, subscribed to a topic.
    pub async fn subscribed(rest: &Rest, group: &str, name: &str, topic: &str, options: Value) -> Self {
        let consumer = Self::create(rest, group, name, options).await;
        consumer.done(rest, "/subscription", &json!({"topics": [topic]})).await;
        consumer
    }

    pub fn path(&self, more: &str) -> String {
        format!("{}{more}", self.path)
    }

    pub async fn get(&self, rest: &Rest, more: &str) -> (StatusCode, Value) {
        rest.send(Method::GET, &self.path(more), "", V2, "").await
    }

    pub async fn post(&self, rest: &Rest, more: &str, body: &Value) -> (StatusCode, Value) {
        rest.send(Method::POST, &self.path(more), V2, V2, body.to_string()).await
    }

    /// A post that must succeed, and has no answer.
    pub async fn done(&self, rest: &Rest, more: &str, body: &Value) {
        let (status, answer) = self.post(rest, more, body).await;
        assert_eq!((status, answer), (StatusCode::NO_CONTENT, Value::Null), "{more}");
    }

    pub async fn delete(&self, rest: &Rest, more: &str) -> (StatusCode, Value) {
        rest.send(Method::DELETE, &self.path(more), "", V2, "").await
    }

    /// One poll, which must succeed.
    pub async fn poll(&self, rest: &Rest) -> Vec<Polled> {
        let (status, answer) = self.get(rest, "/records").await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        polled(&answer)
    }

    /// A poll under a name of its own, which must succeed.
    pub async fn poll_as(&self, rest: &Rest, request: &str) -> Vec<Polled> {
        let response = reqwest::Client::new()
            .get(rest.url(&self.path("/records")))
            .header("x-request-id", request)
            .send()
            .await
            .expect("the gateway answers");
        let answer: Value = response.json().await.expect("the answer is JSON");
        polled(&answer)
    }

    /// Polls until so many records came, or none for ten polls.
    pub async fn poll_many(&self, rest: &Rest, count: usize) -> Vec<Polled> {
        let mut all = Vec::new();
        let mut empty = 0;
        while all.len() < count && empty < 10 {
            let more = self.poll(rest).await;
            empty = if more.is_empty() { empty + 1 } else { 0 };
            all.extend(more);
        }
        all
    }

    /// What is committed of a topic's partitions.
    pub async fn committed(&self, rest: &Rest, topic: &str, partitions: i32) -> BTreeMap<i64, i64> {
        let asked: Vec<Value> = (0..partitions).map(|p| json!({"topic": topic, "partition": p})).collect();
        let body = json!({"partitions": asked}).to_string();
        let (status, answer) = rest.send(Method::GET, &self.path("/offsets"), V2, V2, body).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let offsets = answer["offsets"].as_array().cloned().unwrap_or_default();
        offsets.iter().map(|o| (o["partition"].as_i64().unwrap(), o["offset"].as_i64().unwrap())).collect()
    }

    /// The partitions that it has.
    pub async fn assignments(&self, rest: &Rest) -> Vec<i64> {
        let (status, answer) = self.get(rest, "/assignments").await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let partitions = answer["partitions"].as_array().cloned().unwrap_or_default();
        partitions.iter().map(|p| p["partition"].as_i64().unwrap()).collect()
    }
}

pub fn polled(answer: &Value) -> Vec<Polled> {
    let records = answer.as_array().unwrap_or_else(|| panic!("{answer}"));
    let of = |record: &Value| Polled {
        topic: record["topic"].as_str().unwrap().to_owned(),
        partition: record["partition"].as_i64().unwrap(),
        offset: record["offset"].as_i64().unwrap(),
        value: record["value"].clone(),
    };
    records.iter().map(of).collect()
}

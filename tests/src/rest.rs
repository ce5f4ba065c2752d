use reqwest::{Method, StatusCode};
use serde_json::Value;

/// The gateway's REST API, as a client without a library would use it.
#[derive(Clone)]
pub struct Rest {
    client: reqwest::Client,
    url: String,
}

/// v2's media types.
const BINARY: &str = "application/vnd.kafka.binary.v2+json";
const JSON: &str = "application/vnd.kafka.json.v2+json";

impl Rest {
    pub fn new(url: &str) -> Self {
        Self { client: reqwest::Client::new(), url: url.to_owned() }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// One request; the status and the body, which must be JSON or empty.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        accept: &str,
        body: impl Into<reqwest::Body>,
    ) -> (StatusCode, Value) {
        let mut request = self.client.request(method, self.url(path)).body(body);
        if !content_type.is_empty() {
            request = request.header("content-type", content_type);
        }
        if !accept.is_empty() {
            request = request.header("accept", accept);
        }
        let response = request.send().await.expect("the gateway answers");
        let status = response.status();
        let text = response.text().await.expect("the answer is text");
        let value = match text.is_empty() {
            true => Value::Null,
            false => serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}: {text}")),
        };
        (status, value)
    }

    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.send(Method::GET, path, "", "", "").await
    }

    pub async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        self.send(Method::POST, path, "application/json", "", body.to_string()).await
    }

    pub async fn delete(&self, path: &str) -> (StatusCode, Value) {
        self.send(Method::DELETE, path, "", "", "").await
    }

    /// v2 produce of JSON or of base64.
    pub async fn produce_json(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        self.send(Method::POST, path, JSON, "", body.to_string()).await
    }

    pub async fn produce_binary(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        self.send(Method::POST, path, BINARY, "", body.to_string()).await
    }

    /// v2's stateless read.
    pub async fn read_json(&self, path: &str) -> (StatusCode, Value) {
        self.send(Method::GET, path, "", JSON, "").await
    }

    pub async fn read_binary(&self, path: &str) -> (StatusCode, Value) {
        self.send(Method::GET, path, "", BINARY, "").await
    }

    /// The cluster's id.
    pub async fn cluster_id(&self) -> String {
        let (_, clusters) = self.get("/v3/clusters").await;
        clusters["data"][0]["cluster_id"].as_str().unwrap_or_default().to_owned()
    }

    /// Creates a topic through v3.
    pub async fn create_topic(&self, topic: &str, partitions: i32) -> (StatusCode, Value) {
        let body = serde_json::json!({"topic_name": topic, "partitions_count": partitions});
        let path = format!("/v3/clusters/{}/topics", self.cluster_id().await);
        self.post(&path, &body).await
    }

    /// Produces one JSON value to one partition through v2: its offset, or the error's code and message.
    pub async fn produce_value(
        &self,
        topic: &str,
        partition: i32,
        value: &Value,
    ) -> Result<i64, (i64, String)> {
        let body = serde_json::json!({"records": [{"value": value}]});
        let (status, answer) =
            self.produce_json(&format!("/topics/{topic}/partitions/{partition}"), &body).await;
        let place = if status.is_success() { &answer["offsets"][0] } else { &answer };
        match place["offset"].as_i64() {
            Some(offset) => Ok(offset),
            None => {
                let text = place["error"].as_str().or(place["message"].as_str()).unwrap_or_default();
                Err((place["error_code"].as_i64().unwrap_or(-1), text.to_owned()))
            }
        }
    }
}

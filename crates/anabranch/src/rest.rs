use std::{error::Error, io, time::Duration};

use reqwest::{Client, RequestBuilder, Response, Url, header};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub(crate) const JSON: &str = "application/json";
pub(crate) const V2: &str = "application/vnd.kafka.v2+json";
pub(crate) const V2_BINARY: &str = "application/vnd.kafka.binary.v2+json";

/// A gateway closes a connection that was idle for 10 s; one that it closes while a request is on its way would leave that
/// request's outcome unknown.
const IDLE_MAX: Duration = Duration::from_secs(5);
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Nothing for so long means that no answer comes; the gateway gives up a produce after half of it.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// A gateway, over REST.
#[derive(Clone, Debug)]
pub(crate) struct Rest {
    http: Client,
    base: Url,
}

/// Why a request brought no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RestError {
    #[error("'{url}' is not the http:// URL of a gateway: {reason}")]
    Url { url: String, reason: String },
    #[error(
        "nothing listens at {url}: `anabranch dev` starts a cluster on this machine, --url or ANABRANCH_URL name another"
    )]
    Refused { url: String },
    #[error("{url} cannot be reached: {reason}")]
    Unreachable { url: String, reason: String },
    /// The request may have been carried out.
    #[error("the answer of {url} was lost: {reason}")]
    Lost { url: String, reason: String },
    /// The gateway's own words.
    #[error("{message} (error {code})")]
    Server { status: u16, code: u32, message: String },
    #[error("{url} answered {status} without an error of a gateway's: is it one?")]
    Foreign { url: String, status: u16 },
    #[error("{url} answered what is not understood: {reason}")]
    Malformed { url: String, reason: String },
}

impl RestError {
    /// The request changed nothing, and another attempt may succeed.
    pub(crate) fn is_retriable(&self) -> bool {
        match self {
            RestError::Refused { .. } | RestError::Unreachable { .. } => true,
            RestError::Server { status, .. } => matches!(status, 429 | 503),
            _ => false,
        }
    }

    /// The request may have been carried out, or not.
    pub(crate) fn is_unknown(&self) -> bool {
        match self {
            RestError::Lost { .. } | RestError::Malformed { .. } => true,
            RestError::Server { status, .. } | RestError::Foreign { status, .. } => {
                *status >= 500 && *status != 503
            }
            _ => false,
        }
    }

    pub(crate) fn code(&self) -> Option<u32> {
        match self {
            RestError::Server { code, .. } => Some(*code),
            _ => None,
        }
    }
}

#[derive(Deserialize)]
struct ErrorBody {
    error_code: u32,
    message: String,
}

#[derive(Deserialize)]
struct Clusters {
    data: Vec<Cluster>,
}

#[derive(Deserialize)]
struct Cluster {
    cluster_id: String,
}

impl Rest {
    /// # Errors
    /// The URL is none that a gateway can have.
    pub(crate) fn new(url: &str) -> Result<Self, RestError> {
        let wrong = |reason: String| RestError::Url { url: url.to_owned(), reason };
        let base = Url::parse(url).map_err(|e| wrong(e.to_string()))?;
        if base.scheme() != "http" || base.cannot_be_a_base() {
            return Err(wrong(format!("its scheme is {}", base.scheme())));
        }
        // A gateway is called directly: a proxy that the environment names for the web knows no loopback.
        let client = Client::builder()
            .no_proxy()
            .connect_timeout(CONNECT_MAX)
            .read_timeout(SILENCE_MAX)
            .pool_idle_timeout(IDLE_MAX)
            .tcp_nodelay(true)
            .build();
        let http = client.map_err(|e| wrong(e.to_string()))?;
        Ok(Self { http, base })
    }

    /// The segments are escaped; none may be empty or made of dots.
    fn at(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, String)],
        accept: &str,
    ) -> Result<T, RestError> {
        let request = self.http.get(self.at(path)).query(query).header(header::ACCEPT, accept);
        self.answer(request).await
    }

    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &[&str],
        content_type: &str,
        body: Vec<u8>,
    ) -> Result<T, RestError> {
        let request = self.http.post(self.at(path)).header(header::CONTENT_TYPE, content_type).body(body);
        self.answer(request).await
    }

    pub(crate) async fn post_json<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &impl Serialize,
    ) -> Result<T, RestError> {
        self.answer(self.http.post(self.at(path)).json(body)).await
    }

    pub(crate) async fn patch_json<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &impl Serialize,
    ) -> Result<T, RestError> {
        self.answer(self.http.patch(self.at(path)).json(body)).await
    }

    pub(crate) async fn delete(&self, path: &[&str]) -> Result<(), RestError> {
        self.send(self.http.delete(self.at(path))).await.map(drop)
    }

    /// The id of the one cluster behind the gateway.
    pub(crate) async fn cluster(&self) -> Result<String, RestError> {
        let clusters: Clusters = self.get(&["v3", "clusters"], &[], JSON).await?;
        let first = clusters.data.into_iter().next();
        first.map(|c| c.cluster_id).ok_or_else(|| RestError::Malformed {
            url: self.base.to_string(),
            reason: "it knows no cluster".to_owned(),
        })
    }

    async fn answer<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, RestError> {
        let response = self.send(request).await?;
        let url = response.url().to_string();
        let body = response.bytes().await.map_err(|e| self.failed(&e))?;
        serde_json::from_slice(&body).map_err(|e| RestError::Malformed { url, reason: e.to_string() })
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, RestError> {
        let response = request.send().await.map_err(|e| self.failed(&e))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let (status, url) = (response.status().as_u16(), response.url().to_string());
        let body = response.bytes().await.map_err(|e| self.failed(&e))?;
        Err(refusal(status, url, &body))
    }

    fn failed(&self, error: &reqwest::Error) -> RestError {
        let url = self.base.to_string();
        let root = root_cause(error);
        match error.is_connect() {
            true if is_refused(root) => RestError::Refused { url },
            true => RestError::Unreachable { url, reason: root.to_string() },
            // The connection ended before anything of the request was written: it was not carried out.
            false if is_canceled(error) => RestError::Unreachable { url, reason: root.to_string() },
            false if error.is_timeout() => {
                RestError::Lost { url, reason: format!("nothing came for {} s", SILENCE_MAX.as_secs()) }
            }
            false => RestError::Lost { url, reason: root.to_string() },
        }
    }
}

fn refusal(status: u16, url: String, body: &[u8]) -> RestError {
    match serde_json::from_slice::<ErrorBody>(body) {
        Ok(error) => {
            RestError::Server { status, code: error.error_code, message: error.message.replace('\n', " ") }
        }
        Err(_) => RestError::Foreign { url, status },
    }
}

fn is_canceled(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled) {
            return true;
        }
        cause = error.source();
    }
    false
}

fn root_cause<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    root
}

fn is_refused(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_escaped_and_appended() {
        let rest = Rest::new("http://h:1/prefix/").unwrap();
        assert_eq!(rest.at(&["topics", "a/b c?"]).as_str(), "http://h:1/prefix/topics/a%2Fb%20c%3F");
        assert_eq!(Rest::new("http://h:1").unwrap().at(&["topics"]).as_str(), "http://h:1/topics");
    }

    #[test]
    fn what_is_no_http_url_is_refused() {
        for url in ["localhost:8082", "https://h", "", "http://"] {
            assert!(matches!(Rest::new(url), Err(RestError::Url { .. })), "{url}");
        }
    }

    #[test]
    fn an_error_of_the_servers_keeps_its_words() {
        let error = refusal(404, String::new(), br#"{"error_code":40403,"message":"no topic"}"#);
        assert_eq!((error.to_string().as_str(), error.code()), ("no topic (error 40403)", Some(40403)));
        let foreign = refusal(502, "http://h/".to_owned(), b"<html>");
        assert_eq!(foreign.to_string(), "http://h/ answered 502 without an error of a gateway's: is it one?");
    }

    #[test]
    fn only_what_changed_nothing_is_retried() {
        let server = |status| RestError::Server { status, code: 0, message: String::new() };
        assert!(server(503).is_retriable() && !server(503).is_unknown());
        assert!(!server(504).is_retriable() && server(504).is_unknown());
        assert!(!server(404).is_retriable() && !server(404).is_unknown());
    }

    #[tokio::test]
    async fn a_refused_connection_names_the_url() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let rest = Rest::new(&format!("http://{free}")).unwrap();
        let error = rest.cluster().await.unwrap_err();
        assert!(
            error.to_string().starts_with(&format!("nothing listens at http://{free}/: `anabranch dev`"))
        );
    }
}

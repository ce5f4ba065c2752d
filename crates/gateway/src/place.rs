//! What a request's path and query name.

use std::{fmt::Display, net::IpAddr, sync::Arc};

use axum::{
    extract::{FromRequest, FromRequestParts, RawPathParams, Request},
    http::{HeaderMap, StatusCode, request::Parts},
};
use domain::{ClusterId, NodeId, PartitionIndex};
use metadata::{Image, Node, NodeState, Partition, Topic};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;

use crate::{ApiError, App, json_object::JsonObject, limits::Whole, negotiate, routing::Target};

/// Where a request points: the path's parameters, resolved in one image of the metadata. A `{cluster}` in the path is the
/// one that this gateway serves, or the request ends here.
pub(crate) struct At {
    pub(crate) app: Arc<App>,
    pub(crate) image: Arc<Image>,
    pub(crate) cluster: ClusterId,
    /// Where the request comes from, if a connection brought it.
    pub(crate) peer: Option<IpAddr>,
    params: Vec<(String, String)>,
}

/// The other end of a request's connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) IpAddr);

impl FromRequestParts<Arc<App>> for At {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let params = match RawPathParams::from_request_parts(parts, app).await {
            Ok(params) => params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            Err(axum::extract::rejection::RawPathParamsRejection::MissingPathParams(_)) => Vec::new(),
            Err(rejection) => return Err(ApiError::bad_request(rejection.body_text())),
        };
        let image = app.metadata()?;
        let at = Self {
            app: app.clone(),
            cluster: image.cluster_id.unwrap_or(ClusterId(uuid::Uuid::nil())),
            image,
            peer: parts.extensions.get::<Peer>().map(|peer| peer.0),
            params,
        };
        match at.named("cluster") {
            Some(cluster) if cluster != at.cluster.to_string() => Err(ApiError::plain(
                StatusCode::NOT_FOUND,
                format!("cluster '{cluster}' does not exist, this is {}", at.cluster),
            )),
            _ => Ok(at),
        }
    }
}

impl At {
    fn named(&self, name: &str) -> Option<&str> {
        let found = self.params.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    }

    /// A parameter that the route has.
    pub(crate) fn param(&self, name: &str) -> &str {
        self.named(name).unwrap_or_default()
    }

    pub(crate) fn topic(&self) -> Result<&Arc<Topic>, ApiError> {
        let name = self.param("topic");
        self.image.topics.get(name).ok_or_else(|| ApiError::unknown_topic(name))
    }

    pub(crate) fn partition(&self) -> Result<(PartitionIndex, &Partition), ApiError> {
        let topic = self.topic()?;
        let text = self.param("partition");
        let found = text.parse().ok().map(PartitionIndex);
        found
            .and_then(|index| Some((index, topic.partition(index)?)))
            .ok_or_else(|| ApiError::unknown_partition(topic.name.as_str(), text))
    }

    /// A broker that takes part now.
    pub(crate) fn broker(&self) -> Result<&Arc<Node>, ApiError> {
        let text = self.param("broker");
        let node = text.parse().ok().and_then(|id| self.image.nodes.get(&NodeId(id)));
        node.filter(|node| node.state != NodeState::Fenced)
            .ok_or_else(|| ApiError::plain(StatusCode::NOT_FOUND, format!("broker '{text}' does not exist")))
    }

    /// The topic and the partition that the path names.
    pub(crate) fn target(&self) -> Result<(&Arc<Topic>, Target), ApiError> {
        let (partition, _) = self.partition()?;
        let topic = self.topic()?;
        Ok((topic, Target { topic: topic.id, partition }))
    }
}

/// RFC 3986's unreserved characters stand for themselves.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A name that may have any character, as one segment of a path.
pub(crate) fn segment(name: &str) -> impl Display {
    utf8_percent_encode(name, RESERVED)
}

/// A query that says what is wrong with it.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(ApiError))]
pub(crate) struct Query<T>(pub(crate) T);

/// A JSON body, as v3 takes it.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Arc<App>> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        negotiate::require_json(request.headers())?;
        let whole = Whole::from_request(request, app).await?;
        let parsed = serde_json::from_slice::<JsonObject<T>>(&whole.bytes);
        parsed
            .map(|JsonObject(body)| Self(body))
            .map_err(|e| ApiError::bad_request(format!("the body is not what is expected: {e}")))
    }
}

/// The text of a header, if it is there.
pub(crate) fn header_text<'a>(
    headers: &'a HeaderMap,
    name: &str,
    bytes_max: usize,
) -> Result<Option<&'a str>, ApiError> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    match value.to_str() {
        Ok(text) if text.len() <= bytes_max => Ok(Some(text)),
        Ok(text) => {
            Err(ApiError::bad_request(format!("{name} has {} bytes, {bytes_max} are the most", text.len())))
        }
        Err(_) => Err(ApiError::bad_request(format!("{name} is not plain ASCII"))),
    }
}

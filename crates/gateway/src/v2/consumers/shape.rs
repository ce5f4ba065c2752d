use std::collections::BTreeSet;

use axum::{
    extract::{FromRequest, Request},
    http::HeaderMap,
};
use domain::PartitionIndex;
use group::TopicPlace;
use metadata::Image;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use utoipa::ToSchema;

use super::super::parsed;
use crate::{ApiError, App, json_object::JsonObject, limits::Whole, negotiate};

/// A body in one of v2's types; `None` if it is empty, or JSON's nothing.
pub(super) struct V2Body<T>(pub(super) Option<T>);

/// The same where there must be one.
pub(super) struct SomeV2Body<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<std::sync::Arc<App>> for V2Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &std::sync::Arc<App>) -> Result<Self, ApiError> {
        let headers: HeaderMap = request.headers().clone();
        let whole = Whole::from_request(request, app).await?;
        if matches!(whole.bytes.trim_ascii(), b"" | b"null") {
            return Ok(Self(None));
        }
        negotiate::require_v2(&headers)?;
        parsed(&whole.bytes).map(|body| Self(Some(body)))
    }
}

impl<T: DeserializeOwned> FromRequest<std::sync::Arc<App>> for SomeV2Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &std::sync::Arc<App>) -> Result<Self, ApiError> {
        match V2Body::from_request(request, app).await?.0 {
            Some(body) => Ok(Self(body)),
            None => Err(ApiError::unprocessable("the body is empty")),
        }
    }
}

/// A partition by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = V2NamedPartition)]
#[serde(deny_unknown_fields)]
pub(crate) struct NamedPartition {
    pub(super) topic: String,
    pub(super) partition: i32,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = V2PartitionList)]
#[serde(deny_unknown_fields)]
pub(crate) struct PartitionList {
    #[schema(value_type = Vec<NamedPartition>)]
    pub(super) partitions: Vec<JsonObject<NamedPartition>>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = V2Partitions)]
pub(crate) struct PartitionListView {
    pub(super) partitions: Vec<NamedPartition>,
}

impl NamedPartition {
    pub(super) fn place(&self, image: &Image) -> Result<TopicPlace, ApiError> {
        place(image, &self.topic, self.partition)
    }

    /// `None`: its topic is not there any more.
    pub(super) fn of(place: &TopicPlace, image: &Image) -> Option<Self> {
        let topic = image.topic_by_id(place.topic)?.name.to_string();
        Some(Self { topic, partition: place.partition.0 })
    }
}

impl PartitionList {
    pub(super) fn places(self, image: &Image) -> Result<BTreeSet<TopicPlace>, ApiError> {
        self.partitions.iter().map(|JsonObject(partition)| partition.place(image)).collect()
    }
}

pub(super) fn place(image: &Image, name: &str, partition: i32) -> Result<TopicPlace, ApiError> {
    let topic = image.topics.get(name).ok_or_else(|| ApiError::unknown_topic(name))?;
    let index = PartitionIndex(partition);
    match topic.partition(index) {
        Some(_) => Ok(TopicPlace { topic: topic.id, partition: index }),
        None => Err(ApiError::unknown_partition(name, &partition.to_string())),
    }
}

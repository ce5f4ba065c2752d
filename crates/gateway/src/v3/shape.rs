//! What all of v3's objects and lists look like, and the links between them.

use domain::{ClusterId, NodeId, PartitionIndex, TopicName};
use serde::Serialize;
use utoipa::ToSchema;

use crate::place::{At, segment};

#[derive(Serialize, ToSchema)]
pub(crate) struct Resource<T> {
    #[schema(value_type = String)]
    kind: &'static str,
    metadata: Metadata,
    #[serde(flatten)]
    body: T,
}

#[derive(Serialize, ToSchema)]
struct Metadata {
    #[serde(rename = "self")]
    url: String,
    resource_name: String,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct List<T> {
    #[schema(value_type = String)]
    kind: &'static str,
    metadata: ListMetadata,
    data: Vec<T>,
}

#[derive(Serialize, ToSchema)]
struct ListMetadata {
    #[serde(rename = "self")]
    url: String,
    /// Everything is on the first page.
    next: Option<String>,
}

/// A link to another object.
#[derive(Serialize, ToSchema)]
pub(crate) struct Related {
    related: String,
}

/// Where things are: below one cluster, or below one of its topics.
#[derive(Clone, Debug)]
pub(crate) struct Links {
    base: String,
    cluster: ClusterId,
}

impl At {
    pub(crate) fn links(&self) -> Links {
        Links { base: self.app.base_url.clone(), cluster: self.cluster }
    }
}

impl Links {
    pub(crate) fn url(&self, below_cluster: &str) -> String {
        format!("{}/v3/clusters/{}{below_cluster}", self.base, self.cluster)
    }

    pub(crate) fn related(&self, below_cluster: &str) -> Related {
        Related { related: self.url(below_cluster) }
    }

    /// An object at a path below the cluster, with the name that it has among all resources.
    pub(crate) fn object<T>(
        &self,
        kind: &'static str,
        below_cluster: &str,
        resource: &str,
        body: T,
    ) -> Resource<T> {
        Resource {
            kind,
            metadata: Metadata {
                url: self.url(below_cluster),
                resource_name: format!("crn:///kafka={}{resource}", self.cluster),
            },
            body,
        }
    }

    pub(crate) fn list<T>(&self, kind: &'static str, below_cluster: &str, data: Vec<T>) -> List<T> {
        self.list_at(kind, self.url(below_cluster), data)
    }

    pub(crate) fn clusters<T>(&self, kind: &'static str, data: Vec<T>) -> List<T> {
        self.list_at(kind, format!("{}/v3/clusters", self.base), data)
    }

    fn list_at<T>(&self, kind: &'static str, url: String, data: Vec<T>) -> List<T> {
        List { kind, metadata: ListMetadata { url, next: None }, data }
    }
}

pub(crate) fn topic_path(topic: &TopicName) -> String {
    format!("/topics/{topic}")
}

pub(crate) fn partition_path(topic: &TopicName, partition: PartitionIndex) -> String {
    format!("/topics/{topic}/partitions/{partition}")
}

pub(crate) fn broker_path(broker: NodeId) -> String {
    format!("/brokers/{broker}")
}

pub(crate) fn group_path(group: &str) -> String {
    format!("/consumer-groups/{}", segment(group))
}

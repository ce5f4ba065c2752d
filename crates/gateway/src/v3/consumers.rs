//! The members of a consumer group, and what each of them has.

use axum::{Json, http::StatusCode};
use domain::PartitionIndex;
use serde::Serialize;
use utoipa::ToSchema;

use super::shape::{Links, List, Related, Resource, group_path};
use crate::{
    ApiError,
    groups::{Group, Member},
    openapi::{AssignmentPath, ConsumerPath, Found, GroupPath, V3},
    place::{At, segment},
};

#[derive(Serialize, ToSchema)]
#[schema(as = KafkaConsumer)]
pub(crate) struct ConsumerView {
    cluster_id: String,
    consumer_group_id: String,
    consumer_id: String,
    instance_id: Option<String>,
    client_id: String,
    assignments: Related,
}

#[derive(Serialize, ToSchema)]
#[schema(as = KafkaConsumerAssignment)]
pub(crate) struct AssignmentView {
    cluster_id: String,
    consumer_group_id: String,
    consumer_id: String,
    topic_name: String,
    #[schema(value_type = i32)]
    partition_id: PartitionIndex,
    partition: Related,
    lag: Related,
}

/// The members of a group.
#[utoipa::path(
    get,
    path = "/v3/clusters/{cluster}/consumer-groups/{group}/consumers",
    operation_id = "listKafkaConsumers",
    tag = V3,
    params(GroupPath),
    responses((status = 200, description = "As asked.", body = List<Resource<ConsumerView>>), Found),
)]
pub(crate) async fn list(at: At) -> Result<Json<List<Resource<ConsumerView>>>, ApiError> {
    let (links, group) = (at.links(), at.group().await?);
    let consumers = group.members.iter().map(|member| view(&at, &links, &group, member));
    let path = format!("{}/consumers", group_path(&group.id));
    Ok(Json(links.list("KafkaConsumerList", &path, consumers.collect())))
}

/// One member of a group.
#[utoipa::path(
    get,
    path = "/v3/clusters/{cluster}/consumer-groups/{group}/consumers/{consumer}",
    operation_id = "getKafkaConsumer",
    tag = V3,
    params(ConsumerPath),
    responses((status = 200, description = "As asked.", body = Resource<ConsumerView>), Found),
)]
pub(crate) async fn get(at: At) -> Result<Json<Resource<ConsumerView>>, ApiError> {
    let group = at.group().await?;
    Ok(Json(view(&at, &at.links(), &group, member(&at, &group)?)))
}

/// The partitions that a member has.
#[utoipa::path(
    get,
    path = "/v3/clusters/{cluster}/consumer-groups/{group}/consumers/{consumer}/assignments",
    operation_id = "listKafkaConsumerAssignment",
    tag = V3,
    params(ConsumerPath),
    responses((status = 200, description = "As asked.", body = List<Resource<AssignmentView>>), Found),
)]
pub(crate) async fn assignments(at: At) -> Result<Json<List<Resource<AssignmentView>>>, ApiError> {
    let (links, group) = (at.links(), at.group().await?);
    let member = member(&at, &group)?;
    let assigned = member.assigned.iter();
    let views = assigned.map(|(topic, number)| assignment_view(&at, &links, &group, member, topic, *number));
    let path = format!("{}/assignments", consumer_path(&group.id, &member.id));
    Ok(Json(links.list("KafkaConsumerAssignmentList", &path, views.collect())))
}

/// One partition that a member has.
#[utoipa::path(
    get,
    path = "/v3/clusters/{cluster}/consumer-groups/{group}/consumers/{consumer}/assignments/{topic}/partitions/{partition}",
    operation_id = "getKafkaConsumerAssignment",
    tag = V3,
    params(AssignmentPath),
    responses((status = 200, description = "As asked.", body = Resource<AssignmentView>), Found),
)]
pub(crate) async fn assignment(at: At) -> Result<Json<Resource<AssignmentView>>, ApiError> {
    let group = at.group().await?;
    let member = member(&at, &group)?;
    let (topic, number) = (at.param("topic"), at.param("partition"));
    let found = number.parse().ok().map(|n| (topic.to_owned(), PartitionIndex(n)));
    match found.filter(|place| member.assigned.contains(place)) {
        Some((topic, number)) => Ok(Json(assignment_view(&at, &at.links(), &group, member, &topic, number))),
        None => {
            let message = format!(
                "partition '{number}' of topic '{topic}' is not assigned to consumer '{}'",
                member.id
            );
            Err(ApiError::plain(StatusCode::NOT_FOUND, message))
        }
    }
}

/// The member that the path names.
fn member<'a>(at: &At, group: &'a Group) -> Result<&'a Member, ApiError> {
    let id = at.param("consumer");
    group.member(id).ok_or_else(|| {
        let message = format!("consumer group '{}' has no consumer '{id}'", group.id);
        ApiError::plain(StatusCode::NOT_FOUND, message)
    })
}

fn consumer_path(group: &str, consumer: &str) -> String {
    format!("{}/consumers/{}", group_path(group), segment(consumer))
}

fn view(at: &At, links: &Links, group: &Group, member: &Member) -> Resource<ConsumerView> {
    let path = consumer_path(&group.id, &member.id);
    let view = ConsumerView {
        cluster_id: at.cluster.to_string(),
        consumer_group_id: group.id.clone(),
        consumer_id: member.id.clone(),
        instance_id: member.instance.clone(),
        client_id: member.client.clone(),
        assignments: links.related(&format!("{path}/assignments")),
    };
    let resource = format!("/consumer-group={}/consumer={}", segment(&group.id), segment(&member.id));
    links.object("KafkaConsumer", &path, &resource, view)
}

fn assignment_view(
    at: &At,
    links: &Links,
    group: &Group,
    member: &Member,
    topic: &str,
    number: PartitionIndex,
) -> Resource<AssignmentView> {
    let place = format!("{}/partitions/{number}", segment(topic));
    let view = AssignmentView {
        cluster_id: at.cluster.to_string(),
        consumer_group_id: group.id.clone(),
        consumer_id: member.id.clone(),
        topic_name: topic.to_owned(),
        partition_id: number,
        partition: links.related(&format!("/topics/{place}")),
        lag: links.related(&format!("{}/lags/{place}", group_path(&group.id))),
    };
    let path = format!("{}/assignments/{place}", consumer_path(&group.id, &member.id));
    let resource = format!(
        "/consumer-group={}/consumer={}/assignment={}/partition={number}",
        segment(&group.id),
        segment(&member.id),
        segment(topic)
    );
    links.object("KafkaConsumerAssignment", &path, &resource, view)
}

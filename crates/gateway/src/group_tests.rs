//! Consumer groups over REST, in front of a node that coordinates two and leads everything.

use axum::Router;
use serde_json::{Value, json};
use settings::LimitSettings;
use tokio_util::sync::{CancellationToken, DropGuard};
use transport::{Reply, Response};
use wire::{
    ApiKey, RequestFrame, ResponseError, WireTopicName,
    messages::{
        ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, DescribeGroupsRequest,
        DescribeGroupsResponse, ListGroupsResponse, ListOffsetsRequest, ListOffsetsResponse,
        OffsetFetchRequest, OffsetFetchResponse,
        consumer_group_describe_response::{self as consumer, Assignment, Member, TopicPartitions},
        describe_groups_response as classic,
        list_groups_response::ListedGroup,
        list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse},
        offset_fetch_response::{
            OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
        },
    },
};

use crate::{
    fixture::{self, CLUSTER, call_v3},
    kafka::fake_node::says,
};

/// The newer group has two members, and slashes in its name; the older one has positions of somebody who never joined.
const NEWER: &str = "a/new one";
const OLDER: &str = "old";

fn node(frame: RequestFrame) -> Reply {
    Reply::Now(match frame.api {
        ApiKey::ListGroups => says(&frame, &listed()),
        ApiKey::ConsumerGroupDescribe => consumers(&frame),
        ApiKey::DescribeGroups => classics(&frame),
        ApiKey::OffsetFetch => committed(&frame),
        ApiKey::ListOffsets => ends(&frame),
        other => panic!("nobody asks for {other:?}"),
    })
}

fn listed() -> ListGroupsResponse {
    let group = |id: &'static str, kind: &'static str, protocol: &'static str| {
        ListedGroup::default()
            .with_group_id(wire::StrBytes::from(id).into())
            .with_group_type(kind.into())
            .with_protocol_type(protocol.into())
    };
    let groups = vec![
        group(OLDER, "classic", ""),
        group(NEWER, "consumer", "consumer"),
        group("connectors", "classic", "connect"),
    ];
    ListGroupsResponse::default().with_groups(groups)
}

fn consumers(frame: &RequestFrame) -> Response {
    let request: ConsumerGroupDescribeRequest = frame.decode_body().unwrap();
    let member = |id: &'static str, instance: Option<&'static str>, partition| {
        let topic = TopicPartitions::default()
            .with_topic_name(WireTopicName("orders".into()))
            .with_partitions(vec![partition]);
        Member::default()
            .with_member_id(id.into())
            .with_instance_id(instance.map(Into::into))
            .with_client_id("client".into())
            .with_member_type(1)
            .with_assignment(Assignment::default().with_topic_partitions(vec![topic]))
    };
    let groups = request.group_ids.iter().map(|id| {
        let group = consumer::DescribedGroup::default().with_group_id(id.clone());
        match id.as_str() {
            NEWER => group
                .with_group_state("Stable".into())
                .with_assignor_name("uniform".into())
                .with_members(vec![member("m-2", Some("i"), 1), member("m-1", None, 0)]),
            _ => group.with_error_code(ResponseError::GroupIdNotFound.code()),
        }
    });
    says(frame, &ConsumerGroupDescribeResponse::default().with_groups(groups.collect()))
}

fn classics(frame: &RequestFrame) -> Response {
    let request: DescribeGroupsRequest = frame.decode_body().unwrap();
    let groups = request.groups.iter().map(|id| {
        let group = classic::DescribedGroup::default().with_group_id(id.clone());
        match id.as_str() {
            OLDER => group.with_group_state("Empty".into()),
            _ => group.with_group_state("Dead".into()).with_error_code(ResponseError::GroupIdNotFound.code()),
        }
    });
    says(frame, &DescribeGroupsResponse::default().with_groups(groups.collect()))
}

fn committed(frame: &RequestFrame) -> Response {
    let request: OffsetFetchRequest = frame.decode_body().unwrap();
    let topic = |name: &'static str, offsets: &[i64]| {
        let partitions = (0..).zip(offsets).map(|(index, offset)| {
            OffsetFetchResponsePartitions::default()
                .with_partition_index(index)
                .with_committed_offset(*offset)
        });
        OffsetFetchResponseTopics::default()
            .with_name(WireTopicName(name.into()))
            .with_partitions(partitions.collect())
    };
    let groups = request.groups.iter().map(|group| {
        let answer = OffsetFetchResponseGroup::default().with_group_id(group.group_id.clone());
        match group.group_id.as_str() {
            NEWER => answer.with_topics(vec![topic("gone", &[9]), topic("orders", &[7, 2, 12, -1])]),
            _ => answer,
        }
    });
    says(frame, &OffsetFetchResponse::default().with_groups(groups.collect()))
}

/// Partition n ends at 10 + n.
fn ends(frame: &RequestFrame) -> Response {
    let request: ListOffsetsRequest = frame.decode_body().unwrap();
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|p| {
            assert_eq!(p.timestamp, -1);
            ListOffsetsPartitionResponse::default()
                .with_partition_index(p.partition_index)
                .with_offset(10 + i64::from(p.partition_index))
        });
        ListOffsetsTopicResponse::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions.collect())
    });
    says(frame, &ListOffsetsResponse::default().with_topics(topics.collect()))
}

struct Rest {
    router: Router,
    _node: DropGuard,
}

impl Rest {
    async fn start() -> Self {
        let (router, node) = fixture::rest_in_front_of(fixture::image_with_groups(), node).await;
        Self { router, _node: node }
    }

    async fn get(&self, below: &str) -> (u16, Value) {
        let answer = call_v3(&self.router, "GET", &format!("/consumer-groups{below}"), "").await;
        (answer.status, answer.body)
    }

    async fn missing(&self, below: &str, named: &str) {
        let (status, body) = self.get(below).await;
        assert_eq!((status, &body["error_code"]), (404, &json!(404)), "{below}: {body}");
        assert!(body["message"].as_str().unwrap().contains(named), "{body}");
    }
}

/// As it stands in a path.
const NEWER_PATH: &str = "/a%2Fnew%20one";

fn url(below: &str) -> String {
    format!("http://gw:8082/v3/clusters/{CLUSTER}{below}")
}

#[tokio::test]
async fn groups_of_both_protocols_are_listed_and_those_of_connectors_are_not() {
    let rest = Rest::start().await;
    let (status, list) = rest.get("").await;
    assert_eq!((status, &list["kind"]), (200, &json!("KafkaConsumerGroupList")));
    let (_, newer) = rest.get(NEWER_PATH).await;
    let (_, older) = rest.get("/old").await;
    assert_eq!(list["data"], json!([newer, older]));
    let own = url("/consumer-groups/a%2Fnew%20one");
    let coordinator = newer["coordinator"]["related"].clone();
    assert_eq!(
        newer,
        json!({
            "kind": "KafkaConsumerGroup",
            "metadata": {
                "self": own, "resource_name": format!("crn:///kafka={CLUSTER}/consumer-group=a%2Fnew%20one"),
            },
            "cluster_id": CLUSTER, "consumer_group_id": NEWER, "is_simple": false,
            "partition_assignor": "uniform", "state": "STABLE", "type": "CONSUMER",
            "is_mixed_consumer_group": false, "coordinator": {"related": coordinator},
            "consumers": {"related": format!("{own}/consumers")},
            "lag_summary": {"related": format!("{own}/lag-summary")},
        })
    );
    assert!([url("/brokers/0"), url("/brokers/1")].contains(&coordinator.as_str().unwrap().to_owned()));
    assert_eq!(
        (&older["is_simple"], &older["state"], &older["type"]),
        (&json!(true), &json!("EMPTY"), &json!("CLASSIC"))
    );
}

#[tokio::test]
async fn members_of_a_group_are_shown_with_what_they_have() {
    let rest = Rest::start().await;
    let consumers = format!("{NEWER_PATH}/consumers");
    let (_, list) = rest.get(&consumers).await;
    let (_, first) = rest.get(&format!("{consumers}/m-1")).await;
    let (_, second) = rest.get(&format!("{consumers}/m-2")).await;
    assert_eq!((&list["kind"], &list["data"]), (&json!("KafkaConsumerList"), &json!([first, second])));
    let own = url("/consumer-groups/a%2Fnew%20one/consumers/m-2");
    assert_eq!(second["instance_id"], "i");
    assert_eq!(second["assignments"]["related"], format!("{own}/assignments"));
    assert_eq!((&first["instance_id"], &first["client_id"]), (&Value::Null, &json!("client")));
    let (_, assignments) = rest.get(&format!("{consumers}/m-2/assignments")).await;
    let (_, assignment) = rest.get(&format!("{consumers}/m-2/assignments/orders/partitions/1")).await;
    assert_eq!(
        (&assignments["kind"], &assignments["data"]),
        (&json!("KafkaConsumerAssignmentList"), &json!([assignment]))
    );
    assert_eq!((&assignment["topic_name"], &assignment["partition_id"]), (&json!("orders"), &json!(1)));
    assert_eq!(assignment["partition"]["related"], url("/topics/orders/partitions/1"));
    assert_eq!(assignment["lag"]["related"], url("/consumer-groups/a%2Fnew%20one/lags/orders/partitions/1"));
    rest.missing(&format!("{consumers}/m-3"), "no consumer 'm-3'").await;
    rest.missing(&format!("{consumers}/m-2/assignments/orders/partitions/0"), "not assigned").await;
}

#[tokio::test]
async fn lags_name_who_has_the_partition_and_leave_out_what_is_gone() {
    let rest = Rest::start().await;
    let (status, list) = rest.get(&format!("{NEWER_PATH}/lags")).await;
    assert_eq!((status, &list["kind"]), (200, &json!("KafkaConsumerLagList")));
    let of = |lag: &Value| {
        let number = |name: &str| lag[name].as_i64().unwrap();
        (number("partition_id"), number("current_offset"), number("log_end_offset"), number("lag"))
    };
    let lags: Vec<_> = list["data"].as_array().unwrap().iter().map(of).collect();
    assert_eq!(lags, [(1, 2, 11, 9), (0, 7, 10, 3), (2, 12, 12, 0)], "the longest first");
    let ids = |lag: &Value| json!([lag["consumer_id"], lag["instance_id"], lag["client_id"]]);
    let ids: Vec<_> = list["data"].as_array().unwrap().iter().map(ids).collect();
    assert_eq!(ids, [json!(["m-2", "i", "client"]), json!(["m-1", null, "client"]), json!(["", "", ""])]);
    let (_, one) = rest.get(&format!("{NEWER_PATH}/lags/orders/partitions/0")).await;
    assert_eq!(one, list["data"][1]);
    rest.missing(&format!("{NEWER_PATH}/lags/orders/partitions/3"), "no offset").await;
    rest.missing("/old/lags", "committed no offsets").await;
}

#[tokio::test]
async fn a_lag_summary_has_the_longest_and_the_sum() {
    let rest = Rest::start().await;
    let (_, summary) = rest.get(&format!("{NEWER_PATH}/lag-summary")).await;
    let own = url("/consumer-groups/a%2Fnew%20one");
    assert_eq!(
        summary,
        json!({
            "kind": "KafkaConsumerGroupLagSummary",
            "metadata": {
                "self": format!("{own}/lag-summary"),
                "resource_name": format!("crn:///kafka={CLUSTER}/consumer-group=a%2Fnew%20one/lag-summary"),
            },
            "cluster_id": CLUSTER, "consumer_group_id": NEWER, "max_lag": 9, "total_lag": 12,
            "max_lag_consumer_id": "m-2", "max_lag_instance_id": "i", "max_lag_client_id": "client",
            "max_lag_topic_name": "orders", "max_lag_partition_id": 1,
            "max_lag_consumer": {"related": format!("{own}/consumers/m-2")},
            "max_lag_partition": {"related": url("/topics/orders/partitions/1")},
        })
    );
    rest.missing("/old/lag-summary", "committed no offsets").await;
}

#[tokio::test]
async fn a_group_that_is_not_there_is_named() {
    let rest = Rest::start().await;
    for below in
        ["", "/consumers", "/consumers/m/assignments", "/lag-summary", "/lags", "/lags/t/partitions/0"]
    {
        rest.missing(&format!("/nope{below}"), "consumer group 'nope' does not exist").await;
    }
    let none = fixture::rest(fixture::image(), LimitSettings::default());
    let without = Rest { router: none, _node: CancellationToken::new().drop_guard() };
    without.missing("/nope", "consumer group 'nope' does not exist").await;
}

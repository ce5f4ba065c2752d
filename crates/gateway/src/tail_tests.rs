//! The live tail, in front of nodes with logs that a test writes.

use std::sync::{Arc, atomic::Ordering};

use axum::{
    body::Body,
    http::{Request, header},
};
use bytes::Bytes;
use domain::{LeaderEpoch, NodeId, TopicId};
use futures_util::StreamExt;
use serde_json::{Value, json};
use settings::LimitSettings;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::{
    fixture::{self, CLUSTER},
    kafka::fake_node::in_front_of,
    tail_fixture::{Gateway, Log, MARK},
};

#[tokio::test]
async fn a_tail_goes_on_after_the_last_event_that_was_seen() {
    let gateway = Gateway::start().await;
    gateway.log.write(0, ["1", "2", "3"]);
    gateway.log.write(3, ["4"]);
    let mut first = gateway.tail("from=earliest&partition=0&partition=3").await;
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let event = first.event().await;
        if event.name == "record" {
            seen.push(event);
        }
    }
    drop(first);
    let mut again = gateway.tail_after("from=earliest&partition=0&partition=3", &seen[1].id).await;
    let values =
        |records: &[(i64, i64, Value)]| records.iter().map(|(_, _, value)| value.clone()).collect::<Vec<_>>();
    let mut all: Vec<Value> = seen.iter().map(|event| event.data["value"].clone()).collect();
    all.extend(values(&again.records(2).await));
    all.sort_by_key(Value::as_i64);
    assert_eq!(all, [1, 2, 3, 4], "each of them once");
}

#[tokio::test]
async fn without_more_said_a_tail_begins_at_the_end_and_may_be_come_back_to_before_its_first_event() {
    let gateway = Gateway::start().await;
    gateway.log.write(0, ["1", "2"]);
    let mut tail = gateway.tail("").await;
    let begin = tail.event().await;
    assert_eq!(begin.id, "AAAAAAAAAAAAAAAAAAAABw:0=2,1=0,2=0,3=0");
    gateway.log.write(0, ["3"]);
    assert_eq!(tail.records(1).await, [(0, 2, json!(3))]);
    drop(tail);
    let mut again = gateway.tail_after("", &begin.id).await;
    assert_eq!(again.records(1).await, [(0, 2, json!(3))]);
}

#[tokio::test]
async fn a_tail_begins_at_an_offset_of_one_partition() {
    let gateway = Gateway::start().await;
    gateway.log.write(1, ["1", "2", "3"]);
    let mut tail = gateway.tail("partition=1&from=1&format=text").await;
    assert_eq!(tail.records(2).await, [(1, 1, json!("2")), (1, 2, json!("3"))]);
    for (query, status) in
        [("partition=1&from=4", 400), ("from=1", 400), ("partition=7", 404), ("format=x", 400)]
    {
        assert_eq!(gateway.ask(query, "").await.status(), status, "{query}");
    }
    assert_eq!(gateway.ask("", "nonsense").await.status(), 400);
    let other = TopicId(uuid::Uuid::from_u128(99));
    assert_eq!(gateway.ask("", &format!("{other}:0=1")).await.status(), 404, "an older topic of this name");
}

#[tokio::test]
async fn an_idle_tail_has_one_fetch_a_leader_that_waits() {
    let gateway = Gateway::start().await;
    let mut tail = gateway.tail("").await;
    tail.event().await;
    for round in 1..4 {
        // The one that waits is answered by this, and only then there is the next.
        gateway.log.write(2, [round.to_string()]);
        assert_eq!(tail.records(1).await[0].2, round);
        assert_eq!(gateway.log.fetches.load(Ordering::Relaxed), round);
    }
}

#[tokio::test]
async fn a_partition_that_is_added_is_read_from_its_first_record() {
    let gateway = Gateway::start().await;
    let mut tail = gateway.tail("").await;
    tail.event().await;
    gateway.log.write(4, ["0", "1"]);
    gateway.change(|image| {
        let orders = image.topics.get_mut("orders").map(Arc::make_mut).unwrap();
        let last = orders.partitions.last().unwrap().clone();
        orders.partitions.push_back(last);
    });
    assert_eq!(tail.records(2).await, [(4, 0, json!(0)), (4, 1, json!(1))]);
}

#[tokio::test]
async fn a_tail_follows_the_leader() {
    let gateway = Gateway::start().await;
    let (successor, stop) = (Arc::new(Log::default()), CancellationToken::new());
    let _stops = stop.clone().drop_guard();
    let said = successor.clone();
    let elsewhere = in_front_of(fixture::image(), move |frame| said.says(frame), &stop).await;
    let mut tail = gateway.tail("partition=0").await;
    tail.event().await;
    gateway.log.write(0, ["1"]);
    assert_eq!(tail.records(1).await, [(0, 0, json!(1))]);
    *gateway.log.has_moved.lock() = true;
    gateway.log.written.send_replace(());
    successor.write(0, ["1", "2"]);
    gateway.change(|image| {
        let endpoint = elsewhere.nodes.get(&NodeId(1)).unwrap().kafka.clone();
        image.nodes.get_mut(&NodeId(1)).map(Arc::make_mut).unwrap().kafka = endpoint;
        let orders = image.topics.get_mut("orders").map(Arc::make_mut).unwrap();
        let partition = orders.partitions.get_mut(0).unwrap();
        (partition.leader, partition.leader_epoch) = (Some(NodeId(1)), LeaderEpoch(1));
    });
    assert_eq!(tail.records(1).await, [(0, 1, json!(2))]);
}

#[tokio::test]
async fn what_retention_took_before_it_was_read_is_a_gap() {
    let gateway = Gateway::start().await;
    gateway.log.write(0, ["0", "1", "2", "3"]);
    gateway.log.forget(0, 3);
    let id = "AAAAAAAAAAAAAAAAAAAABw:0=1,1=0,2=0,3=0";
    let mut tail = gateway.tail_after("", id).await;
    tail.event().await;
    let gap = tail.event().await;
    assert_eq!((gap.name.as_str(), &gap.data), ("gap", &json!({"partition": 0, "from": 1, "to": 3})));
    assert_eq!(gap.id, "AAAAAAAAAAAAAAAAAAAABw:0=3,1=0,2=0,3=0");
    assert_eq!(tail.records(1).await, [(0, 3, json!(3))]);
}

#[tokio::test]
async fn the_end_of_the_topic_is_an_error_and_the_end_of_the_tail() {
    let gateway = Gateway::start().await;
    let mut tail = gateway.tail("").await;
    tail.event().await;
    gateway.change(|image| {
        let id = image.topics.remove("orders").unwrap().id;
        image.topic_names.remove(&id);
    });
    let error = tail.event().await;
    assert_eq!((error.name.as_str(), &error.data["error_code"]), ("error", &json!(40403)));
    assert_eq!(tail.block().await, None);
}

#[tokio::test]
async fn a_shutdown_ends_tails() {
    let gateway = Gateway::start().await;
    let mut tail = gateway.tail("").await;
    tail.event().await;
    gateway.app.stopping.cancel();
    assert_eq!(tail.block().await.as_deref(), Some(": the gateway is shutting down"));
    assert_eq!(tail.block().await, None);
}

/// What was read for it, and how much of that it has not taken.
#[tokio::test]
async fn a_slow_reader_holds_little() {
    let gateway = Gateway::start().await;
    let values = (0..500).map(|_| Bytes::from(format!("\"{}\"", "x".repeat(50_000))));
    gateway.log.write(0, values);
    let mut tail = gateway.tail("from=earliest&partition=0").await;
    let mut taken = 0;
    for _ in 0..100 {
        taken += tail.body.next().await.unwrap().unwrap().len();
        let read = gateway.log.sent_bytes.load(Ordering::Relaxed);
        // One answer that is being written, and one that is on its way.
        assert!(read <= taken + 2 * (1 << 20) + 200_000, "read {read}, taken {taken}");
    }
    assert!(taken > 4 << 20, "{taken}");
    let memory = LimitSettings::default().memory_bytes_max;
    assert!(gateway.app.memory.try_take(memory - 3 * (1 << 20)).is_ok(), "and is counted");
    drop(tail);
    assert!(gateway.app.memory.try_take(memory).is_ok(), "all is given back");
}

/// Memory was taken once a leader had answered, so that any number of answers could be on their way, and those that were never
/// taken left nothing to anybody.
#[tokio::test]
async fn readers_that_take_nothing_leave_room_for_the_others() {
    let gateway = Gateway::start().await;
    gateway.log.write(0, (0..240).map(|_| Bytes::from(format!("\"{}\"", "x".repeat(50_000)))));
    let read = async |bytes_max: usize| {
        let uri = format!("/topics/orders/partitions/0/records?offset=0&max_bytes={bytes_max}");
        let request = Request::get(uri).header(header::ACCEPT, "application/vnd.kafka.binary.v2+json");
        gateway.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    };
    let memory = LimitSettings::default().memory_bytes_max;
    let mut never_taken = Vec::new();
    for n in 0..60 {
        let answer = read(16 << 20).await;
        assert_eq!(answer.status(), 200, "reader {n}");
        never_taken.push(answer);
    }
    let sent = gateway.log.sent_bytes.load(Ordering::Relaxed);
    assert!(sent < memory, "{sent} bytes were asked for");
    let mut tails = Vec::new();
    for _ in 0..60 {
        let mut tail = gateway.tail("from=earliest&partition=0").await;
        tail.body.next().await.unwrap().unwrap();
        tail.body.next().await.unwrap().unwrap();
        tails.push(tail);
    }
    let answer = read(1_000).await;
    assert_eq!(answer.status(), 200);
    assert!(hyper::body::Body::size_hint(answer.body()).exact().unwrap() > 50_000, "a whole record");
    assert!(gateway.app.memory.try_take(16 << 20).is_ok(), "and writers have room, too");
    drop((never_taken, tails, answer));
    assert!(gateway.app.memory.try_take(memory).is_ok(), "all is given back");
}

/// A read whose time was up ended there, for ever, and so did the repetition of a poll, of which the rest was lost then.
#[tokio::test]
async fn a_read_that_waits_for_nothing_passes_over_what_is_not_for_consumers() {
    let gateway = Gateway::start().await;
    gateway.log.write(0, ["1", MARK, MARK, "2"]);
    for (offset, next) in [(0, 0), (1, 3), (3, 3)] {
        let uri = format!("/topics/orders/partitions/0/records?offset={offset}&timeout=0&max_bytes=1");
        let request = Request::get(uri).header(header::ACCEPT, "application/vnd.kafka.json.v2+json");
        let answer = fixture::send(&gateway.router, request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.body[0]["offset"], next, "{:?}", answer.body);
    }
}

#[tokio::test]
async fn who_takes_no_events_is_told_that_there_is_nothing_else() {
    let gateway = Gateway::start().await;
    let request = Request::get(format!("/v3/clusters/{CLUSTER}/topics/orders/records"))
        .header(header::ACCEPT, "application/json");
    let answer = fixture::send(&gateway.router, request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.error(), (406, 406));
    assert!(answer.message().contains("text/event-stream"), "{}", answer.body);
}

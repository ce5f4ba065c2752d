//! The live tail, in front of nodes with logs that a test writes.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, BodyDataStream},
    http::{Request, Response, header},
};
use bytes::Bytes;
use domain::{LeaderEpoch, NodeId, Offset, TopicId};
use futures_util::{FutureExt, StreamExt};
use metadata::Image;
use parking_lot::Mutex;
use records::{BatchBuilder, BatchHeader, Compression, patched_prefix};
use rpc::{SetImage, WatchedImage};
use serde_json::{Value, json};
use settings::LimitSettings;
use tokio::{sync::watch, time::timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tower::ServiceExt;
use transport::Reply;
use wire::{
    ApiKey, RequestFrame, ResponseError,
    messages::{
        FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse,
        fetch_response::{FetchableTopicResponse, PartitionData},
        list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse},
    },
};

use crate::{
    App,
    fixture::{self, CLUSTER},
    kafka::fake_node::{in_front_of, says},
};

/// A node that leads whatever it is asked for, with the values that a test has written.
#[derive(Default)]
struct Log {
    /// By partition: the first offset that is there, and the values from it on.
    partitions: Mutex<BTreeMap<i32, (i64, Vec<Bytes>)>>,
    written: watch::Sender<()>,
    /// It says that another node leads.
    has_moved: Mutex<bool>,
    fetches: AtomicUsize,
    sent_bytes: AtomicUsize,
}

impl Log {
    fn write(&self, partition: i32, values: impl IntoIterator<Item = impl Into<Bytes>>) {
        let values = values.into_iter().map(Into::into);
        self.partitions.lock().entry(partition).or_default().1.extend(values);
        self.written.send_replace(());
    }

    /// Retention took all before the offset.
    fn forget(&self, partition: i32, before: i64) {
        let mut partitions = self.partitions.lock();
        let (begin, values) = partitions.entry(partition).or_default();
        values.drain(..usize::try_from(before - *begin).unwrap());
        *begin = before;
    }

    fn ends(&self, partition: i32) -> (i64, i64) {
        let partitions = self.partitions.lock();
        let (begin, values) = partitions.get(&partition).cloned().unwrap_or_default();
        (begin, begin + values.len() as i64)
    }

    fn batch(&self, partition: i32, from: i64, bytes_max: usize) -> Bytes {
        let partitions = self.partitions.lock();
        let (begin, values) = &partitions[&partition];
        let mut builder = BatchBuilder::new(Compression::None);
        for value in &values[usize::try_from(from - begin).unwrap()..] {
            builder.push(7, None, Some(value), &[]);
            if builder.encoded_bytes() >= bytes_max {
                break;
            }
        }
        let bytes = builder.build();
        let header = BatchHeader::parse(&bytes).unwrap();
        [&patched_prefix(&header, Offset(from), LeaderEpoch(0))[..], &bytes[16..]].concat().into()
    }

    /// What there is; `true` if it is something.
    fn look(&self, request: &FetchRequest) -> (FetchResponse, bool) {
        let mut is_news = false;
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|asked| {
                let (begin, end) = self.ends(asked.partition);
                let data =
                    PartitionData::default().with_partition_index(asked.partition).with_high_watermark(end);
                let error = match () {
                    () if *self.has_moved.lock() => Some(ResponseError::NotLeaderOrFollower),
                    () if !(begin..=end).contains(&asked.fetch_offset) => {
                        Some(ResponseError::OffsetOutOfRange)
                    }
                    () => None,
                };
                is_news |= error.is_some() || asked.fetch_offset < end;
                match error {
                    Some(code) => data.with_error_code(code.code()),
                    None if asked.fetch_offset == end => data,
                    None => {
                        let max = usize::try_from(request.max_bytes).unwrap();
                        data.with_records(Some(self.batch(asked.partition, asked.fetch_offset, max)))
                    }
                }
            });
            let partitions = partitions.collect();
            FetchableTopicResponse::default().with_topic_id(topic.topic_id).with_partitions(partitions)
        });
        let topics = topics.collect();
        (FetchResponse::default().with_responses(topics), is_news)
    }

    fn says(self: &Arc<Self>, frame: RequestFrame) -> Reply {
        match frame.api {
            ApiKey::Fetch => {
                self.fetches.fetch_add(1, Ordering::Relaxed);
                let (log, mut written) = (self.clone(), self.written.subscribe());
                let request: FetchRequest = frame.decode_body().unwrap();
                let answer = async move {
                    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap());
                    let news = async {
                        while !log.look(&request).1 {
                            written.changed().await.unwrap();
                        }
                    };
                    let _ = timeout(wait, news).await;
                    let answer = log.look(&request).0;
                    let partitions = answer.responses.iter().flat_map(|topic| &topic.partitions);
                    let bytes = partitions.filter_map(|p| p.records.as_ref()).map(Bytes::len).sum();
                    log.sent_bytes.fetch_add(bytes, Ordering::Relaxed);
                    Ok(says(&frame, &answer))
                };
                Reply::Later(answer.boxed())
            }
            ApiKey::ListOffsets => {
                let request: ListOffsetsRequest = frame.decode_body().unwrap();
                let topics = request.topics.iter().map(|topic| {
                    let partitions = topic.partitions.iter().map(|asked| {
                        let (begin, end) = self.ends(asked.partition_index);
                        ListOffsetsPartitionResponse::default()
                            .with_partition_index(asked.partition_index)
                            .with_offset(if asked.timestamp == -2 { begin } else { end })
                    });
                    ListOffsetsTopicResponse::default()
                        .with_name(topic.name.clone())
                        .with_partitions(partitions.collect())
                });
                Reply::Now(says(&frame, &ListOffsetsResponse::default().with_topics(topics.collect())))
            }
            other => panic!("nobody asks for {other:?}"),
        }
    }
}

/// A gateway in front of a node.
struct Gateway {
    log: Arc<Log>,
    app: Arc<App>,
    router: Router,
    image: SetImage,
    _node: DropGuard,
}

impl Gateway {
    async fn start() -> Self {
        let (log, stop) = (Arc::new(Log::default()), CancellationToken::new());
        let said = log.clone();
        let image = in_front_of(fixture::image(), move |frame| said.says(frame), &stop).await;
        let (set, image) = WatchedImage::settable(image);
        let app = fixture::app(image, LimitSettings::default());
        Self { log, router: fixture::rest_of(app.clone()), app, image: set, _node: stop.drop_guard() }
    }

    /// Changes the metadata.
    fn change(&self, change: impl FnOnce(&mut Image)) {
        let mut image = Image::clone(&self.app.image.load());
        change(&mut image);
        image.version += 1;
        self.image.set(image);
    }

    async fn ask(&self, query: &str, last_event_id: &str) -> Response<Body> {
        let request = Request::get(format!("/v3/clusters/{CLUSTER}/topics/orders/records?{query}"))
            .header(header::ACCEPT, "text/event-stream");
        let request = match last_event_id {
            "" => request,
            id => request.header("last-event-id", id),
        };
        self.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    async fn tail(&self, query: &str) -> Events {
        self.tail_after(query, "").await
    }

    async fn tail_after(&self, query: &str, id: &str) -> Events {
        let response = self.ask(query, id).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
        Events { body: response.into_body().into_data_stream(), text: String::new() }
    }
}

/// What a browser makes of the stream.
struct Events {
    body: BodyDataStream,
    text: String,
}

#[derive(Debug)]
struct Event {
    id: String,
    name: String,
    data: Value,
}

impl Events {
    /// The next block of lines; `None`: the stream has ended.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(block);
            }
            let piece = timeout(Duration::from_secs(20), self.body.next()).await.expect("something comes");
            self.text.push_str(std::str::from_utf8(&piece?.unwrap()).unwrap());
        }
    }

    async fn event(&mut self) -> Event {
        let block = self.block().await.expect("the stream goes on");
        let field = |name: &str| {
            let line = block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            line.unwrap_or_default().to_owned()
        };
        Event {
            id: field("id"),
            name: field("event"),
            data: serde_json::from_str(&field("data")).unwrap_or_default(),
        }
    }

    /// The next so many records, without the order of their partitions.
    async fn records(&mut self, count: usize) -> Vec<(i64, i64, Value)> {
        let mut records = Vec::new();
        while records.len() < count {
            let Event { name, data, .. } = self.event().await;
            if name == "record" {
                let number = |name: &str| data[name].as_i64().unwrap();
                records.push((number("partition"), number("offset"), data["value"].clone()));
            }
        }
        records.sort_by_key(|(partition, offset, _)| (*partition, *offset));
        records
    }
}

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

#[tokio::test]
async fn who_takes_no_events_is_told_that_there_is_nothing_else() {
    let gateway = Gateway::start().await;
    let request = Request::get(format!("/v3/clusters/{CLUSTER}/topics/orders/records"))
        .header(header::ACCEPT, "application/json");
    let answer = fixture::send(&gateway.router, request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.error(), (406, 406));
    assert!(answer.message().contains("text/event-stream"), "{}", answer.body);
}

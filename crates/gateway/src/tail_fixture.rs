//! A gateway in front of a node with a log that a test writes, and a reader of its live tail.

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
use domain::{LeaderEpoch, Offset};
use futures_util::{FutureExt, StreamExt};
use metadata::Image;
use parking_lot::Mutex;
use records::{BatchBuilder, BatchHeader, Compression, patched_prefix};
use rpc::{SetImage, WatchedImage};
use serde_json::Value;
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
pub(crate) struct Log {
    /// By partition: the first offset that is there, and the values from it on.
    partitions: Mutex<BTreeMap<i32, (i64, Vec<Bytes>)>>,
    pub(crate) written: watch::Sender<()>,
    /// It says that another node leads.
    pub(crate) has_moved: Mutex<bool>,
    pub(crate) fetches: AtomicUsize,
    pub(crate) sent_bytes: AtomicUsize,
}

/// Written as a value, it stands for a batch without a record for consumers.
pub(crate) const MARK: &str = "a transaction's end";

impl Log {
    pub(crate) fn write(&self, partition: i32, values: impl IntoIterator<Item = impl Into<Bytes>>) {
        let values = values.into_iter().map(Into::into);
        self.partitions.lock().entry(partition).or_default().1.extend(values);
        self.written.send_replace(());
    }

    /// Retention took all before the offset.
    pub(crate) fn forget(&self, partition: i32, before: i64) {
        let mut partitions = self.partitions.lock();
        let (begin, values) = partitions.entry(partition).or_default();
        values.drain(..usize::try_from(before - *begin).unwrap());
        *begin = before;
    }

    pub(crate) fn ends(&self, partition: i32) -> (i64, i64) {
        let partitions = self.partitions.lock();
        let (begin, values) = partitions.get(&partition).cloned().unwrap_or_default();
        (begin, begin + values.len() as i64)
    }

    pub(crate) fn batch(&self, partition: i32, from: i64, bytes_max: usize) -> Bytes {
        let partitions = self.partitions.lock();
        let (begin, values) = &partitions[&partition];
        let mut builder = BatchBuilder::new(Compression::None);
        for (index, value) in values[usize::try_from(from - begin).unwrap()..].iter().enumerate() {
            if value == MARK {
                if index == 0 {
                    builder.control(true).push(7, Some(b"k"), Some(b"v"), &[]);
                }
                break;
            }
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
    pub(crate) fn look(&self, request: &FetchRequest) -> (FetchResponse, bool) {
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

    pub(crate) fn says(self: &Arc<Self>, frame: RequestFrame) -> Reply {
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
pub(crate) struct Gateway {
    pub(crate) log: Arc<Log>,
    pub(crate) app: Arc<App>,
    pub(crate) router: Router,
    image: SetImage,
    _node: DropGuard,
}

impl Gateway {
    pub(crate) async fn start() -> Self {
        let (log, stop) = (Arc::new(Log::default()), CancellationToken::new());
        let said = log.clone();
        let image = in_front_of(fixture::image(), move |frame| said.says(frame), &stop).await;
        let (set, image) = WatchedImage::settable(image);
        let app = fixture::app(image, LimitSettings::default());
        Self { log, router: fixture::rest_of(app.clone()), app, image: set, _node: stop.drop_guard() }
    }

    /// Changes the metadata.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Image)) {
        let mut image = Image::clone(&self.app.image.load());
        change(&mut image);
        image.version += 1;
        self.image.set(image);
    }

    pub(crate) async fn ask(&self, query: &str, last_event_id: &str) -> Response<Body> {
        let request = Request::get(format!("/v3/clusters/{CLUSTER}/topics/orders/records?{query}"))
            .header(header::ACCEPT, "text/event-stream");
        let request = match last_event_id {
            "" => request,
            id => request.header("last-event-id", id),
        };
        self.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    pub(crate) async fn tail(&self, query: &str) -> Events {
        self.tail_after(query, "").await
    }

    pub(crate) async fn tail_after(&self, query: &str, id: &str) -> Events {
        let response = self.ask(query, id).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
        Events { body: response.into_body().into_data_stream(), text: String::new() }
    }
}

/// What a browser makes of the stream.
pub(crate) struct Events {
    pub(crate) body: BodyDataStream,
    text: String,
}

#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) data: Value,
}

impl Events {
    /// The next block of lines; `None`: the stream has ended.
    pub(crate) async fn block(&mut self) -> Option<String> {
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

    pub(crate) async fn event(&mut self) -> Event {
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
    pub(crate) async fn records(&mut self, count: usize) -> Vec<(i64, i64, Value)> {
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

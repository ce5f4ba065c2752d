//! What fetches take of the gateway's memory, in front of a node that has as much as anybody asks for.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, future::join_all};
use records::{BatchBuilder, Compression};
use tokio::{sync::watch, time::Instant};
use transport::{Handler, Reply, Response};
use wire::{
    FrameError, RequestFrame, WireTopicName,
    messages::{
        FetchRequest, FetchResponse,
        fetch_request::{FetchPartition, FetchTopic},
        fetch_response::{FetchableTopicResponse, PartitionData},
    },
};

use super::KEPT;
use crate::{
    fixture,
    kafka::{
        fake_node::{FakeCluster, says},
        session::Session,
        text,
    },
};

const MIB: usize = 1 << 20;
/// Comes however little is asked for.
const BATCH: usize = 900_000;
/// Where there is much to read, where there is nothing (yet), and where the node takes its time.
const BEGINNING: i64 = 0;
const END: i64 = 1;
const SLOW: i64 = 2;

/// The node's side.
struct Log {
    sent: AtomicUsize,
    waiting: AtomicUsize,
    most_asked: AtomicUsize,
    /// A batch has been written at the end.
    news: watch::Sender<bool>,
    /// Nobody is told of the news by a look, as if it had come after that.
    is_news_late: AtomicBool,
}

impl Log {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            sent: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            most_asked: AtomicUsize::new(0),
            news: watch::Sender::new(false),
            is_news_late: AtomicBool::new(false),
        })
    }

    async fn cluster(self: &Arc<Self>, answer_bytes_max: usize) -> FakeCluster {
        let log = self.clone();
        let says = move |frame| Reply::Later(log.clone().answer(frame).boxed());
        FakeCluster::start(fixture::image(), answer_bytes_max, says).await
    }

    async fn answer(self: Arc<Self>, frame: RequestFrame) -> Result<Response, FrameError> {
        let request: FetchRequest = frame.decode_body()?;
        let topic = &request.topics[0];
        let asked = usize::try_from(request.max_bytes).expect("a size");
        self.most_asked.fetch_max(asked, Ordering::Relaxed);
        let bytes = match topic.partitions[0].fetch_offset {
            BEGINNING => asked.max(BATCH),
            SLOW => {
                tokio::time::sleep(Duration::from_secs(1)).await;
                asked.max(BATCH)
            }
            _ => self.at_the_end(&request).await,
        };
        self.sent.fetch_add(bytes, Ordering::Relaxed);
        let data = PartitionData::default().with_records(Some(batch_of(bytes)));
        let answered =
            FetchableTopicResponse::default().with_topic_id(topic.topic_id).with_partitions(vec![data]);
        Ok(says(&frame, &FetchResponse::default().with_responses(vec![answered])))
    }

    async fn at_the_end(&self, request: &FetchRequest) -> usize {
        let wait = Duration::from_millis(request.max_wait_ms as u64);
        let mut news = self.news.subscribe();
        let has_news = match wait.is_zero() {
            true => *news.borrow() && !self.is_news_late.load(Ordering::Relaxed),
            false => {
                self.waiting.fetch_add(1, Ordering::Relaxed);
                tokio::time::timeout(wait, news.wait_for(|news| *news)).await.is_ok()
            }
        };
        if has_news { BATCH } else { 0 }
    }
}

/// One of that size, by its header.
fn batch_of(bytes: usize) -> Bytes {
    if bytes == 0 {
        return Bytes::new();
    }
    let mut batch = BatchBuilder::new(Compression::None);
    batch.push(1, Some(b"k".as_slice()), Some(b"v".as_slice()), &[]);
    let mut batch = batch.build().to_vec();
    batch.resize(bytes, 0);
    batch[8..12].copy_from_slice(&((bytes - 12) as i32).to_be_bytes());
    batch.into()
}

fn request(offset: i64, wait_ms: i32) -> FetchRequest {
    let partition = FetchPartition::default().with_fetch_offset(offset).with_partition_max_bytes(i32::MAX);
    let topic =
        FetchTopic::default().with_topic(WireTopicName(text("orders"))).with_partitions(vec![partition]);
    FetchRequest::default()
        .with_min_bytes(1)
        .with_max_wait_ms(wait_ms)
        .with_max_bytes(50 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![topic])
}

/// A client's fetch whose answer nobody sends: it is as if the client never read.
async fn unread(session: &Session, request: FetchRequest) -> Response {
    let frame = wire::encode_request(&request, 12, 1, &text("a client")).expect("it can be encoded");
    let frame = RequestFrame::parse(frame.slice(4..)).expect("a frame");
    match session.handle(frame, ([127, 0, 0, 1], 1).into()).expect("a fetch") {
        Reply::Later(answer) => answer.await.expect("an answer"),
        _ => panic!("a fetch is answered later"),
    }
}

fn records(answer: &FetchResponse) -> usize {
    let told = &answer.responses[0].partitions[0];
    assert_eq!(told.error_code, 0);
    told.records.as_ref().map_or(0, Bytes::len)
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn fetches_at_once_bring_no_more_than_answers_may_take() {
    let log = Log::new();
    let cluster = log.cluster(64 * MIB).await;
    let sessions: Vec<Session> = (0..60).map(|_| Session::new(cluster.front.clone())).collect();
    let answers = join_all(sessions.iter().map(|session| unread(session, request(BEGINNING, 500)))).await;
    let sent = log.sent.load(Ordering::Relaxed);
    assert!(sent <= 64 * MIB, "{} MiB came for {} clients", sent / MIB, sessions.len());
    assert!(sent > 48 * MIB, "what there is is used, but only {} MiB of it", sent / MIB);
    drop(answers);
    until("all of it goes back", || cluster.front.budget.held() == 0).await;
}

#[tokio::test]
async fn who_waits_for_room_gets_it_when_another_client_has_read() {
    let log = Log::new();
    let cluster = log.cluster(MIB).await;
    let (first, second) = (Session::new(cluster.front.clone()), Session::new(cluster.front.clone()));
    let answer = unread(&first, request(BEGINNING, 0)).await;
    let mut waiting = unread(&second, request(BEGINNING, 10_000)).boxed();
    assert!(tokio::time::timeout(Duration::from_millis(100), &mut waiting).await.is_err());
    drop(answer);
    let began = Instant::now();
    waiting.await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(log.sent.load(Ordering::Relaxed), 2 * MIB);
}

#[tokio::test]
async fn without_room_a_fetch_is_answered_without_records_soon_after_its_time() {
    let cluster = Log::new().cluster(MIB).await;
    let all = cluster.front.budget.shares(MIB, 1).await;
    let began = Instant::now();
    assert_eq!(records(&cluster.ask(request(BEGINNING, 200), 12).await), 0);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    drop(all);
    assert_eq!(records(&cluster.ask(request(BEGINNING, 200), 12).await), MIB);
}

#[tokio::test]
async fn consumers_that_wait_for_news_hold_nothing_and_leave_all_to_who_reads() {
    let log = Log::new();
    let cluster = log.cluster(64 * MIB).await;
    let sessions: Vec<Session> = (0..300).map(|_| Session::new(cluster.front.clone())).collect();
    let idle = join_all(sessions.iter().map(|session| unread(session, request(END, 10_000))));
    let reads = async {
        until("all of them wait", || log.waiting.load(Ordering::Relaxed) == 300).await;
        assert_eq!(cluster.front.budget.held(), 0);
        assert_eq!(records(&cluster.ask(request(BEGINNING, 500), 12).await), 8 * MIB);
        log.news.send_replace(true);
    };
    // News for all of them at once is as much as there is room for.
    let (answers, ()) = tokio::join!(idle, reads);
    assert!(cluster.front.budget.held() <= 64 * MIB, "{}", cluster.front.budget.held());
    assert!(cluster.front.budget.held() > 48 * MIB, "{}", cluster.front.budget.held());
    drop(answers);
}

#[tokio::test]
async fn news_for_which_there_is_no_room_comes_when_there_is() {
    let log = Log::new();
    let cluster = log.cluster(MIB).await;
    let session = Session::new(cluster.front.clone());
    let mut waiting = unread(&session, request(END, 10_000)).boxed();
    let reads = async {
        until("it waits", || log.waiting.load(Ordering::Relaxed) == 1).await;
        let all = cluster.front.budget.shares(MIB, 1).await;
        log.news.send_replace(true);
        until("the news has come", || log.sent.load(Ordering::Relaxed) == BATCH).await;
        // Longer than it takes from the node to the client.
        tokio::time::sleep(Duration::from_millis(100)).await;
        drop(all);
    };
    tokio::select! {
        biased;
        _ = &mut waiting => panic!("there was no room for it"),
        () = reads => {}
    }
    waiting.await;
    assert_eq!(log.sent.load(Ordering::Relaxed), 2 * BATCH);
}

#[tokio::test]
async fn what_comes_too_late_counts_until_the_client_fetches_again_or_it_is_let_go_of() {
    let log = Log::new();
    let cluster = log.cluster(MIB).await;
    let session = Session::new(cluster.front.clone());
    drop(unread(&session, request(SLOW, 100)).await);
    assert_eq!(cluster.front.budget.held(), MIB, "its leader may still send it");
    // The same again is the same fetch.
    drop(unread(&session, request(SLOW, 5_000)).await);
    assert_eq!((cluster.front.budget.held(), log.sent.load(Ordering::Relaxed)), (0, MIB));
    drop(unread(&session, request(SLOW, 100)).await);
    assert_eq!(cluster.front.budget.held(), MIB);
    let began = Instant::now();
    until("it is let go of", || cluster.front.budget.held() == 0).await;
    assert!(began.elapsed() < 2 * KEPT + Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_client_that_would_rather_wait_for_more_does() {
    let log = Log::new();
    log.is_news_late.store(true, Ordering::Relaxed);
    log.news.send_replace(true);
    let cluster = log.cluster(64 * MIB).await;
    // A look finds nothing, and what is waited for is enough.
    let answer = cluster.ask(request(END, 5_000).with_min_bytes(BATCH as i32), 12).await;
    assert_eq!((records(&answer), log.waiting.load(Ordering::Relaxed)), (BATCH, 1));
    // A look finds a batch, which is not enough: it is waited for more, until the time is up.
    log.is_news_late.store(false, Ordering::Relaxed);
    let answer = cluster.ask(request(END, 300).with_min_bytes(MIB as i32), 12).await;
    assert_eq!((records(&answer), log.waiting.load(Ordering::Relaxed)), (BATCH, 2));
}

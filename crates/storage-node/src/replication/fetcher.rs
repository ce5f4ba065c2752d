use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use domain::{LeaderEpoch, NodeEpoch, Offset, PartitionIndex, TopicId};
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesOrdered};
use rpc::WatchedImage;
use tokio::time::Instant;
use transport::{CallError, ClientPool};
use wire::{
    ResponseError,
    messages::{
        FetchRequest, FetchResponse,
        fetch_request::{FetchPartition, FetchTopic, ForgottenTopic, ReplicaState},
        fetch_response::PartitionData,
    },
};

use super::{
    Key,
    fetchers::{FetchConfig, Wanted},
    follow::{Answer, Position, Taken},
};
use crate::{partition::LocalPartition, store::Store, usage};

/// Fetches from one leader: everything that this node follows it in, over one connection and one session (KIP-227).
pub(crate) struct Fetcher {
    wanted: Arc<Wanted>,
    config: Arc<FetchConfig>,
    pool: ClientPool,
    image: WatchedImage,
    store: Arc<Store>,
    session: Session,
    /// How many requests were made.
    requests: u64,
    /// The most that one answer may hold: less after each that did not come in time, so that a slow link is no dead one.
    bytes_max: i32,
    /// Partitions whose last answer was an error, and when they are asked for again.
    resting: HashMap<Key, Rest>,
}

/// What the leader has been told.
#[derive(Default)]
struct Session {
    /// 0: none yet.
    id: i32,
    next_epoch: i32,
    /// The registration that the session was opened under.
    node_epoch: Option<NodeEpoch>,
    /// With the number of the request that told it: answers to earlier ones mean an earlier position.
    told: HashMap<Key, (Position, u64)>,
}

#[derive(Clone, Copy)]
struct Rest {
    /// `None` once the partition was asked for again.
    until: Option<Instant>,
    pause: Duration,
}

/// An answer, or why there is none.
struct Sent {
    request: u64,
    /// The first request of the session that it belongs to.
    session: u64,
    answer: Result<FetchResponse, CallError>,
}

const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// A leader that does not answer for so long beyond what a fetch may wait is asked anew.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// What an answer may hold at least, however slow the link.
const RESPONSE_BYTES_MIN: i32 = 64 << 10;
/// One that waits for news and one that changes what is asked for.
const IN_FLIGHT_MAX: usize = 2;
/// The newest version with topic ids, replica epochs and diverging epochs.
const VERSION_MAX: i16 = 17;

impl Fetcher {
    pub(crate) fn new(
        wanted: Arc<Wanted>,
        config: Arc<FetchConfig>,
        pool: ClientPool,
        image: WatchedImage,
        store: Arc<Store>,
    ) -> Self {
        let (session, resting, bytes_max) = (Session::default(), HashMap::new(), config.response_bytes_max);
        Self { wanted, config, pool, image, store, session, requests: 0, bytes_max, resting }
    }

    /// Fetches for as long as it is polled.
    pub(crate) async fn run(mut self) {
        let mut in_flight: FuturesOrdered<BoxFuture<'static, Sent>> = FuturesOrdered::new();
        let mut session = 0;
        let mut pause = PAUSE_MIN;
        let wanted = self.wanted.clone();
        loop {
            if in_flight.is_empty() && wanted.partitions.lock().all.is_empty() {
                // Nothing is followed: no connection, no session, no timer.
                self.reset();
                wanted.changed.notified().await;
                continue;
            }
            let may_send = in_flight.is_empty() || (in_flight.len() < IN_FLIGHT_MAX && self.session.id != 0);
            if may_send && let Some((address, request)) = self.request(in_flight.is_empty()) {
                if request.session_epoch == 0 {
                    session = self.requests;
                }
                in_flight.push_back(self.send(session, address, request));
            }
            if in_flight.is_empty() {
                // The leader's address is not known: the metadata will tell.
                tokio::time::sleep(PAUSE_MIN).await;
                continue;
            }
            let may_ask = in_flight.len() < IN_FLIGHT_MAX;
            let sent = tokio::select! {
                biased;
                Some(sent) = in_flight.next() => sent,
                () = wanted.changed.notified() => continue,
                () = self.rested(), if may_ask => continue,
            };
            if sent.session != session {
                continue;
            }
            let outcome = match sent.answer {
                Ok(answer) => self.take(sent.request, answer),
                Err(error) => Err(error.to_string()),
            };
            match outcome {
                Ok(()) => {
                    pause = PAUSE_MIN;
                    self.bytes_max = self.bytes_max.saturating_mul(2).min(self.config.response_bytes_max);
                }
                Err(reason) => {
                    self.bytes_max = (self.bytes_max / 4).max(RESPONSE_BYTES_MIN);
                    tracing::debug!(leader = %wanted.leader, reason, "fetching from the leader failed");
                    self.reset();
                    in_flight.clear();
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = wanted.changed.notified() => {}
                    }
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    /// Everything is told anew in the next request.
    fn reset(&mut self) {
        self.session = Session::default();
        self.resting.clear();
        let mut wanted = self.wanted.partitions.lock();
        wanted.dirty = wanted.all.keys().copied().collect();
    }

    /// Waits for the first resting partition's turn; forever, if none rests.
    async fn rested(&mut self) {
        let Some(until) = self.resting.values().filter_map(|r| r.until).min() else {
            return std::future::pending().await;
        };
        tokio::time::sleep_until(until).await;
        let now = Instant::now();
        let mut wanted = self.wanted.partitions.lock();
        for (key, rest) in self.resting.iter_mut().filter(|(_, r)| r.until.is_some_and(|until| until <= now))
        {
            rest.until = None;
            wanted.dirty.insert(*key);
        }
    }

    /// The next request, and whom to send it to; `None` if the leader's address is not known, or if there is nothing new to
    /// say. `anyway`: also with nothing new, to go on waiting.
    fn request(&mut self, anyway: bool) -> Option<(String, FetchRequest)> {
        let node_epoch = self.store.epoch();
        if self.session.node_epoch != Some(node_epoch) {
            self.reset();
            self.session.node_epoch = Some(node_epoch);
        }
        let image = self.image.load();
        let address = image.nodes.get(&self.wanted.leader)?.kafka.to_string();
        let (topics, forgotten) = self.changes(self.requests + 1);
        if !anyway && topics.is_empty() && forgotten.is_empty() {
            return None;
        }
        self.requests += 1;
        let request = FetchRequest::default()
            .with_replica_state(
                ReplicaState::default()
                    .with_replica_id(self.config.me.0.into())
                    .with_replica_epoch(node_epoch.0),
            )
            .with_max_wait_ms(i32::try_from(self.config.wait_max.as_millis()).unwrap_or(i32::MAX))
            .with_min_bytes(1)
            .with_max_bytes(self.bytes_max)
            .with_session_id(self.session.id)
            .with_session_epoch(self.session.next_epoch)
            .with_topics(topics)
            .with_forgotten_topics_data(forgotten);
        self.session.next_epoch = self.session.next_epoch.checked_add(1).unwrap_or(1);
        Some((address, request))
    }

    /// What the leader must be told since the last request.
    fn changes(&mut self, request: u64) -> (Vec<FetchTopic>, Vec<ForgottenTopic>) {
        let mut asked: HashMap<TopicId, Vec<FetchPartition>> = HashMap::new();
        let mut forgotten: HashMap<TopicId, Vec<i32>> = HashMap::new();
        let image = self.image.load();
        let mut wanted = self.wanted.partitions.lock();
        // A new leader epoch is worth a try at once.
        for key in std::mem::take(&mut wanted.fresh) {
            self.resting.remove(&key);
        }
        let dirty = std::mem::take(&mut wanted.dirty);
        for key in dirty {
            let (topic, partition) = key;
            let rests = self.resting.get(&key).is_some_and(|rest| rest.until.is_some());
            let position =
                wanted.all.get(&key).filter(|_| !rests).and_then(|p| p.position(self.wanted.leader));
            let Some(position) = position else {
                if self.session.told.remove(&key).is_some() {
                    forgotten.entry(topic).or_default().push(partition.0);
                }
                continue;
            };
            if self.session.told.get(&key).is_some_and(|(told, _)| *told == position) {
                continue;
            }
            self.session.told.insert(key, (position, request));
            let bytes_max = match usage::comes_to(&image, self.config.me, key) {
                true => self.config.pace.ask(self.config.partition_bytes_max),
                false => self.config.partition_bytes_max,
            };
            asked.entry(topic).or_default().push(
                FetchPartition::default()
                    .with_partition(partition.0)
                    .with_current_leader_epoch(position.leader_epoch.0)
                    .with_fetch_offset(position.offset.0)
                    .with_log_start_offset(position.start.0)
                    .with_last_fetched_epoch(position.last_epoch.0)
                    .with_partition_max_bytes(bytes_max),
            );
        }
        let asked = asked.into_iter().map(|(topic, partitions)| {
            FetchTopic::default().with_topic_id(topic.0).with_partitions(partitions)
        });
        let forgotten = forgotten.into_iter().map(|(topic, partitions)| {
            ForgottenTopic::default().with_topic_id(topic.0).with_partitions(partitions)
        });
        (asked.collect(), forgotten.collect())
    }

    /// Requests leave in the order in which their futures are polled first, which is that of the queue they stand in.
    fn send(&self, session: u64, address: String, request: FetchRequest) -> BoxFuture<'static, Sent> {
        let (pool, within) = (self.pool.clone(), self.config.wait_max + ANSWER_MAX);
        let number = self.requests;
        async move {
            let answer = pool.call_up_to(&address, request, VERSION_MAX, within).await;
            Sent { request: number, session, answer }
        }
        .boxed()
    }

    /// Takes an answer in.
    ///
    /// # Errors
    /// The session is over, and begins anew.
    fn take(&mut self, request: u64, answer: FetchResponse) -> Result<(), String> {
        if answer.error_code != 0 {
            return Err(format!("fetch error {}", answer.error_code));
        }
        if self.session.id == 0 {
            self.session.id = answer.session_id;
        }
        let (mut to_flush, mut to_cut) = (VecDeque::new(), Vec::new());
        for topic in answer.responses {
            for data in topic.partitions {
                let key = (TopicId(topic.topic_id), PartitionIndex(data.partition_index));
                let partition = self.wanted.partitions.lock().all.get(&key).cloned();
                let told = self.session.told.get(&key).filter(|(_, told_in)| *told_in <= request);
                let (Some(partition), Some((asked, _))) = (partition, told.copied()) else {
                    continue;
                };
                let answer = match understood(data) {
                    Ok(answer) => answer,
                    Err(code) => {
                        self.rest(key, &partition, &format!("error {code}"));
                        continue;
                    }
                };
                // Only what cuts is taken in twice, and that is small.
                let again = if let Answer::Records { .. } = answer { None } else { Some(answer.clone()) };
                match self.take_in(key, &partition, asked, answer) {
                    Some(Taken::FlushFirst) => to_flush.push_back((key, partition)),
                    Some(Taken::CheckpointFirst) => to_cut.extend(again.map(|a| (key, partition, asked, a))),
                    _ => {}
                }
            }
        }
        for (key, partition) in to_flush {
            match tokio::task::block_in_place(|| partition.flush_all()) {
                Ok(()) => self.next(key),
                Err(error) => self.rest(key, &partition, &error.to_string()),
            }
        }
        if to_cut.is_empty() {
            return Ok(());
        }
        tokio::task::block_in_place(|| self.store.write_checkpoints()).map_err(|error| error.to_string())?;
        for (key, partition, asked, answer) in to_cut {
            self.take_in(key, &partition, asked, answer);
        }
        Ok(())
    }

    /// Takes one partition's answer in, and has it asked for again.
    fn take_in(
        &mut self,
        key: Key,
        partition: &Arc<LocalPartition>,
        asked: Position,
        answer: Answer,
    ) -> Option<Taken> {
        let leader = self.wanted.leader;
        let bytes = match &answer {
            Answer::Records { batches, .. } => batches.len(),
            _ => 0,
        };
        let taken = match &answer {
            // An append to the page cache, as a producer's: handing the worker over would cost more.
            Answer::Records { .. } => partition.take_answer(leader, asked, answer),
            _ => tokio::task::block_in_place(|| partition.take_answer(leader, asked, answer)),
        };
        match taken {
            Ok(taken) => {
                if matches!(taken, Taken::Done | Taken::Stale) {
                    match self.owes(key, bytes) {
                        Duration::ZERO => self.next(key),
                        pause => self.pause(key, pause),
                    }
                }
                Some(taken)
            }
            Err(error) => {
                if error.is_no_space() {
                    self.store.reports.leave(partition);
                }
                self.rest(key, partition, &error.to_string());
                None
            }
        }
    }

    /// The partition goes on with the next request.
    fn next(&mut self, key: Key) {
        self.resting.remove(&key);
        self.wanted.partitions.lock().dirty.insert(key);
    }

    /// How long what moves to this node has to wait for what has come.
    fn owes(&self, key: Key, bytes: usize) -> Duration {
        if bytes == 0 || !usage::comes_to(&self.image.load(), self.config.me, key) {
            return Duration::ZERO;
        }
        self.config.pace.take(u64::try_from(bytes).unwrap_or(u64::MAX), Instant::now().into_std())
    }

    /// The partition is left out for so long, though nothing is wrong with it.
    fn pause(&mut self, key: Key, pause: Duration) {
        self.resting.insert(key, Rest { until: Some(Instant::now() + pause), pause: Duration::ZERO });
        self.wanted.partitions.lock().dirty.insert(key);
    }

    /// The partition is left out for a while, longer each time, so that errors make no storm.
    fn rest(&mut self, key: Key, partition: &LocalPartition, reason: &str) {
        let pause =
            self.resting.get(&key).map_or(PAUSE_MIN, |rest| (rest.pause * 2).clamp(PAUSE_MIN, PAUSE_MAX));
        if pause == PAUSE_MAX {
            tracing::warn!(partition = %partition.name, leader = %self.wanted.leader, reason, "fetching goes on failing");
        } else {
            tracing::debug!(partition = %partition.name, leader = %self.wanted.leader, reason, "fetching failed");
        }
        self.resting.insert(key, Rest { until: Some(Instant::now() + pause), pause });
        self.wanted.partitions.lock().dirty.insert(key);
    }
}

/// What one partition's data say; an error code that a follower has no answer to, else.
fn understood(data: PartitionData) -> Result<Answer, i16> {
    match data.error_code {
        0 if data.diverging_epoch.epoch >= 0 => Ok(Answer::Diverging {
            epoch: LeaderEpoch(data.diverging_epoch.epoch),
            end: Offset(data.diverging_epoch.end_offset),
        }),
        0 => Ok(Answer::Records {
            batches: data.records.unwrap_or_default(),
            high_watermark: Offset(data.high_watermark),
            start: Offset(data.log_start_offset),
        }),
        code if code == ResponseError::OffsetOutOfRange.code() && data.log_start_offset >= 0 => {
            let before = Some(LeaderEpoch(data.diverging_epoch.epoch)).filter(|epoch| epoch.0 >= 0);
            let high_watermark = Offset(data.high_watermark);
            Ok(Answer::OutOfRange { start: Offset(data.log_start_offset), before, high_watermark })
        }
        code => Err(code),
    }
}

//! Fetches of followers: incremental sessions over many partitions (KIP-227), up to the log's end.

use std::{collections::HashSet, sync::Arc, time::Duration};

use domain::{LeaderEpoch, NodeEpoch, NodeId, Offset, PartitionIndex, TopicId};
use futures_util::FutureExt;
use replica::FollowerFetch;
use tokio::time::Instant;
use transport::{FileSlice, Reply, Response};
use wire::{
    FrameError, PLACEHOLDER_BYTES_MAX, RequestFrame, ResponseError,
    messages::{
        FetchRequest, FetchResponse,
        fetch_response::{EpochEndOffset, FetchableTopicResponse, PartitionData},
    },
    placeholder,
};

use crate::{
    api::wire_name,
    broker::Broker,
    errors::PartitionError,
    partition::LocalPartition,
    replication::{FollowerSession, Key, Slot},
    watchers::News,
};

/// The session epoch of a request that opens a session, and of one that ends it.
const OPENING: i32 = 0;
const FINAL: i32 = -1;

/// One request of a follower, from its arrival to its answer.
struct ReplicaFetch {
    broker: Arc<Broker>,
    session: Arc<FollowerSession>,
    epoch: i32,
    /// Slots that the request speaks of: they are looked at whether there is news or not.
    asked: Vec<u32>,
    min_bytes: usize,
    bytes_max: usize,
    wait: Duration,
    version: i16,
    correlation_id: i32,
}

/// What there is to tell.
#[derive(Default)]
struct Look {
    /// With their slots.
    partitions: Vec<(u32, Key, PartitionData)>,
    /// Slots in there without records: more may be told of them before the answer leaves.
    bare: HashSet<u32>,
    /// Slots in there with records.
    full: HashSet<u32>,
    files: Vec<FileSlice>,
    bytes: usize,
    /// Something that the follower must act on though there are no records.
    urgent: bool,
}

pub(crate) fn handle(
    broker: Arc<Broker>,
    frame: &RequestFrame,
    request: FetchRequest,
) -> Result<Reply, FrameError> {
    let (version, correlation_id) = (frame.version, frame.correlation_id);
    let node = NodeId(request.replica_state.replica_id.0);
    let refuse = |code: Option<ResponseError>| {
        let response = FetchResponse::default().with_error_code(code.map_or(0, |code| code.code()));
        Ok(Reply::Now(wire::encode_response(&response, version, correlation_id)?.into()))
    };
    // Only who the controller has registered counts as a follower; a newer registration than the metadata has here is on
    // its way.
    let node_epoch = NodeEpoch(request.replica_state.replica_epoch);
    match broker.image.load().nodes.get(&node).map(|n| n.epoch) {
        Some(known) if known == node_epoch => {}
        Some(known) if known > node_epoch => return refuse(Some(ResponseError::StaleBrokerEpoch)),
        _ => return refuse(Some(ResponseError::BrokerIdNotRegistered)),
    }
    let session = match request.session_epoch {
        OPENING => broker.sessions.open(node, node_epoch),
        FINAL => {
            broker.sessions.close(node, request.session_id);
            return refuse(None);
        }
        epoch => {
            let Some(session) = broker.sessions.get(node, request.session_id) else {
                return refuse(Some(ResponseError::FetchSessionIdNotFound));
            };
            let mut state = session.state.lock();
            if epoch != state.epoch.checked_add(1).unwrap_or(1) || session.node_epoch != node_epoch {
                return refuse(Some(ResponseError::InvalidFetchSessionEpoch));
            }
            state.epoch = epoch;
            drop(state);
            session
        }
    };
    // A request that still waits answers now: this one comes behind it.
    session.news.arrived.notify_one();
    let (asked, absent) = take_changes(&broker, &session, &request);
    let positive = |value: i32| usize::try_from(value).unwrap_or(0);
    let fetch = ReplicaFetch {
        session,
        epoch: request.session_epoch,
        asked,
        min_bytes: positive(request.min_bytes),
        bytes_max: positive(request.max_bytes),
        wait: Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)),
        version,
        correlation_id,
        broker,
    };
    let mut look = Look::default();
    absent.into_iter().for_each(|key| look.refuse_absent(&fetch.broker, key));
    fetch.look(&mut look, |_| fetch.asked.clone());
    fetch.look(&mut look, |news| news.take());
    match fetch.is_enough(&look) {
        true => Ok(Reply::Now(fetch.respond(look)?)),
        false => Ok(Reply::Later(fetch.wait(look).boxed())),
    }
}

/// Notes what the request says of its partitions; the slots that it speaks of, and what is not here.
fn take_changes(
    broker: &Broker,
    session: &Arc<FollowerSession>,
    request: &FetchRequest,
) -> (Vec<u32>, Vec<Key>) {
    let image = broker.image.load();
    let mut state = session.state.lock();
    for forgotten in &request.forgotten_topics_data {
        for partition in &forgotten.partitions {
            let key = (TopicId(forgotten.topic_id), PartitionIndex(*partition));
            state.forget(key, session.node, &session.news);
        }
    }
    let (mut asked, mut absent) = (Vec::new(), Vec::new());
    for topic in &request.topics {
        let name = image.topic_names.get(&TopicId(topic.topic_id));
        for partition in &topic.partitions {
            let key = (TopicId(topic.topic_id), PartitionIndex(partition.partition));
            let local = name.and_then(|name| broker.store.get(name.as_str(), key.1));
            let Some(local) = local.filter(|local| local.topic_id == key.0) else {
                state.forget(key, session.node, &session.news);
                absent.push(key);
                continue;
            };
            let (number, slot) = state.slot(key);
            slot.offset = Offset(partition.fetch_offset);
            slot.start = Offset(partition.log_start_offset);
            slot.leader_epoch = LeaderEpoch(partition.current_leader_epoch);
            slot.last_epoch = LeaderEpoch(partition.last_fetched_epoch);
            slot.bytes_max = partition.partition_max_bytes;
            local.subscribe(&session.news, number);
            slot.partition = Some(local);
            asked.push(number);
        }
    }
    (asked, absent)
}

impl Look {
    fn refuse_absent(&mut self, broker: &Broker, key: Key) {
        self.urgent = true;
        let known = broker.image.load().topic_by_id(key.0).is_some();
        let code = if known { ResponseError::NotLeaderOrFollower } else { ResponseError::UnknownTopicId };
        self.partitions.push((u32::MAX, key, refused(key, code)));
    }
}

/// What is said of a partition from which nothing can be fetched.
fn refused(key: Key, code: ResponseError) -> PartitionData {
    empty(key).with_error_code(code.code()).with_high_watermark(-1)
}

fn empty(key: Key) -> PartitionData {
    PartitionData::default().with_partition_index(key.1.0).with_records(Some(Default::default()))
}

impl ReplicaFetch {
    /// A session's first answer does not wait for news: until the follower has it, it cannot say what else it wants.
    fn is_enough(&self, look: &Look) -> bool {
        look.urgent
            || look.bytes >= self.min_bytes.max(1)
            || self.wait.is_zero()
            || self.epoch == OPENING
            || self.is_superseded()
    }

    /// The follower has sent its next request, or has begun anew.
    fn is_superseded(&self) -> bool {
        self.session.state.lock().epoch != self.epoch
    }

    async fn wait(self, mut look: Look) -> Result<Response, FrameError> {
        let deadline = Instant::now() + self.wait;
        while !self.is_enough(&look) {
            let woken = tokio::time::timeout_at(deadline, self.session.news.arrived.notified()).await;
            // What is new once the next request has come is for that one.
            if !self.look(&mut look, |news| news.take()) || woken.is_err() {
                break;
            }
        }
        self.respond(look)
    }

    /// Looks at some slots, and adds to the answer what the follower does not know yet. False, and nothing is looked at,
    /// when the session has gone on to another request: that is decided together with taking the news, or the news would
    /// go into an answer that the follower drops.
    fn look(&self, look: &mut Look, slots: impl FnOnce(&News) -> Vec<u32>) -> bool {
        let mut state = self.session.state.lock();
        if state.epoch != self.epoch {
            return false;
        }
        for number in slots(&self.session.news) {
            let Some(slot) = state.slots.get_mut(number as usize) else { continue };
            let Some(key) = slot.key else { continue };
            if look.full.contains(&number) {
                // What is newer comes with the next answer.
                self.session.news.mark(number, false);
                continue;
            }
            if look.bare.remove(&number) {
                look.partitions.retain(|(slot, ..)| *slot != number);
                slot.told = None;
            }
            if let Some(data) = self.look_at(look, number, slot, key) {
                let has_records = data.records.as_ref().is_some_and(|r| !r.is_empty());
                if has_records { &mut look.full } else { &mut look.bare }.insert(number);
                look.partitions.push((number, key, data));
            }
        }
        true
    }

    fn look_at(&self, look: &mut Look, number: u32, slot: &mut Slot, key: Key) -> Option<PartitionData> {
        let empty =
            PartitionData::default().with_partition_index(key.1.0).with_records(Some(Default::default()));
        let refuse = |code: ResponseError| empty.clone().with_error_code(code.code()).with_high_watermark(-1);
        let Some(partition) = slot.partition.clone() else {
            look.urgent = true;
            let known = self.broker.image.load().topic_by_id(key.0).is_some();
            let code = if known { ResponseError::NotLeaderOrFollower } else { ResponseError::UnknownTopicId };
            return Some(refuse(code));
        };
        let left = self.bytes_max.saturating_sub(look.bytes);
        let wanted = usize::try_from(slot.bytes_max).unwrap_or(0).min(left).min(PLACEHOLDER_BYTES_MAX);
        let fetch = FollowerFetch {
            node: self.session.node,
            node_epoch: self.session.node_epoch,
            leader_epoch: slot.leader_epoch,
            offset: slot.offset,
            start: slot.start,
        };
        let bytes_max = u32::try_from(wanted).unwrap_or(u32::MAX);
        match partition.fetch_as_follower(fetch, slot.last_epoch, &mut slot.began, bytes_max, look.bytes == 0)
        {
            Err(error) => {
                look.urgent = true;
                slot.told = None;
                log_read_failure(&partition, &error);
                let mut data = refused(key, error.code());
                if let PartitionError::FollowerOutOfRange { start, before, committed, .. } = error {
                    // The follower begins anew there, behind a record of that epoch.
                    let epoch = before.unwrap_or(LeaderEpoch::UNKNOWN).0;
                    let before = EpochEndOffset::default().with_epoch(epoch).with_end_offset(start.0);
                    data = data
                        .with_log_start_offset(start.0)
                        .with_diverging_epoch(before)
                        .with_high_watermark(committed.0);
                }
                Some(data)
            }
            Ok(fetched) => {
                if fetched.may_join {
                    self.broker.isr.consider(&partition);
                }
                if let Some((epoch, end)) = fetched.diverging {
                    look.urgent = true;
                    let diverging = EpochEndOffset::default().with_epoch(epoch.0).with_end_offset(end.0);
                    return Some(empty.with_high_watermark(-1).with_diverging_epoch(diverging));
                }
                let told = (fetched.high_watermark, fetched.start);
                let before = slot.told.replace(told);
                let news = before != Some(told);
                // Its consumers wait for the high watermark; and what was deleted is to be gone there, too.
                let deleted = before.is_some_and(|(_, start)| start < told.1);
                look.urgent |= deleted || (news && partition.is_read_elsewhere());
                let data = empty
                    .with_high_watermark(told.0.0)
                    .with_last_stable_offset(told.0.0)
                    .with_log_start_offset(told.1.0);
                match fetched.slice {
                    Some(slice) => {
                        let bytes = slice.bytes as usize;
                        look.bytes += bytes;
                        look.files.push(FileSlice { file: slice.file, position: slice.position, bytes });
                        Some(data.with_records(Some(placeholder(bytes))))
                    }
                    None => {
                        if wanted == 0 || left == 0 {
                            // No room in this answer: looked at again with the next request.
                            self.session.news.mark(number, true);
                        }
                        news.then_some(data)
                    }
                }
            }
        }
    }

    fn respond(&self, look: Look) -> Result<Response, FrameError> {
        self.broker.traffic.replicated_bytes.increment(look.bytes as u64);
        let image = self.broker.image.load();
        let mut topics: Vec<FetchableTopicResponse> = Vec::new();
        let mut files = Vec::with_capacity(look.files.len());
        let mut slices = look.files.into_iter();
        // Files follow the order of the answer's partitions.
        for (_, (topic, _), data) in look.partitions {
            if data.records.as_ref().is_some_and(|r| !r.is_empty()) {
                files.extend(slices.next());
            }
            match topics.last_mut().filter(|t| t.topic_id == topic.0) {
                Some(same) => same.partitions.push(data),
                None => {
                    let name = image.topic_names.get(&topic).map(wire_name).unwrap_or_default();
                    let answered = FetchableTopicResponse::default().with_topic(name).with_topic_id(topic.0);
                    topics.push(answered.with_partitions(vec![data]));
                }
            }
        }
        let response = FetchResponse::default().with_session_id(self.session.id).with_responses(topics);
        let encoded = wire::encode_response(&response, self.version, self.correlation_id)?;
        Ok(Response::new(encoded, files))
    }
}

fn log_read_failure(partition: &LocalPartition, error: &PartitionError) {
    if let PartitionError::Read(commitlog::ReadError::Log(error)) | PartitionError::Log(error) = error {
        tracing::error!(partition = %partition.name, %error, "read for a follower failed");
    }
}

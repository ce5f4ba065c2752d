use std::{sync::Arc, time::Duration};

use ::metadata::{Image, NodeState};
use domain::{NodeId, Offset, PartitionIndex, TopicId};
use futures_util::FutureExt;
use tokio::{sync::Notify, time::Instant};
use transport::{FileSlice, Reply, Response};
use wire::{
    FrameError, PLACEHOLDER_BYTES_MAX, RequestFrame, ResponseError,
    messages::{
        FetchRequest, FetchResponse,
        fetch_request::FetchPartition,
        fetch_response::{FetchableTopicResponse, PartitionData},
    },
    placeholder,
};

use crate::{
    api::{self, topic_of, wire_name},
    broker::Broker,
    errors::PartitionError,
    partition::LocalPartition,
};

/// Consumers say where they are from this version on.
const WITH_RACK: i16 = 11;
/// A fetch waits no longer than this, whatever it asks for.
const WAIT_MAX: Duration = Duration::from_secs(300);

/// An offset that the leader does not know (yet).
const UNKNOWN: i64 = -1;

/// One fetch, from its arrival to its answer.
struct Fetch {
    broker: Arc<Broker>,
    request: FetchRequest,
    version: i16,
    correlation_id: i32,
    waiter: Arc<Notify>,
}

/// What one look at all partitions came to.
struct Look {
    response: FetchResponse,
    files: Vec<FileSlice>,
    bytes: usize,
    /// Something that the client must act on at once.
    failed: bool,
    /// The partitions that were looked at, to be watched.
    partitions: Vec<Arc<LocalPartition>>,
}

pub(crate) fn handle(broker: Arc<Broker>, frame: &RequestFrame) -> Result<Reply, FrameError> {
    let request: FetchRequest = frame.decode_body()?;
    let (version, correlation_id) = (frame.version, frame.correlation_id);
    if request.replica_state.replica_id.0 >= 0 || request.replica_id.0 >= 0 {
        return api::replica_fetch::handle(broker, frame, request);
    }
    if request.session_id != 0 {
        // Only followers have sessions; a client without one sends every partition (KIP-227).
        let response = FetchResponse::default().with_error_code(ResponseError::FetchSessionIdNotFound.code());
        return Ok(Reply::Now(wire::encode_response(&response, version, correlation_id)?.into()));
    }
    let fetch = Fetch { broker, request, version, correlation_id, waiter: Arc::new(Notify::new()) };
    let look = fetch.look();
    match fetch.is_enough(&look) || fetch.request.max_wait_ms <= 0 {
        true => Ok(Reply::Now(fetch.respond(look)?)),
        false => Ok(Reply::Later(fetch.wait(look).boxed())),
    }
}

impl Fetch {
    fn is_enough(&self, look: &Look) -> bool {
        look.failed || look.bytes >= usize::try_from(self.request.min_bytes).unwrap_or(0)
    }

    /// Looks again whenever a partition changes, until there is enough or the time is up (KIP-74's long poll).
    async fn wait(self, mut look: Look) -> Result<Response, FrameError> {
        let wait = Duration::from_millis(u64::try_from(self.request.max_wait_ms).unwrap_or(0)).min(WAIT_MAX);
        let deadline = Instant::now() + wait;
        loop {
            look.partitions.iter().for_each(|p| p.watch(&self.waiter));
            // An append may have come between the last look and the watch.
            look = self.look();
            if self.is_enough(&look) {
                break;
            }
            let woken = tokio::time::timeout_at(deadline, self.waiter.notified()).await;
            look = self.look();
            if woken.is_err() || self.is_enough(&look) {
                break;
            }
        }
        self.respond(look)
    }

    fn look(&self) -> Look {
        let image = self.broker.image.load();
        let mut look = Look {
            response: FetchResponse::default(),
            files: Vec::new(),
            bytes: 0,
            failed: false,
            partitions: Vec::new(),
        };
        let bytes_max = usize::try_from(self.request.max_bytes).unwrap_or(0);
        for asked in &self.request.topics {
            let topic = topic_of(&image, &asked.topic, asked.topic_id);
            let name = topic.map_or_else(|| asked.topic.clone(), |t| wire_name(&t.name));
            let mut partitions = Vec::with_capacity(asked.partitions.len());
            for partition in &asked.partitions {
                let left = bytes_max.saturating_sub(look.bytes);
                let known = topic.is_some_and(|t| t.partition(PartitionIndex(partition.partition)).is_some());
                // The replicas may be those of a topic that this image does not have yet under the name.
                let meant = |id: TopicId| asked.topic_id.is_nil() || asked.topic_id == id.0;
                let data = match self.broker.store.get(&name, PartitionIndex(partition.partition)) {
                    Some(local) if known && meant(local.topic_id) => {
                        match self.closer(&local, partition, &image) {
                            Some(closer) => look.redirect(partition, closer),
                            None => look.take(local, partition, left, self.knows_racks()),
                        }
                    }
                    _ => look.refuse(partition, missing(known, asked.topic_id.is_nil())),
                };
                partitions.push(data);
            }
            let answered = FetchableTopicResponse::default()
                .with_topic(name)
                .with_topic_id(asked.topic_id)
                .with_partitions(partitions);
            look.response.responses.push(answered);
        }
        look
    }

    /// Whether the consumer says where it is. Only then does a follower serve it: anybody else came here by mistake, and
    /// is to learn who leads.
    fn knows_racks(&self) -> bool {
        self.version >= WITH_RACK && !self.request.rack_id.is_empty()
    }

    /// The in-sync follower in the consumer's own rack, if the leader is in another one (KIP-392).
    fn closer(&self, local: &LocalPartition, asked: &FetchPartition, image: &Image) -> Option<NodeId> {
        if !self.knows_racks() {
            return None;
        }
        let rack_of = |node: NodeId| image.nodes.get(&node).and_then(|n| n.rack.as_deref());
        let wanted = Some(self.request.rack_id.as_str());
        if rack_of(self.broker.node) == wanted {
            return None;
        }
        let active = |node: NodeId| image.nodes.get(&node).is_some_and(|n| n.state == NodeState::Active);
        local.closest(Offset(asked.fetch_offset), |node| rack_of(node) == wanted && active(node))
    }

    fn respond(&self, look: Look) -> Result<Response, FrameError> {
        self.broker.traffic.fetched_bytes.increment(look.bytes as u64);
        let encoded = wire::encode_response(&look.response, self.version, self.correlation_id)?;
        Ok(Response::new(encoded, look.files))
    }
}

fn missing(known: bool, by_name: bool) -> ResponseError {
    match (known, by_name) {
        (true, _) => ResponseError::NotLeaderOrFollower,
        (false, true) => ResponseError::UnknownTopicOrPartition,
        (false, false) => ResponseError::UnknownTopicId,
    }
}

impl Look {
    /// `left`: how many bytes the whole answer may still take. The first records of an answer are sent however
    /// large their batch is, or a consumer could be stuck before it (KIP-74).
    /// `from_any`: this node may serve it as a follower, too.
    fn take(
        &mut self,
        local: Arc<LocalPartition>,
        asked: &FetchPartition,
        left: usize,
        from_any: bool,
    ) -> PartitionData {
        let first = self.bytes == 0;
        let wanted =
            usize::try_from(asked.partition_max_bytes).unwrap_or(0).min(left).min(PLACEHOLDER_BYTES_MAX);
        let bytes_max = u32::try_from(wanted).unwrap_or(u32::MAX);
        let (bytes_max, at_least_one) = if wanted == 0 && !first { (0, false) } else { (bytes_max, first) };
        let (from, epoch) = (Offset(asked.fetch_offset), asked.current_leader_epoch);
        let fetched = local.fetch(from, epoch, from_any, bytes_max, at_least_one);
        let data = match fetched {
            Err(error) => {
                if let PartitionError::Read(commitlog::ReadError::Log(error)) | PartitionError::Log(error) =
                    &error
                {
                    tracing::error!(partition = %local.name, %error, "read failed");
                }
                self.refuse(asked, error.code())
            }
            Ok(fetched) => {
                let high_watermark = fetched.high_watermark.map_or(UNKNOWN, |h| h.0);
                let data = PartitionData::default()
                    .with_partition_index(asked.partition)
                    .with_high_watermark(high_watermark)
                    .with_last_stable_offset(high_watermark)
                    .with_log_start_offset(fetched.start.0);
                match fetched.slice {
                    None => data.with_records(Some(Default::default())),
                    Some(slice) => {
                        let bytes = slice.bytes as usize;
                        self.bytes += bytes;
                        self.files.push(FileSlice { file: slice.file, position: slice.position, bytes });
                        data.with_records(Some(placeholder(bytes)))
                    }
                }
            }
        };
        self.partitions.push(local);
        data
    }

    /// No records: the consumer is to read from another replica.
    fn redirect(&mut self, asked: &FetchPartition, closer: NodeId) -> PartitionData {
        self.failed = true;
        PartitionData::default()
            .with_partition_index(asked.partition)
            .with_high_watermark(UNKNOWN)
            .with_preferred_read_replica(closer.0.into())
            .with_records(Some(Default::default()))
    }

    fn refuse(&mut self, asked: &FetchPartition, code: ResponseError) -> PartitionData {
        self.failed = true;
        PartitionData::default()
            .with_partition_index(asked.partition)
            .with_error_code(code.code())
            .with_high_watermark(-1)
            // librdkafka takes no null here.
            .with_records(Some(Default::default()))
    }
}

//! Produce: split by leader, one ordered pipeline a leader, never sent again by us.

mod lane;
mod order;
mod part;

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
    time::Duration,
};

use ::metadata::{Image, Topic};
use domain::PartitionIndex;
use futures_util::{FutureExt, future::join_all};
use parking_lot::Mutex;
use tokio::time::Instant;
use transport::{Reply, Response};
use wire::{
    FrameError, RequestFrame, ResponseError, StrBytes,
    messages::{
        ProduceRequest, ProduceResponse,
        produce_request::PartitionProduceData,
        produce_response::{PartitionProduceResponse, TopicProduceResponse},
    },
};

use self::{lane::Lanes, order::Order, part::Part};
use super::{front::Front, reply::encoded, text, to_who_named, topic_of, unknown, way};
use crate::routing::Target;

/// What a connection has of producing: pipelines to leaders, and what must not overtake what.
#[derive(Default)]
pub(super) struct Producing {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    lanes: Lanes,
    order: Order,
}

/// However long a producer is willing to wait.
const WAIT_MAX: Duration = Duration::from_secs(300);
/// A leader that takes the whole time is waited for this much longer.
const SLACK: Duration = Duration::from_millis(500);

/// Where in the answer a partition stands.
type Place = (usize, usize);

/// Takes the request apart and hands each leader its part, in this very call: the order of requests is the order of parts.
pub(super) fn handle(
    front: &Arc<Front>,
    producing: &Arc<Producing>,
    frame: &RequestFrame,
) -> Result<Reply, FrameError> {
    let request: ProduceRequest = frame.decode_body()?;
    front.traffic.produced_bytes.increment(frame.body.len() as u64);
    let acks = request.acks;
    let patience = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0)).min(WAIT_MAX);
    let client_id = frame.client_id.clone().unwrap_or_default();
    let (mut response, parts) = producing.begin(front, &client_id, request);
    let (front, producing) = (front.clone(), producing.clone());
    let (version, id) = (frame.version, frame.correlation_id);
    let deadline = Instant::now() + patience + SLACK;
    let answer = async move {
        let settled = join_all(parts.into_iter().map(|part| part.settle(&front, &producing, deadline))).await;
        for ((topic, partition), answer) in settled.into_iter().flatten() {
            let topic = &mut response.responses[topic];
            let error_code = to_who_named(topic.topic_id, answer.error_code);
            topic.partition_responses[partition] = answer.with_error_code(error_code);
        }
        if acks == 0 {
            return Ok(if has_failed(&response) { Response::close() } else { Response::nothing() });
        }
        encoded(&response, version, id)
    };
    Ok(Reply::Later(answer.boxed()))
}

fn has_failed(response: &ProduceResponse) -> bool {
    response.responses.iter().flat_map(|t| &t.partition_responses).any(|p| p.error_code != 0)
}

impl Producing {
    /// Sends the parts on their way. The answer has a place for every partition, with the refusals that are certain now.
    fn begin(
        &self,
        front: &Front,
        client_id: &StrBytes,
        request: ProduceRequest,
    ) -> (ProduceResponse, Vec<Part>) {
        let image = front.backend.image.load();
        let state = &mut *self.state.lock();
        let mut parts: BTreeMap<String, Part> = BTreeMap::new();
        let mut responses = Vec::with_capacity(request.topic_data.len());
        for (topic_place, topic) in request.topic_data.into_iter().enumerate() {
            let known = topic_of(&image, &topic.name, topic.topic_id);
            let mut partitions = Vec::with_capacity(topic.partition_data.len());
            for (place, data) in topic.partition_data.into_iter().enumerate() {
                let index = data.index;
                let admitted = match known {
                    None => Err(unknown(topic.topic_id)),
                    Some(known) => state.admit(&image, known, &data, &mut parts, client_id),
                };
                partitions.push(match admitted {
                    Ok((target, part)) => {
                        part.add((topic_place, place), target, data);
                        PartitionProduceResponse::default().with_index(index)
                    }
                    Err(code) => refusal(index, code, "not sent"),
                });
            }
            responses.push(
                TopicProduceResponse::default()
                    .with_name(topic.name)
                    .with_topic_id(topic.topic_id)
                    .with_partition_responses(partitions),
            );
        }
        let mut parts: Vec<Part> = parts.into_values().filter(|part| !part.is_empty()).collect();
        for part in &mut parts {
            part.begin(request.acks, request.timeout_ms, &request.transactional_id);
        }
        (ProduceResponse::default().with_responses(responses), parts)
    }
}

impl State {
    /// Whether the batch may go now; with which leader's part it goes.
    fn admit<'a>(
        &mut self,
        image: &Image,
        topic: &Topic,
        data: &PartitionProduceData,
        parts: &'a mut BTreeMap<String, Part>,
        client_id: &StrBytes,
    ) -> Result<(Target, &'a mut Part), ResponseError> {
        let batch = data.records.as_deref().unwrap_or_default();
        let (target, route) = match way(image, topic, data.index) {
            Ok(way) => way,
            Err(code) => {
                let target = Target { topic: topic.id, partition: PartitionIndex(data.index) };
                if code == ResponseError::NotLeaderOrFollower {
                    self.order.refuse(target, batch);
                }
                return Err(code);
            }
        };
        // One lane for all of a part, even if it ends in this very moment.
        let part = match parts.entry(route.address.clone()) {
            Entry::Occupied(part) => part.into_mut(),
            Entry::Vacant(place) => {
                let lane = self.lanes.to(&route.address, client_id);
                place.insert(Part::new(route, lane))
            }
        };
        self.order.enter(target, batch, part.lane.id)?;
        Ok((target, part))
    }
}

fn refusal(index: i32, code: ResponseError, message: &str) -> PartitionProduceResponse {
    PartitionProduceResponse::default()
        .with_index(index)
        .with_error_code(code.code())
        .with_base_offset(-1)
        .with_error_message(Some(text(message)))
}

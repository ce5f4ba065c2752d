use bytes::Bytes;
use tokio::{
    sync::oneshot,
    time::{Duration, Instant},
};
use transport::CallError;
use wire::{
    BrokerId, ResponseError,
    messages::{
        ProduceRequest, ProduceResponse, TransactionalId,
        produce_request::{PartitionProduceData, TopicProduceData},
        produce_response::PartitionProduceResponse,
    },
};

use super::{
    Place, Producing,
    lane::{Begun, Lane},
    order::{Head, head},
    refusal,
};
use crate::{
    kafka::{VIRTUAL, front::Front},
    routing::{Route, Target, route},
};

/// What one leader gets of a request.
pub(super) struct Part {
    route: Route,
    pub(super) lane: Lane,
    entries: Vec<Entry>,
    topics: Vec<TopicProduceData>,
    slices: Vec<Bytes>,
    begun: Option<oneshot::Receiver<Begun>>,
}

struct Entry {
    place: Place,
    target: Target,
    /// Of the topic's entry in the part, and of the partition's in that.
    within: Place,
    index: i32,
    head: Head,
}

/// A leader that was replaced may still have its answer on its way.
const GRACE: Duration = Duration::from_millis(500);

impl Part {
    pub(super) fn new(route: Route, lane: Lane) -> Self {
        Self { route, lane, entries: Vec::new(), topics: Vec::new(), slices: Vec::new(), begun: None }
    }

    /// Whether all that would have gone to this leader was refused.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn add(&mut self, place: Place, target: Target, data: PartitionProduceData) {
        let records = data.records.unwrap_or_default();
        let head = head(&records);
        let is_last = self.topics.last().is_some_and(|last| last.topic_id == target.topic.0);
        if !is_last {
            self.topics.push(TopicProduceData::default().with_topic_id(target.topic.0));
        }
        let topic_place = self.topics.len() - 1;
        let partitions = &mut self.topics[topic_place].partition_data;
        let within = (topic_place, partitions.len());
        let records = wire::cut_out(records, &mut self.slices);
        let data = PartitionProduceData::default().with_index(data.index).with_records(Some(records));
        self.entries.push(Entry { place, target, within, index: data.index, head });
        partitions.push(data);
    }

    /// Puts the part on its lane. A client that wants no answer has us want one: its connection ends when something failed.
    pub(super) fn begin(&mut self, acks: i16, timeout_ms: i32, transactional_id: &Option<TransactionalId>) {
        let request = ProduceRequest::default()
            .with_acks(if acks == 0 { 1 } else { acks })
            .with_timeout_ms(timeout_ms)
            .with_transactional_id(transactional_id.clone())
            .with_topic_data(std::mem::take(&mut self.topics));
        let slices = std::mem::take(&mut self.slices);
        self.begun = Some(self.lane.send(request, slices));
    }

    /// Waits for the leader's answer; each partition's, with its place. What fails is remembered before anybody hears of it.
    pub(super) async fn settle(
        mut self,
        front: &Front,
        producing: &Producing,
        deadline: Instant,
    ) -> Vec<(Place, PartitionProduceResponse)> {
        let begun = self.begun.take();
        let answer = tokio::select! {
            biased;
            answer = answer(begun, &self.route, deadline) => answer,
            () = self.replaced(front) => Err(CallError::Lost {
                address: self.route.address.clone(),
                reason: "another node leads".to_owned(),
            }),
        };
        let answers: Vec<_> = match answer {
            Ok(response) => self.entries.iter().map(|entry| (entry.place, found(&response, entry))).collect(),
            Err(error) => {
                tracing::debug!(%error, "a leader did not answer a produce request");
                let code = code_of(&error);
                let refused = |entry: &Entry| (entry.place, refusal(entry.index, code, &error.to_string()));
                self.entries.iter().map(refused).collect()
            }
        };
        let order = &mut producing.state.lock().order;
        for (entry, (_, answer)) in self.entries.iter().zip(&answers) {
            let failed = ResponseError::try_from_code(answer.error_code);
            order.leave(entry.target, &entry.head, failed.is_some_and(|code| code.is_retriable()));
        }
        answers
    }

    /// Waits until none of the partitions has this leader any more, and a little longer. A leader that is alive answers all
    /// by itself; one that is not would hold up its producers.
    async fn replaced(&self, front: &Front) {
        let is_elsewhere = |image: &metadata::Image, entry: &Entry| {
            route(image, entry.target).is_ok_and(|now| {
                now.address != self.route.address && now.leader_epoch > self.route.leader_epoch
            })
        };
        front
            .backend
            .image
            .wait_for(|image| self.entries.iter().all(|entry| is_elsewhere(image, entry)))
            .await;
        tokio::time::sleep(GRACE).await;
    }
}

async fn answer(
    begun: Option<oneshot::Receiver<Begun>>,
    route: &Route,
    deadline: Instant,
) -> Result<ProduceResponse, CallError> {
    let not_sent =
        |reason: &str| CallError::NotSent { address: route.address.clone(), reason: reason.to_owned() };
    let begun = begun.ok_or_else(|| not_sent("nobody sent it"))?;
    match tokio::time::timeout_at(deadline, begun).await {
        Ok(Ok(pending)) => pending?.answer(deadline).await,
        Ok(Err(_)) => Err(not_sent("the connection ended")),
        Err(_) => Err(not_sent("no connection in time")),
    }
}

/// What is certain not to have been sent may be sent again by anybody; of the rest only the client knows whether it may.
fn code_of(error: &CallError) -> ResponseError {
    match error {
        CallError::NotSent { .. } => ResponseError::NotLeaderOrFollower,
        CallError::Lost { .. } => ResponseError::RequestTimedOut,
        CallError::Unsupported { .. } => ResponseError::UnsupportedVersion,
        CallError::Broken(_) => ResponseError::UnknownServerError,
    }
}

/// The leader's answer for the partition: in the same place, unless a node answers in an order of its own.
fn found(response: &ProduceResponse, entry: &Entry) -> PartitionProduceResponse {
    let (topic, partition) = entry.within;
    let same = |p: &&PartitionProduceResponse| p.index == entry.index;
    let there = response.responses.get(topic).map(|t| &t.partition_responses);
    let answer = there.and_then(|partitions| {
        partitions.get(partition).filter(same).or_else(|| partitions.iter().find(same))
    });
    let Some(answer) = answer else {
        return refusal(
            entry.index,
            ResponseError::RequestTimedOut,
            "the leader's answer lacks the partition",
        );
    };
    let mut answer = answer.clone();
    if answer.current_leader.leader_id != BrokerId(-1) {
        answer.current_leader.leader_id = VIRTUAL;
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_not_sent_is_a_definite_failure() {
        let (address, reason) = ("a:1".to_owned(), "reset".to_owned());
        let lost = CallError::Lost { address: address.clone(), reason: reason.clone() };
        assert_eq!(code_of(&lost), ResponseError::RequestTimedOut);
        assert_eq!(code_of(&CallError::NotSent { address, reason }), ResponseError::NotLeaderOrFollower);
    }
}

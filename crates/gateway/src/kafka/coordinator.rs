use std::{sync::Arc, time::Duration};

use ::metadata::Image;
use bytes::Bytes;
use domain::PartitionIndex;
use futures_util::FutureExt;
use group::{OFFSETS_TOPIC, partition_of};
use tokio::time::timeout;
use transport::{CallError, Reply, Response};
use wire::{FrameError, Request, RequestFrame, ResponseError};

use super::{backend::Backend, front::Front, reply::encoded, text};
use crate::routing::{Route, Target, moved, route};

/// A request about one group.
pub(super) trait GroupRequest: Request + Send + Sync + 'static {
    fn group(&self) -> &str;

    /// For how long the coordinator may have it wait for other members.
    fn waits(&self) -> Duration {
        Duration::ZERO
    }

    /// The answer while the coordinator is not there, in every place that has an error.
    fn refused(&self, code: ResponseError, version: i16) -> Self::Response;
}

/// A coordinator that was replaced may still have its answer on its way.
const GRACE: Duration = Duration::from_millis(500);
/// How long a coordinator's successor is waited for, when a request did not leave.
const SUCCESSOR_MAX: Duration = Duration::from_secs(1);

/// Where a group lives: the leader of its partition of the internal topic.
pub(crate) fn seat(image: &Image, group: &str) -> Option<(Target, Route)> {
    let target = home(image, group)?;
    Some((target, route(image, target).ok()?))
}

/// That partition, whoever leads it.
pub(crate) fn home(image: &Image, group: &str) -> Option<Target> {
    let topic = image.topics.get(OFFSETS_TOPIC)?;
    let partitions = i32::try_from(topic.partitions.len()).ok().filter(|count| *count > 0)?;
    Some(Target { topic: topic.id, partition: PartitionIndex(partition_of(group, partitions)) })
}

/// Hands the request to the group's coordinator as it came, and its answer back.
pub(super) fn handle<R: GroupRequest>(
    front: &Arc<Front>,
    mut frame: RequestFrame,
) -> Result<Reply, FrameError> {
    // A join waits for minutes: it is not to keep the buffer that it came in.
    frame.body = Bytes::copy_from_slice(&frame.body);
    frame.client_id = frame.client_id.map(|id| text(id.as_str()));
    let (front, request) = (front.clone(), frame.decode_body::<R>()?);
    let answer = async move {
        match ask(&front, &request, &frame).await {
            Ok(answer) => Ok(Response::forwarded(answer, frame.correlation_id)),
            Err(code) => encoded(&request.refused(code, frame.version), frame.version, frame.correlation_id),
        }
    };
    Ok(Reply::Later(answer.boxed()))
}

async fn ask<R: GroupRequest>(
    front: &Front,
    request: &R,
    frame: &RequestFrame,
) -> Result<Bytes, ResponseError> {
    let group = request.group();
    let seat_now = || seat(&front.backend.image.load(), group).ok_or(ResponseError::CoordinatorNotAvailable);
    let (target, first) = seat_now()?;
    match ask_at(front, request, frame, target, &first).await {
        Err(Unanswered::NotSent) => {}
        answer => return answer.map_err(Unanswered::code),
    }
    // It never left, so it may leave again: a client need not hear of every coordinator that dies.
    let _ = timeout(SUCCESSOR_MAX, moved(&front.backend.image, target, &first)).await;
    let (target, second) = seat_now()?;
    if second == first {
        return Err(ResponseError::CoordinatorNotAvailable);
    }
    ask_at(front, request, frame, target, &second).await.map_err(Unanswered::code)
}

enum Unanswered {
    NotSent,
    /// It may have arrived; the client finds out by asking again.
    Lost,
    Replaced,
    Unsupported,
}

impl Unanswered {
    fn code(self) -> ResponseError {
        match self {
            Unanswered::NotSent | Unanswered::Lost => ResponseError::CoordinatorNotAvailable,
            Unanswered::Replaced => ResponseError::NotCoordinator,
            Unanswered::Unsupported => ResponseError::UnsupportedVersion,
        }
    }
}

async fn ask_at<R: GroupRequest>(
    front: &Front,
    request: &R,
    frame: &RequestFrame,
    target: Target,
    route: &Route,
) -> Result<Bytes, Unanswered> {
    let waits = request.waits();
    let answer = tokio::select! {
        biased;
        answer = front.backend.upstream.forward(request.group(), &route.address, frame, waits) => answer,
        () = replaced(&front.backend, target, route) => return Err(Unanswered::Replaced),
        // The client finds another gateway.
        () = front.backend.stopping.cancelled(), if !waits.is_zero() => return Err(Unanswered::Lost),
    };
    answer.map_err(|error| {
        tracing::debug!(%error, "a coordinator did not answer");
        match error {
            CallError::NotSent { .. } => Unanswered::NotSent,
            CallError::Unsupported { .. } => Unanswered::Unsupported,
            CallError::Lost { .. } | CallError::Broken(_) => Unanswered::Lost,
        }
    })
}

/// Resolves once somebody else coordinates, and an answer that was on its way has had its time.
pub(super) async fn replaced(backend: &Backend, target: Target, route: &Route) {
    moved(&backend.image, target, route).await;
    tokio::time::sleep(GRACE).await;
}

#[cfg(test)]
mod tests {
    use ::metadata::Topic;
    use domain::TopicName;

    use super::*;
    use crate::fixture;

    #[test]
    fn a_group_lives_with_the_leader_of_its_partition() {
        let mut image = fixture::image();
        assert_eq!(seat(&image, "g"), None, "nobody coordinates before the topic is there");
        let orders = image.topics.get("orders").unwrap().clone();
        let name = TopicName::new(OFFSETS_TOPIC).unwrap();
        image.topic_names.insert(orders.id, name.clone());
        image.topics.insert(name.clone(), Topic { name, ..Topic::clone(&orders) }.into());
        let (target, found) = seat(&image, "foo").unwrap();
        assert_eq!(target.partition, PartitionIndex(101_574 % 4));
        assert_eq!(Ok(found), route(&image, target));
    }
}

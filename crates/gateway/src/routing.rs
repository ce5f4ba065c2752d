//! Where a partition's leader is, and what to do while nobody knows.

use std::time::Duration;

use domain::{LeaderEpoch, PartitionIndex, TopicId};
use metadata::Image;
use rpc::WatchedImage;
use tokio::time::Instant;

/// A partition of one incarnation of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    pub(crate) topic: TopicId,
    pub(crate) partition: PartitionIndex,
}

/// Who led a partition when somebody looked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    /// `host:port` of the leader.
    pub(crate) address: String,
    pub(crate) leader_epoch: LeaderEpoch,
}

/// Why there is no way to a partition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RouteError {
    #[error("the topic does not exist any more")]
    UnknownTopic,
    #[error("the topic has no partition {0}")]
    UnknownPartition(PartitionIndex),
    #[error("the partition has no leader now")]
    NoLeader,
}

/// The way to the partition's leader, as the image has it.
pub(crate) fn route(image: &Image, target: Target) -> Result<Route, RouteError> {
    let topic = image.topic_by_id(target.topic).ok_or(RouteError::UnknownTopic)?;
    let partition =
        topic.partition(target.partition).ok_or(RouteError::UnknownPartition(target.partition))?;
    let leader = partition.leader.and_then(|id| image.nodes.get(&id));
    let leader = leader.ok_or(RouteError::NoLeader)?;
    Ok(Route { address: leader.kafka.to_string(), leader_epoch: partition.leader_epoch })
}

/// Waits until somebody else leads than who was `asked`; forever, if nobody else ever does. That nobody leads is no reason
/// to give an attempt up: the one who was asked may still answer.
pub(crate) async fn moved(image: &WatchedImage, target: Target, asked: &Route) {
    image.wait_for(|image| is_elsewhere(route(image, target), asked)).await;
}

fn is_elsewhere(now: Result<Route, RouteError>, asked: &Route) -> bool {
    now.is_ok_and(|now| now.address != asked.address && now.leader_epoch > asked.leader_epoch)
}

/// Pauses between attempts: growing, and cut short when the metadata shows another way.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

/// The metadata may be here before the new leader has it: the first pauses are short, so that this costs next to nothing.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(500);

impl Backoff {
    pub(crate) fn new() -> Self {
        Self { next: PAUSE_MIN }
    }

    /// Waits until the way differs from `tried`, for at most one pause, and not past the deadline. A new way is a new
    /// beginning: the next pause is a short one.
    pub(crate) async fn wait(
        &mut self,
        image: &WatchedImage,
        target: Target,
        tried: &Result<Route, RouteError>,
        deadline: Instant,
    ) {
        let until = deadline.min(Instant::now() + self.next);
        let changed = image.wait_for(|image| route(image, target) != *tried);
        self.next = match tokio::time::timeout_at(until, changed).await {
            Ok(_) => PAUSE_MIN,
            Err(_) => (self.next * 2).min(PAUSE_MAX),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn the_way_leads_to_the_leader() {
        let image = fixture::image();
        let topic = image.topics.get("orders").unwrap().id;
        let at = |partition| route(&image, Target { topic, partition: PartitionIndex(partition) });
        assert_eq!(at(0).unwrap().address, "node-0.test:9092");
        assert_eq!(at(7), Err(RouteError::UnknownPartition(PartitionIndex(7))));
        let gone = Target { topic: TopicId(uuid::Uuid::nil()), partition: PartitionIndex(0) };
        assert_eq!(route(&image, gone), Err(RouteError::UnknownTopic));
    }

    #[test]
    fn an_attempt_is_given_up_only_for_another_leader_of_a_later_epoch() {
        let route =
            |address: &str, epoch| Route { address: address.to_owned(), leader_epoch: LeaderEpoch(epoch) };
        let asked = route("a", 4);
        assert!(is_elsewhere(Ok(route("b", 5)), &asked));
        assert!(!is_elsewhere(Ok(route("a", 5)), &asked), "it answers for itself");
        assert!(!is_elsewhere(Ok(route("b", 3)), &asked), "an image older than the one that was asked by");
        assert!(!is_elsewhere(Err(RouteError::NoLeader), &asked));
    }

    #[tokio::test(start_paused = true)]
    async fn without_news_the_pauses_grow_and_end_at_the_deadline() {
        let image = WatchedImage::fixed(fixture::image());
        let topic = image.load().topics.get("orders").unwrap().id;
        let target = Target { topic, partition: PartitionIndex(0) };
        let tried = route(&image.load(), target);
        let start = Instant::now();
        let mut backoff = Backoff::new();
        let mut waited = Vec::new();
        for _ in 0..6 {
            let deadline = start + Duration::from_millis(200);
            backoff.wait(&image, target, &tried, deadline).await;
            waited.push(start.elapsed().as_millis());
        }
        assert_eq!(waited, [10, 30, 70, 150, 200, 200]);
    }
}

use std::collections::HashMap;

use records::HEADER_BYTES;
use replica::Refused;
use wire::ResponseError;

use crate::routing::Target;

/// Which [`super::lane::Lane`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LaneId(pub(super) u64);

/// The beginning of a batch: all that is remembered of one that is under way.
pub(super) type Head = Vec<u8>;

/// What is under way to each partition on one connection, so that no batch of a producer overtakes one before it. A leader
/// sees to that for what comes to it on one lane; here it is about batches that went, or would go, different ways.
#[derive(Default)]
pub(super) struct Order {
    courses: HashMap<Target, Course>,
}

#[derive(Default)]
struct Course {
    lane: LaneId,
    under_way: usize,
    /// Batches that failed and will come again.
    refused: Refused<ResponseError>,
}

/// What a batch is told that must wait for another one: it was not sent.
const NOT_NOW: ResponseError = ResponseError::NotLeaderOrFollower;

pub(super) fn head(batch: &[u8]) -> Head {
    batch[..batch.len().min(HEADER_BYTES)].to_vec()
}

impl Order {
    /// Lets a batch go to a partition's leader on this lane, or says why not: one before it failed, or is on another lane and
    /// its outcome not known.
    pub(super) fn enter(&mut self, target: Target, batch: &[u8], lane: LaneId) -> Result<(), ResponseError> {
        let course = self.courses.entry(target).or_default();
        if let Some(reason) = course.refused.check(batch) {
            return Err(reason);
        }
        if course.under_way > 0 && course.lane != lane {
            course.refused.note(batch, NOT_NOW);
            return Err(NOT_NOW);
        }
        course.lane = lane;
        course.under_way += 1;
        Ok(())
    }

    /// A batch could not be let go: those behind it must not be, either.
    pub(super) fn refuse(&mut self, target: Target, batch: &[u8]) {
        self.courses.entry(target).or_default().refused.note(batch, NOT_NOW);
    }

    /// The outcome of a batch that entered.
    pub(super) fn leave(&mut self, target: Target, head: &Head, comes_again: bool) {
        let Some(course) = self.courses.get_mut(&target) else { return };
        course.under_way = course.under_way.saturating_sub(1);
        if comes_again {
            course.refused.note(head, NOT_NOW);
        }
        if course.under_way == 0 && course.refused.is_empty() {
            self.courses.remove(&target);
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::{PartitionIndex, ProducerEpoch, ProducerId, TopicId};
    use records::{BatchBuilder, Compression};

    use super::*;

    const HERE: LaneId = LaneId(1);
    const THERE: LaneId = LaneId(2);

    fn target() -> Target {
        Target { topic: TopicId(uuid::Uuid::nil()), partition: PartitionIndex(0) }
    }

    fn batch(sequence: i32) -> Vec<u8> {
        let mut builder = BatchBuilder::new(Compression::None);
        builder.producer(ProducerId(7), ProducerEpoch(0), sequence);
        builder.push(0, None, Some(b"x"), &[]);
        builder.build().to_vec()
    }

    fn left(order: &mut Order, sequence: i32, comes_again: bool) {
        order.leave(target(), &head(&batch(sequence)), comes_again);
    }

    #[test]
    fn behind_a_lost_batch_nothing_is_sent_until_it_comes_again() {
        let mut order = Order::default();
        assert_eq!(order.enter(target(), &batch(0), HERE), Ok(()));
        assert_eq!(order.enter(target(), &batch(1), HERE), Ok(()));
        left(&mut order, 0, true);
        left(&mut order, 1, true);
        // It would be taken by a new leader that does not know the producer yet.
        assert_eq!(order.enter(target(), &batch(2), THERE), Err(NOT_NOW));
        assert_eq!(order.enter(target(), &batch(0), THERE), Ok(()));
        assert_eq!(order.enter(target(), &batch(1), THERE), Ok(()));
        assert_eq!(order.enter(target(), &batch(2), THERE), Ok(()));
    }

    #[test]
    fn what_would_overtake_a_batch_on_another_lane_waits() {
        let mut order = Order::default();
        assert_eq!(order.enter(target(), &batch(0), HERE), Ok(()));
        assert_eq!(order.enter(target(), &batch(1), THERE), Err(NOT_NOW));
        left(&mut order, 0, false);
        assert_eq!(order.enter(target(), &batch(2), THERE), Err(NOT_NOW), "behind the one that waited");
        assert_eq!(order.enter(target(), &batch(1), THERE), Ok(()));
        left(&mut order, 1, false);
        assert!(order.courses.is_empty(), "nothing is kept of what went well");
    }

    #[test]
    fn a_refused_way_is_remembered() {
        let mut order = Order::default();
        order.refuse(target(), &batch(5));
        assert_eq!(order.enter(target(), &batch(6), HERE), Err(NOT_NOW));
        assert_eq!(order.enter(target(), &batch(5), HERE), Ok(()));
    }
}

use domain::PartitionIndex;

/// How much goes to one partition before the next one has its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StickyLimits {
    pub records_max: u32,
    pub bytes_max: usize,
}

impl Default for StickyLimits {
    /// Kafka's `batch.size`, and few enough records that small ones spread as well.
    fn default() -> Self {
        Self { records_max: 500, bytes_max: 16 << 10 }
    }
}

/// Chooses partitions for the records of one topic that have no key: one batch's worth to one partition, then the next
/// (KIP-480, with the byte limit of KIP-794 and round robin in the place of chance).
#[derive(Clone, Debug)]
pub struct StickyRoundRobin {
    limits: StickyLimits,
    /// The partition's number before it is folded into the number of partitions, which may change.
    turn: u32,
    records: u32,
    bytes: usize,
}

impl StickyRoundRobin {
    /// `start` says which partition is the first; callers that start at different ones even each other out.
    pub fn new(start: u32, limits: StickyLimits) -> Self {
        Self { limits, turn: start, records: 0, bytes: 0 }
    }

    /// The partition for a record of so many bytes, out of `partitions`, which is positive. Those that are not
    /// `available` are passed over, unless none is.
    pub fn next(
        &mut self,
        partitions: i32,
        bytes: usize,
        available: impl Fn(PartitionIndex) -> bool,
    ) -> PartitionIndex {
        let full = self.records >= self.limits.records_max
            || (self.records > 0 && self.bytes.saturating_add(bytes) > self.limits.bytes_max);
        if full {
            self.go_on();
        }
        let count = partitions.max(1);
        // At most one round: when nothing is available, the turn ends where it began.
        for _ in 0..count {
            if available(self.at(count)) {
                break;
            }
            self.go_on();
        }
        self.records += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        self.at(count)
    }

    fn at(&self, count: i32) -> PartitionIndex {
        PartitionIndex((self.turn % count.unsigned_abs()) as i32)
    }

    fn go_on(&mut self) {
        self.turn = self.turn.wrapping_add(1);
        (self.records, self.bytes) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: StickyLimits = StickyLimits { records_max: 3, bytes_max: 100 };

    fn chosen(sticky: &mut StickyRoundRobin, partitions: i32, bytes: &[usize]) -> Vec<i32> {
        bytes.iter().map(|b| sticky.next(partitions, *b, |_| true).0).collect()
    }

    #[test]
    fn a_partition_keeps_its_turn_for_a_batch_of_records() {
        let mut sticky = StickyRoundRobin::new(1, LIMITS);
        assert_eq!(chosen(&mut sticky, 2, &[1; 8]), [1, 1, 1, 0, 0, 0, 1, 1]);
    }

    #[test]
    fn a_partition_keeps_its_turn_for_a_batch_of_bytes() {
        let mut sticky = StickyRoundRobin::new(0, LIMITS);
        assert_eq!(chosen(&mut sticky, 3, &[60, 40, 1, 500, 500, 1]), [0, 0, 1, 2, 0, 1]);
    }

    #[test]
    fn partitions_without_a_leader_are_passed_over() {
        let mut sticky = StickyRoundRobin::new(0, LIMITS);
        let led = |p: PartitionIndex| p.0 == 2;
        assert_eq!(sticky.next(4, 1, led).0, 2);
        assert_eq!(sticky.next(4, 1, led).0, 2);
        assert_eq!(sticky.next(4, 1, |_| false).0, 2, "nobody leads: stay");
    }

    #[test]
    fn partitions_may_be_added_while_it_runs() {
        let mut sticky = StickyRoundRobin::new(u32::MAX, LIMITS);
        assert!(sticky.next(3, 1000, |_| true).0 < 3);
        assert_eq!(sticky.next(10, 1000, |_| true).0, 0, "the turn wraps");
        assert_eq!(sticky.next(1, 1, |_| true).0, 0);
    }
}

use domain::PartitionIndex;

use crate::{StickyRoundRobin, murmur2};

/// A record names a partition that its topic does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("partition {partition} does not exist, the topic has {partitions}")]
pub struct PartitionError {
    pub partition: PartitionIndex,
    pub partitions: i32,
}

/// The partition that Kafka's Java client puts a record with this key on: murmur2 without its sign bit, modulo.
/// `partitions` is positive.
pub fn partition_for_key(key: &[u8], partitions: i32) -> PartitionIndex {
    PartitionIndex((murmur2(key) & i32::MAX) % partitions.max(1))
}

/// Decides where a topic's records go: where they say, else by their key, else sticky round robin.
#[derive(Clone, Debug)]
pub struct Partitioner {
    sticky: StickyRoundRobin,
}

impl Partitioner {
    pub fn new(sticky: StickyRoundRobin) -> Self {
        Self { sticky }
    }

    /// The partition for a record of so many bytes. `available` says which partitions can take it now; it matters only
    /// to records that may go anywhere, because a key's partition must not depend on the moment.
    pub fn partition(
        &mut self,
        explicit: Option<PartitionIndex>,
        key: Option<&[u8]>,
        bytes: usize,
        partitions: i32,
        available: impl Fn(PartitionIndex) -> bool,
    ) -> Result<PartitionIndex, PartitionError> {
        match (explicit, key) {
            (Some(partition), _) if (0..partitions).contains(&partition.0) => Ok(partition),
            (Some(partition), _) => Err(PartitionError { partition, partitions }),
            (None, Some(key)) => Ok(partition_for_key(key, partitions)),
            (None, None) => Ok(self.sticky.next(partitions, bytes, available)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StickyLimits;

    fn partitioner() -> Partitioner {
        Partitioner::new(StickyRoundRobin::new(2, StickyLimits::default()))
    }

    #[test]
    fn a_named_partition_comes_before_the_key() {
        let chosen = partitioner().partition(Some(PartitionIndex(3)), Some(b"abc"), 1, 4, |_| false);
        assert_eq!(chosen, Ok(PartitionIndex(3)));
    }

    #[test]
    fn a_partition_that_is_not_there_is_refused_by_number() {
        let refused = |n| {
            partitioner().partition(Some(PartitionIndex(n)), None, 1, 4, |_| true).unwrap_err().to_string()
        };
        assert_eq!(refused(4), "partition 4 does not exist, the topic has 4");
        assert_eq!(refused(-1), "partition -1 does not exist, the topic has 4");
    }

    #[test]
    fn a_key_decides_whoever_leads() {
        // -790332482 & 0x7fffffff = 1357151166
        let chosen = partitioner().partition(None, Some(b"foobar"), 1, 10, |_| false);
        assert_eq!(chosen, Ok(PartitionIndex(6)));
        assert_eq!(partition_for_key(b"abc", 1000), PartitionIndex(107));
        assert_eq!(partition_for_key(b"", 1), PartitionIndex(0));
    }

    #[test]
    fn an_empty_key_is_a_key() {
        let mut partitioner = partitioner();
        let empty = partitioner.partition(None, Some(b""), 1, 1000, |_| true);
        assert_eq!(empty, Ok(partition_for_key(b"", 1000)));
        assert_eq!(partitioner.partition(None, None, 1, 1000, |_| true), Ok(PartitionIndex(2)));
    }
}

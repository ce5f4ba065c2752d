use bytes::Bytes;
use group::Entry;
use records::{BatchBuilder, Compression};

/// Beyond this size another batch is begun where that is allowed: no log takes batches of any size, and thousands of groups
/// may have something to write at the same time.
const BATCH_BYTES: usize = 1 << 20;

/// Puts records into batches. Those that a group wrote together stay together.
pub(super) struct Batches<'a> {
    records: &'a [Entry],
    wall_ms: i64,
}

impl<'a> Batches<'a> {
    pub(super) fn new(records: &'a [Entry], wall_ms: i64) -> Self {
        Self { records, wall_ms }
    }
}

impl Iterator for Batches<'_> {
    /// A batch, and how many records are in it.
    type Item = (usize, Bytes);

    fn next(&mut self) -> Option<Self::Item> {
        let mut batch = BatchBuilder::new(Compression::None);
        let mut count = 0_usize;
        for entry in self.records {
            let before = count.checked_sub(1).and_then(|last| self.records.get(last));
            if batch.encoded_bytes() >= BATCH_BYTES && before.is_some_and(|before| are_apart(before, entry)) {
                break;
            }
            let (key, value) = entry.encode();
            batch.push(self.wall_ms, Some(&key), value.as_deref(), &[]);
            count += 1;
        }
        self.records = &self.records[count..];
        (count > 0).then(|| (count, batch.build()))
    }
}

fn are_apart(before: &Entry, entry: &Entry) -> bool {
    // That an offset is forgotten needs no company.
    before.group() != entry.group() || matches!(entry, Entry::OffsetCommit { value: None, .. })
}

#[cfg(test)]
mod tests {
    use domain::PartitionIndex;
    use group::{CommittedOffset, Entry};

    use super::*;

    fn offset(group: usize, partition: i32, metadata: Option<usize>) -> Entry {
        let value = metadata.map(|bytes| CommittedOffset {
            offset: domain::Offset(1),
            leader_epoch: domain::LeaderEpoch(1),
            metadata: "m".repeat(bytes),
            committed_at_ms: 1,
            expires_at_ms: None,
            topic_id: None,
        });
        let (group, topic) = (format!("g{group:05}"), "t".to_owned());
        Entry::OffsetCommit { group, topic, partition: PartitionIndex(partition), value }
    }

    fn counts(records: &[Entry]) -> Vec<usize> {
        Batches::new(records, 0).map(|(count, _)| count).collect()
    }

    #[test]
    fn what_one_group_writes_together_is_in_one_batch() {
        let commits: Vec<Entry> = (0..200).map(|n| offset(0, n, Some(20_000))).collect();
        assert_eq!(counts(&commits), [200]);
        let of_two: Vec<Entry> = commits.into_iter().chain([offset(1, 0, Some(1))]).collect();
        assert_eq!(counts(&of_two), [200, 1]);
        assert!(counts(&[]).is_empty());
    }

    #[test]
    fn what_many_groups_write_at_the_same_time_is_never_too_large_for_the_log() {
        let forgotten: Vec<Entry> = (0..100_000).map(|n| offset(n / 1000, n as i32, None)).collect();
        let all: Vec<(usize, Bytes)> = Batches::new(&forgotten, 0).collect();
        assert_eq!(all.iter().map(|(count, _)| count).sum::<usize>(), forgotten.len());
        assert!(all.len() > 1 && all.iter().all(|(_, batch)| batch.len() < BATCH_BYTES + 1024));
    }
}

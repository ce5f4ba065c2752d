use std::collections::VecDeque;

use domain::{DirectoryId, LeaderEpoch, NodeEpoch, Offset, ProducerEpoch, ProducerId};
use records::{Attributes, BatchHeader};
use replica::{EpochCache, Producers};

use crate::random::Random;

/// A record batch, as far as replication can tell: its header and, for its bytes, a value that no other batch has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) base: Offset,
    pub(crate) count: i32,
    pub(crate) epoch: LeaderEpoch,
    pub(crate) producer: ProducerId,
    pub(crate) sequence: i32,
    pub(crate) value: u64,
}

impl Batch {
    /// The offset after its last record.
    pub(crate) fn end(&self) -> Offset {
        self.base.plus(i64::from(self.count))
    }

    pub(crate) fn header(&self) -> BatchHeader {
        BatchHeader {
            base_offset: self.base,
            batch_length: 100,
            leader_epoch: self.epoch,
            magic: 2,
            crc: self.value as u32,
            attributes: Attributes(0),
            last_offset_delta: self.count - 1,
            base_timestamp: 0,
            max_timestamp: 0,
            producer_id: self.producer,
            producer_epoch: ProducerEpoch(0),
            base_sequence: self.sequence,
            record_count: self.count,
        }
    }
}

/// One replica's log, with the two memories that follow from it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    start: Offset,
    /// The batch that was removed last, which ended at the start: what the checkers know the log's past by.
    removed: Option<Batch>,
    batches: VecDeque<Batch>,
    /// What lies below survives a power cut.
    synced: Offset,
    pub(crate) epochs: EpochCache,
    pub(crate) producers: Producers,
    /// The producers as of the log's start: what snapshots keep of batches that retention removed.
    before_start: Producers,
    /// Up to here the checkers found it equal to the ghost log.
    pub(crate) agreed: Offset,
}

impl Log {
    pub(crate) fn start(&self) -> Offset {
        self.start
    }

    pub(crate) fn removed(&self) -> Option<&Batch> {
        self.removed.as_ref()
    }

    pub(crate) fn end(&self) -> Offset {
        self.batches.back().map_or(self.start, Batch::end)
    }

    /// Whether every batch of the other log is in this one, and this one goes on behind it. Not if the other one led in a
    /// later epoch, without what lies behind.
    pub(crate) fn extends(&self, other: &Log) -> bool {
        if self.epochs.latest().map(|(epoch, _)| epoch) < other.epochs.latest().map(|(epoch, _)| epoch) {
            return false;
        }
        let holds = |batch: &Batch| self.batches.contains(batch);
        self.end() > other.end() && other.batches.iter().all(holds)
    }

    pub(crate) fn synced(&self) -> Offset {
        self.synced
    }

    /// An fdatasync that began when the log ended at `end` has returned.
    pub(crate) fn sync_to(&mut self, end: Offset) {
        self.synced = self.synced.max(end.min(self.end()));
    }

    pub(crate) fn sync(&mut self) {
        self.synced = self.end();
    }

    /// The batch that begins at or before `offset` and ends after it.
    pub(crate) fn at(&self, offset: Offset) -> Option<&Batch> {
        let next = self.batches.partition_point(|b| b.end() <= offset);
        self.batches.get(next).filter(|b| b.base <= offset)
    }

    /// Whole batches from `from`, up to `upper`, at most `most`.
    pub(crate) fn read(&self, from: Offset, upper: Offset, most: usize) -> Vec<Batch> {
        let first = self.batches.partition_point(|b| b.end() <= from);
        self.batches.iter().skip(first).take(most).take_while(|b| b.end() <= upper).copied().collect()
    }

    pub(crate) fn append(&mut self, batch: Batch, now_ms: i64) {
        self.epochs.assign(batch.epoch, batch.base);
        self.producers.record(&batch.header(), now_ms);
        self.batches.push_back(batch);
    }

    /// Cuts the log at `to`, the epochs also when no record is cut (KAFKA-10706). The batches that went.
    pub(crate) fn truncate(&mut self, to: Offset, now_ms: i64) -> Vec<Batch> {
        if to < self.start {
            let gone = self.batches.drain(..).collect();
            self.begin_anew_at(to, None);
            return gone;
        }
        let kept = self.batches.partition_point(|b| b.end() <= to);
        let gone: Vec<Batch> = self.batches.drain(kept..).collect();
        self.epochs.truncate_from_end(to);
        self.synced = self.synced.min(self.end());
        self.agreed = self.agreed.min(self.end());
        if !gone.is_empty() {
            self.rebuild_producers(now_ms);
        }
        gone
    }

    /// Forgets everything and goes on at `start`, as a follower does that lies below its leader's log.
    pub(crate) fn begin_anew_at(&mut self, start: Offset, before: Option<LeaderEpoch>) {
        let epochs = EpochCache::beginning_at(start, before);
        *self = Self { start, synced: start, agreed: start, epochs, ..Self::default() };
    }

    /// Removes what lies wholly below `to`.
    pub(crate) fn advance_start(&mut self, to: Offset, now_ms: i64) {
        while let Some(first) = self.batches.front().copied().filter(|b| b.end() <= to) {
            self.before_start.record(&first.header(), now_ms);
            self.batches.pop_front();
            (self.start, self.removed) = (first.end(), Some(first));
        }
        self.epochs.truncate_from_start(self.start);
        self.synced = self.synced.max(self.start);
        self.agreed = self.agreed.max(self.start);
    }

    fn rebuild_producers(&mut self, now_ms: i64) {
        self.producers = self.before_start.clone();
        for batch in &self.batches {
            self.producers.record(&batch.header(), now_ms);
        }
    }

    /// What a restart finds: memories are made again from the log. An epoch without records may be remembered or not.
    fn recover(&mut self, keep_empty_epoch: bool) {
        if !keep_empty_epoch {
            self.epochs.truncate_from_end(self.end());
        }
        self.rebuild_producers(0);
        self.agreed = self.start;
    }

    /// A random part of what was never synced is gone; the batches that went.
    fn power_cut(&mut self, random: &mut Random) -> Vec<Batch> {
        let safe = self.batches.partition_point(|b| b.end() <= self.synced);
        let kept = safe + random.index(self.batches.len() - safe + 1);
        let to = if kept == 0 { self.start } else { self.batches[kept - 1].end() };
        self.truncate(to, 0)
    }
}

/// What the folder remembers of its last incarnation (DESIGN §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Incarnation {
    pub(crate) directory: DirectoryId,
    pub(crate) node_epoch: NodeEpoch,
    pub(crate) boot: u64,
}

/// What a process finds when it opens the folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Proof {
    pub(crate) previous_epoch: Option<NodeEpoch>,
    pub(crate) intact: bool,
}

/// One node's data folder. The page cache belongs to it: what was written but not synced is told apart.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    pub(crate) directory: DirectoryId,
    pub(crate) incarnation: Option<Incarnation>,
    /// The clean-shutdown mark, with the node epoch that wrote it.
    pub(crate) clean: Option<NodeEpoch>,
    /// A partition's log, if the node has a replica of it.
    pub(crate) logs: Vec<Option<Log>>,
    /// The checkpointed high watermarks.
    pub(crate) high_watermarks: Vec<Offset>,
    /// How many final batches the last death left incomplete.
    pub(crate) torn: u32,
}

impl Disk {
    pub(crate) fn empty(directory: DirectoryId, partitions: usize) -> Self {
        Self {
            directory,
            incarnation: None,
            clean: None,
            logs: vec![None; partitions],
            high_watermarks: vec![Offset(0); partitions],
            torn: 0,
        }
    }

    /// A power cut: for each partition the batches that were lost. At least one tail may be torn besides.
    pub(crate) fn power_cut(&mut self, random: &mut Random) -> Vec<Vec<Batch>> {
        self.torn = random.below(3) as u32;
        let lost = |log: &mut Option<Log>| log.as_mut().map(|l| l.power_cut(random)).unwrap_or_default();
        self.logs.iter_mut().map(lost).collect()
    }

    /// Opens the folder in a process on a machine that booted as `boot`.
    pub(crate) fn open(&mut self, boot: u64, random: &mut Random) -> Proof {
        for log in self.logs.iter_mut().flatten() {
            log.recover(random.chance(500));
        }
        for (checkpoint, log) in self.high_watermarks.iter_mut().zip(&self.logs) {
            let (start, end) = log.as_ref().map_or((Offset(0), Offset(0)), |log| (log.start(), log.end()));
            *checkpoint = (*checkpoint).clamp(start, end);
        }
        let known = self.incarnation.filter(|i| i.directory == self.directory);
        let clean = known.is_some_and(|i| self.clean == Some(i.node_epoch));
        let same_boot = known.is_some_and(|i| i.boot == boot);
        let intact = (clean || same_boot) && self.torn <= 1;
        self.torn = 0;
        // The fsync at start.
        self.logs.iter_mut().flatten().for_each(Log::sync);
        Proof { previous_epoch: known.map(|i| i.node_epoch), intact }
    }
}

use std::collections::BTreeMap;

use domain::{LeaderEpoch, NodeEpoch, NodeId, Offset, PartitionEpoch, ProducerId};
use metadata::Partition;

use crate::disk::{Batch, Log};

/// What nobody in the cluster knows as a whole, and the checkers do: for each partition the log C of everything that was
/// ever committed, and who did what in which epoch.
#[derive(Debug, Default)]
pub(crate) struct Ghost {
    pub(crate) partitions: Vec<GhostPartition>,
    /// For each node: its disk lost something, or is another one, since it registered last.
    pub(crate) spoiled: Vec<bool>,
}

#[derive(Debug, Default)]
pub(crate) struct GhostPartition {
    committed: Vec<Batch>,
    /// The leader epochs in which they were.
    committed_in: Vec<LeaderEpoch>,
    /// What lies below was lost or removed with an excused loss: a leader's log began here.
    pub(crate) begins: Offset,
    /// An unclean or RECOVERING election whose leader has not begun yet.
    pub(crate) doubt: Option<Doubt>,
    /// The last of those that has begun: what leaders of earlier epochs do does not count any more.
    pub(crate) floor: LeaderEpoch,
    /// Where C ended after each of those elections that lost something.
    pub(crate) losses: Vec<Offset>,
    /// A disk lost records of the partition that may have been committed or may still be, or an old copy took its place.
    pub(crate) bereaved: bool,
    pub(crate) leaderships: BTreeMap<LeaderEpoch, Leadership>,
    /// The states that the controllers committed.
    pub(crate) states: BTreeMap<PartitionEpoch, Partition>,
    /// Where each batch of a producer was committed, and the sequence that comes after it.
    pub(crate) sequences: BTreeMap<(ProducerId, i32), (Offset, i32)>,
    /// Some replica began anew up to here, and with the records it forgot their producers.
    pub(crate) forgotten_below: Offset,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Doubt {
    pub(crate) epoch: LeaderEpoch,
    /// The topic or an operator allowed to lose records.
    pub(crate) unclean: bool,
}

/// What one leader did in one leader epoch.
#[derive(Debug)]
pub(crate) struct Leadership {
    pub(crate) node: usize,
    pub(crate) life: u64,
    pub(crate) start: Offset,
    /// What followers asked for last, in this epoch.
    pub(crate) fetches: BTreeMap<NodeId, (NodeEpoch, Offset)>,
    /// Everybody whom it proposed for the ISR, with the state that the proposal started from.
    pub(crate) proposed: Vec<(PartitionEpoch, NodeId)>,
}

impl Ghost {
    pub(crate) fn new(partitions: usize, nodes: usize) -> Self {
        Self {
            partitions: (0..partitions).map(|_| GhostPartition::default()).collect(),
            spoiled: vec![false; nodes],
        }
    }
}

impl GhostPartition {
    /// Where C ends.
    pub(crate) fn end(&self) -> Offset {
        self.committed.last().map_or(Offset(0), Batch::end).max(self.begins)
    }

    pub(crate) fn at(&self, offset: Offset) -> Option<&Batch> {
        let next = self.committed.partition_point(|b| b.end() <= offset);
        self.committed.get(next).filter(|b| b.base <= offset)
    }

    pub(crate) fn has(&self, batch: &Batch) -> bool {
        self.at(batch.base) == Some(batch)
    }

    /// Whether C has the batch, and had it by the end of that leader epoch.
    pub(crate) fn has_by(&self, batch: &Batch, epoch: LeaderEpoch) -> bool {
        let index = self.committed.partition_point(|b| b.end() <= batch.base);
        self.committed.get(index) == Some(batch) && self.committed_in[index] <= epoch
    }

    pub(crate) fn len(&self) -> usize {
        self.committed.len()
    }

    /// Of the batches that were committed.
    pub(crate) fn nth(&self, nth: usize) -> &Batch {
        &self.committed[nth]
    }

    pub(crate) fn push(&mut self, batch: Batch, epoch: LeaderEpoch) {
        self.committed_in.push(epoch);
        if batch.producer != ProducerId::NONE {
            let next = batch.sequence + batch.count;
            self.sequences.insert((batch.producer, batch.sequence), (batch.base, next));
        }
        self.committed.push(batch);
    }

    /// Whether what a leader of that epoch does counts: not after an unclean election has ended its history.
    pub(crate) fn counts(&self, epoch: LeaderEpoch) -> bool {
        epoch >= self.floor && self.doubt.is_none_or(|doubt| epoch >= doubt.epoch)
    }

    /// Whether no loss had to be excused so far, nor may one be under way.
    pub(crate) fn is_whole(&self) -> bool {
        self.floor == LeaderEpoch(0) && self.doubt.is_none()
    }

    /// Compares on from where the log was found equal to C, and says up to where it is.
    pub(crate) fn agreement(&self, log: &mut Log) -> Offset {
        let end = self.end();
        while log.agreed < end {
            match (log.at(log.agreed), self.at(log.agreed)) {
                (Some(theirs), Some(ours)) if theirs == ours => log.agreed = ours.end(),
                // A hole that an excused loss left.
                (_, None) if log.agreed < log.end() => {
                    let next = self.committed.partition_point(|b| b.base <= log.agreed);
                    log.agreed = self.committed.get(next).map_or(end, |b| b.base).min(log.end());
                }
                _ => break,
            }
        }
        log.agreed
    }

    /// Whether the log has a past in common with C. What lay below the start of either may have been another history's.
    pub(crate) fn is_past_of(&self, log: &Log, agreed: Offset) -> bool {
        let begins = self.committed.first().map_or(self.begins, |batch| batch.base);
        let both_begin = log.start().max(begins);
        both_begin == Offset(0) || agreed > both_begin || log.removed().is_some_and(|batch| self.has(batch))
    }

    /// Forgets what an unclean election lost: the new leader's log agrees up to `agreed`. How many batches went.
    pub(crate) fn cut(&mut self, log: &Log, agreed: Offset) -> usize {
        let (to, begins) = match self.is_past_of(log, agreed) {
            true => (agreed, self.begins.min(agreed)),
            false => (Offset(0), log.start()),
        };
        let kept = self.committed.partition_point(|b| b.end() <= to);
        self.begins = begins;
        self.losses.push(to);
        let gone = self.committed.split_off(kept);
        self.committed_in.truncate(kept);
        for batch in &gone {
            self.sequences.remove(&(batch.producer, batch.sequence));
        }
        gone.len()
    }
}

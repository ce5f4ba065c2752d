use bytes::Bytes;
use domain::{LeaderEpoch, NodeId, Offset};
use records::BatchHeader;

use crate::{
    clock::now_ms,
    errors::PartitionError,
    partition::{LocalPartition, State, flushes, log_end},
};

/// From where on a follower fetches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// The leader epoch that it believes in.
    pub(crate) leader_epoch: LeaderEpoch,
    /// Where its log ends.
    pub(crate) offset: Offset,
    /// The epoch of its last record; −1 without any.
    pub(crate) last_epoch: LeaderEpoch,
    /// Where its log starts.
    pub(crate) start: Offset,
}

/// What a leader answered about one partition.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// The logs agree up to where the follower asked.
    Records {
        batches: Bytes,
        high_watermark: Offset,
        start: Offset,
    },
    Diverging {
        epoch: LeaderEpoch,
        end: Offset,
    },
    /// The leader's log begins behind this follower's end, or cannot tell whether they agree, or tombstones are gone from it
    /// that this follower needs. `before` is the epoch of the
    /// record before its start, if it knows that.
    OutOfRange {
        start: Offset,
        before: Option<LeaderEpoch>,
        /// The leader's, or −1.
        high_watermark: Offset,
    },
}

/// What taking an answer in came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Records that must be on disk before the next fetch says that they are here.
    FlushFirst,
    /// The log is to be cut below its checkpointed recovery point. Once the checkpoints are written the same answer can be
    /// taken in; a crash in between must not find a log that is shorter than they say.
    CheckpointFirst,
    Done,
    /// This replica follows somebody else, or in another epoch, by now: the answer means nothing.
    Stale,
}

impl LocalPartition {
    /// From where on to fetch from `leader`; `None` if this node does not follow it, or has not synced what it must: what is
    /// asked for is what is on disk (R12).
    pub(crate) fn position(&self, leader: NodeId) -> Option<Position> {
        let state = self.state.lock();
        let (followed, leader_epoch) = state.replica.follows()?;
        let log = state.log.as_ref().filter(|_| followed == leader)?;
        let end = log_end(log);
        if end.counted < end.end {
            return None;
        }
        let last_epoch = log.epochs().latest().map_or(LeaderEpoch::UNKNOWN, |(epoch, _)| epoch);
        Some(Position { leader_epoch, offset: end.end, last_epoch, start: log.start_offset() })
    }

    /// Whom this node follows.
    pub(crate) fn follows(&self) -> Option<NodeId> {
        let state = self.state.lock();
        state.log.as_ref().and(state.replica.follows()).map(|(leader, _)| leader)
    }

    /// Takes in what `leader` answered to a fetch from `asked`. Blocks: it writes to the log.
    pub(crate) fn take_answer(
        &self,
        leader: NodeId,
        asked: Position,
        answer: Answer,
    ) -> Result<Taken, PartitionError> {
        let mut state = self.state.lock();
        let State { log, replica, checkpointed, to_be_cut, .. } = &mut *state;
        let log = log.as_mut().ok_or(PartitionError::Offline)?;
        let unchanged =
            replica.follows() == Some((leader, asked.leader_epoch)) && log.end_offset() == asked.offset;
        *to_be_cut = None;
        if !unchanged {
            return Ok(Taken::Stale);
        }
        match answer {
            Answer::Records { batches, high_watermark, start } => {
                if !batches.is_empty() {
                    no_later_epoch(&batches, asked.leader_epoch)?;
                    log.append_as_follower(&batches, now_ms())?;
                }
                if start > log.start_offset() {
                    log.follow_start(start, now_ms())?;
                }
                let end = log_end(log);
                let advanced = replica.answered(asked.leader_epoch, high_watermark, end);
                let flush_first = flushes(log) && end.counted < end.end;
                drop(state);
                if advanced {
                    // Consumers may read from a follower (KIP-392).
                    self.commits.wake();
                }
                Ok(if flush_first { Taken::FlushFirst } else { Taken::Done })
            }
            Answer::Diverging { epoch, end } => {
                let to = log.epochs().truncation((epoch, end), log.end_offset());
                if to < *checkpointed {
                    *to_be_cut = Some(to);
                    return Ok(Taken::CheckpointFirst);
                }
                let cut = log.end_offset().0 - to.0;
                let end = match log.truncate_to(to) {
                    Ok(end) => end,
                    Err(error) => {
                        // Half cut: what is in memory may not be what is on the disk.
                        drop(state);
                        self.give_up(&error);
                        return Err(error.into());
                    }
                };
                let lost = replica.truncated(end);
                tracing::info!(partition = %self.name, %end, cut, %epoch, "truncated to the leader's log");
                if lost {
                    self.committed_was_cut();
                }
                Ok(Taken::Done)
            }
            Answer::OutOfRange { start, before, high_watermark } => {
                let end = log.end_offset();
                if start < *checkpointed {
                    *to_be_cut = Some(start);
                    return Ok(Taken::CheckpointFirst);
                }
                tracing::warn!(partition = %self.name, %end, %start, "beginning anew at the leader's log start");
                if let Err(error) = log.begin_anew_at(start, before) {
                    drop(state);
                    // Room is needed for the file that comes first only.
                    if !error.is_no_space() {
                        self.give_up(&error);
                    }
                    return Err(error.into());
                }
                // What lay below the leader's start is not wanted any more; above, the leader's end would be behind, unless it
                // has all of that and more, and gives it again.
                if end > start && replica.truncated(start) && end > high_watermark {
                    self.committed_was_cut();
                }
                // What lies below a leader's start is committed.
                replica.answered(asked.leader_epoch, start, log_end(log));
                Ok(Taken::Done)
            }
        }
    }

    /// Only an unclean election makes that happen, and nobody may overlook it.
    fn committed_was_cut(&self) {
        metrics::counter!("anabranch_storage_committed_records_cut_total").increment(1);
        tracing::error!(partition = %self.name, "records below the high watermark were cut: an unclean election took place");
    }
}

/// A leader that is deposed cuts its log and writes it anew, perhaps while an answer of it is on its way: what a later
/// leader wrote must not be taken in behind what it never had.
fn no_later_epoch(batches: &[u8], asked: LeaderEpoch) -> Result<(), PartitionError> {
    let mut rest = batches;
    while let Some(header) = BatchHeader::parse(rest).ok().filter(|h| h.total_bytes() <= rest.len()) {
        if header.leader_epoch > asked {
            return Err(PartitionError::LaterEpoch { got: header.leader_epoch, asked });
        }
        rest = &rest[header.total_bytes()..];
    }
    Ok(())
}

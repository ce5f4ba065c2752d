mod leading;
mod tombstones;

use std::sync::{Arc, atomic::AtomicBool};

use commitlog::{Log, LogError, LogSlice};
use domain::{LeaderEpoch, Offset, TopicConfig, TopicId, TopicPartition};
use metadata::ReplicaReport;
use parking_lot::Mutex;
use replica::{Adopted, LogEnd, PartitionState, Refused, Replica};
use tokio::sync::Notify;

pub(crate) use self::{leading::Commit, tombstones::Began};

use crate::{
    clock::uptime_ms,
    errors::PartitionError,
    home::Home,
    scrub::Look,
    watchers::{News, Subscribers, Watchers},
};

/// More of a log's epochs do not help the controller: logs that differ before these are not of one cluster.
const REPORTED_EPOCHS_MAX: usize = 64;

/// A partition's replica on this node: its log, and what `replica` decides about it.
pub(crate) struct LocalPartition {
    pub(crate) name: TopicPartition,
    pub(crate) topic_id: TopicId,
    home: Arc<Home>,
    pub(crate) state: Mutex<State>,
    /// Held by the flush that is under way; those who wait for it find their records flushed, too.
    flushing: Mutex<()>,
    /// Consumers and producers, who wait for the high watermark.
    pub(crate) commits: Watchers,
    /// Followers, who wait for the log's end.
    pub(crate) followers: Subscribers,
    read_elsewhere: AtomicBool,
}

pub(crate) struct State {
    /// `None` once the partition was closed or dropped, or when it could not be opened.
    pub(crate) log: Option<Log>,
    pub(crate) replica: Replica,
    /// Recovery point and start of a log that is offline: they must stay in the checkpoints, or the next start would
    /// take damage for a torn tail and cut it.
    kept: Option<Points>,
    /// The greater of recovery point and high watermark as the checkpoints have them: the next start takes nothing below
    /// the one for torn, and everything below the other for committed.
    pub(crate) checkpointed: Offset,
    /// The high watermark as its checkpoint has it.
    pub(crate) committed_checkpointed: Offset,
    /// Where the log is about to be cut, below the checkpoint, which has to say so first.
    pub(crate) to_be_cut: Option<Offset>,
    /// Of this leadership.
    refused: Refused<wire::ResponseError>,
    /// When this node began to lead the last time, by its uptime.
    leads_since_ms: u64,
}

/// What a node's checkpoints say of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Points {
    /// Everything below was flushed.
    pub(crate) recovery: Offset,
    pub(crate) start: Offset,
    /// Everything below is committed.
    pub(crate) high_watermark: Offset,
    /// Compaction has seen everything below; 0 where it has seen nothing of what is there.
    pub(crate) clean: Offset,
}

/// A replica as the metrics count it.
pub(crate) struct Standing {
    pub(crate) offline: bool,
    pub(crate) leads: bool,
    /// It leads, and somebody is not in sync.
    pub(crate) under_replicated: bool,
    /// It leads, and acks=all is refused.
    pub(crate) under_min_isr: bool,
}

/// A partition as a consumer's fetch found it.
pub(crate) struct Fetched {
    pub(crate) slice: Option<LogSlice>,
    pub(crate) start: Offset,
    /// `None` while the leader does not know how far its predecessor's had come (KIP-207).
    pub(crate) high_watermark: Option<Offset>,
}

impl LocalPartition {
    pub(crate) fn new(home: Arc<Home>, name: TopicPartition, log: Log, high_watermark: Offset) -> Self {
        // What lies below the log's start is committed, and what a power cut took is not here.
        let known = high_watermark.max(log.start_offset()).min(log.end_offset());
        let replica = Replica::new(home.node, known);
        let (topic_id, checkpointed) = (log.topic_id(), log.recovery_point().max(known));
        let state = State {
            log: Some(log),
            replica,
            kept: None,
            checkpointed,
            committed_checkpointed: known,
            to_be_cut: None,
            refused: Refused::default(),
            leads_since_ms: 0,
        };
        Self::with_state(home, name, topic_id, state)
    }

    /// A partition whose log cannot be opened: it is known, and every request for it is refused. Its files stay.
    pub(crate) fn offline(
        home: Arc<Home>,
        name: TopicPartition,
        topic_id: TopicId,
        recovery_point: Offset,
        start: Offset,
    ) -> Self {
        let replica = Replica::new(home.node, Offset(0));
        let kept =
            Some(Points { recovery: recovery_point, start, high_watermark: Offset(0), clean: Offset(0) });
        let state = State {
            log: None,
            replica,
            kept,
            checkpointed: recovery_point,
            committed_checkpointed: Offset(0),
            to_be_cut: None,
            refused: Refused::default(),
            leads_since_ms: 0,
        };
        Self::with_state(home, name, topic_id, state)
    }

    fn with_state(home: Arc<Home>, name: TopicPartition, topic_id: TopicId, state: State) -> Self {
        Self {
            home,
            name,
            topic_id,
            state: Mutex::new(state),
            flushing: Mutex::new(()),
            commits: Watchers::default(),
            followers: Subscribers::default(),
            read_elsewhere: AtomicBool::new(false),
        }
    }

    /// What the checkpoints are to say; `None` once the partition was closed.
    pub(crate) fn points(&self) -> Option<Points> {
        let state = self.state.lock();
        let cut = state.to_be_cut.unwrap_or(Offset(i64::MAX));
        let of_log = |log: &Log| Points {
            recovery: log.recovery_point().min(cut),
            start: log.start_offset(),
            high_watermark: state.replica.high_watermark().min(cut),
            clean: Some(log.first_dirty().min(cut)).filter(|n| *n > log.start_offset()).unwrap_or_default(),
        };
        state.log.as_ref().map(of_log).or(state.kept)
    }

    /// Whether more is committed than the checkpoints say.
    pub(crate) fn outgrew_checkpoint(&self) -> bool {
        let state = self.state.lock();
        state.log.is_some()
            && state.replica.high_watermark() > state.committed_checkpointed
            && state.to_be_cut.is_none()
    }

    /// The checkpoints say this now.
    pub(crate) fn checkpointed(&self, points: Points) {
        let mut state = self.state.lock();
        state.checkpointed = points.recovery.max(points.high_watermark);
        state.committed_checkpointed = points.high_watermark;
    }

    /// Serves nothing any more; the files stay as they are, and the checkpoints go on speaking of them.
    pub(crate) fn take_offline(&self) {
        let points = self.points();
        if self.take_log().is_some() {
            self.state.lock().kept = points;
        }
    }

    /// Checks some of what recovery trusts; see [`Log::scrub`]. Before the metadata has said anything about this partition
    /// there is nothing to hold its leader epochs against.
    pub(crate) fn scrub(&self, from: Offset, bytes_max: u64) -> Look {
        let mut state = self.state.lock();
        let State { log, replica, .. } = &mut *state;
        let Some(log) = log else { return Look::Done };
        let Some(newest) = replica.state().map(|state| state.leader_epoch) else { return Look::GoOn(from) };
        match log.scrub(from, bytes_max, newest) {
            Ok(scrubbed) if scrubbed.next >= log.recovery_point().max(log.start_offset()) => Look::Done,
            Ok(scrubbed) => Look::GoOn(scrubbed.next),
            Err(error @ LogError::Corrupt { .. }) => Look::Damaged(error),
            Err(error) => {
                tracing::error!(partition = %self.name, %error, "the log could not be read");
                Look::Done
            }
        }
    }

    /// Cuts what no leader ever wrote: batches of an epoch that the partition has not reached, by a bit that flipped. For a
    /// log that nobody counts on, before it says what it has (R13): by its epochs it would be the best of all. If that was
    /// flushed, the log is damaged, and goes offline.
    pub(crate) fn cut_false_epochs(&self) {
        let mut state = self.state.lock();
        let State { log: Some(log), replica, checkpointed, .. } = &mut *state else { return };
        let Some(newest) = replica.state().map(|state| state.leader_epoch) else { return };
        let Some(from) = log.epochs().first_above(newest) else { return };
        let end = log.end_offset();
        tracing::error!(partition = %self.name, %from, %end, %newest, "damaged: leader epochs that never were");
        let cut = (from >= *checkpointed).then(|| log.truncate_to(from));
        match cut {
            Some(Ok(end)) => _ = replica.truncated(end),
            Some(Err(error)) => {
                drop(state);
                self.give_up(&error);
            }
            None => {
                drop(state);
                self.take_offline();
            }
        }
    }

    /// Whether this replica is in sync, and others are, too, as far as is known here.
    pub(crate) fn is_with_others_in_sync(&self) -> bool {
        let state = self.state.lock();
        state.replica.state().is_some_and(|s| s.isr.len() > 1 && s.isr.contains(&self.home.node))
    }

    /// Whether nobody else is in sync, as far as is known here.
    pub(crate) fn is_alone_in_sync(&self) -> bool {
        let state = self.state.lock();
        state.replica.state().is_none_or(|s| s.isr.iter().all(|n| *n == self.home.node))
    }

    /// Gives the replica up after its log could not be synced or changed; the node ends (see [`Home::fail`]).
    pub(crate) fn give_up(&self, error: &LogError) {
        tracing::error!(partition = %self.name, %error, "giving the replica up");
        self.take_offline();
        self.home.fail(format!("partition {}: {error}", self.name));
    }

    /// Whether its log could not be opened, or was given up; not whether it was closed.
    pub(crate) fn is_offline(&self) -> bool {
        let state = self.state.lock();
        state.log.is_none() && state.kept.is_some()
    }

    /// What it is, for the metrics.
    pub(crate) fn standing(&self) -> Standing {
        let state = self.state.lock();
        let decided = state.replica.state();
        let led = state.replica.leads().and(decided);
        Standing {
            offline: state.log.is_none(),
            leads: led.is_some(),
            under_replicated: led.is_some_and(|s| s.isr.len() < s.replicas.len()),
            under_min_isr: led.is_some_and(|s| s.isr.len() < s.min_isr as usize),
        }
    }

    /// Whether the topic wants its records on disk before they count, and some are not.
    pub(crate) fn waits_for_flush(&self) -> bool {
        self.with_log(|log| log_end(log).counted < log.end_offset()).unwrap_or(false)
    }

    /// Where the log ends: what decides who leads after everything went down (R13). `None` if it is offline.
    pub(crate) fn to_report(&self) -> Option<ReplicaReport> {
        let (topic, partition) = (self.topic_id, self.name.partition);
        let state = self.state.lock();
        let log = state.log.as_ref()?;
        let leader_epoch = state.replica.state().map_or(LeaderEpoch::UNKNOWN, |s| s.leader_epoch);
        let all = log.epochs().entries();
        let epochs = all[all.len().saturating_sub(REPORTED_EPOCHS_MAX)..].to_vec();
        let (log_start, log_end) = (log.start_offset(), log.end_offset());
        Some(ReplicaReport { topic, partition, leader_epoch, log_start, log_end, epochs })
    }

    /// Takes up what the controller says: the state, and the settings if they come with it.
    pub(crate) fn adopt(&self, decided: &PartitionState, config: Option<&Arc<TopicConfig>>) -> Adopted {
        let now_ms = uptime_ms();
        let mut state = self.state.lock();
        let State { log, replica, refused, leads_since_ms, .. } = &mut *state;
        let Some(log) = log else { return Adopted::Nothing };
        if let Some(config) = config.filter(|config| log.config() != *config) {
            log.set_config(config.clone());
            replica.appended(now_ms, log_end(log));
        }
        let adopted = replica.adopt(now_ms, decided, log_end(log));
        if let Adopted::Leads(epoch) = adopted {
            log.assign_epoch(epoch);
            refused.clear();
            *leads_since_ms = now_ms;
        }
        drop(state);
        // Those who wait for records must learn that they wait in the wrong place.
        self.wake_all();
        adopted
    }

    /// Syncs what the log has up to `until` and beyond, without holding its lock meanwhile; blocks. Those who ask while
    /// a sync is under way share the next one. After a failed sync nobody knows what is on the disk, so it is not tried
    /// again: the replica ends here, until a restart has read what is there.
    ///
    /// # Errors
    /// It is not known to be on disk; nothing up to `until` may be acknowledged.
    pub(crate) fn flush(&self, until: Offset) -> Result<(), PartitionError> {
        let _one_at_a_time = self.flushing.lock();
        let flushed = self.with_log(|log| log.recovery_point()).ok_or(PartitionError::Offline)?;
        if flushed >= until {
            return Ok(());
        }
        let unflushed = self.with_log(Log::unflushed).ok_or(PartitionError::Offline)??;
        if let Err(error) = unflushed.sync() {
            self.give_up(&error);
            return Err(error.into());
        }
        let (flushed, advanced) = {
            let mut state = self.state.lock();
            let State { log, replica, .. } = &mut *state;
            let log = log.as_mut().ok_or(PartitionError::Offline)?;
            let flushed = log.flushed(&unflushed);
            (flushed, replica.appended(uptime_ms(), log_end(log)))
        };
        if advanced {
            self.commits.wake();
            self.followers.tell(self.is_read_elsewhere());
        }
        match flushed >= until {
            true => Ok(()),
            // A truncation came between: what was to be flushed is gone.
            false => Err(PartitionError::Offline),
        }
    }

    /// Syncs whatever there is now.
    pub(crate) fn flush_all(&self) -> Result<(), PartitionError> {
        match self.with_log(|log| log.end_offset()) {
            Some(end) => self.flush(end),
            None => Ok(()),
        }
    }

    /// Whole batches from `from` on, below the high watermark, for a consumer. `from_any`: a follower serves it, too
    /// (KIP-392).
    pub(crate) fn fetch(
        &self,
        from: Offset,
        current_epoch: i32,
        from_any: bool,
        bytes_max: u32,
        at_least_one: bool,
    ) -> Result<Fetched, PartitionError> {
        let mut state = self.state.lock();
        let State { log, replica, .. } = &mut *state;
        let epoch = given(current_epoch);
        if from_any { replica.check_serves(epoch) } else { replica.check_leads(epoch) }?;
        let log = log.as_mut().ok_or(PartitionError::Offline)?;
        let committed = replica.high_watermark();
        let high_watermark = replica.visible_high_watermark();
        // Between the high watermark and the log's end the offset may be right: the high watermark is on its way.
        let end = log.end_offset();
        if from > end && replica.follows().is_some() {
            // The leader knows of more than has come here.
            return Err(PartitionError::OffsetNotAvailable);
        }
        let slice = match from >= committed && from <= end {
            true => None,
            false => log.read(from, bytes_max, committed, at_least_one)?,
        };
        Ok(Fetched { slice, start: log.start_offset(), high_watermark })
    }

    /// The high watermark, whoever leads; `None` once the log is closed.
    pub(crate) fn committed_end(&self) -> Option<Offset> {
        let state = self.state.lock();
        state.log.is_some().then(|| state.replica.high_watermark())
    }

    /// Runs `keep` on the log, whoever leads; nothing happens once it is closed.
    pub(crate) fn with_log<T>(&self, keep: impl FnOnce(&mut Log) -> T) -> Option<T> {
        self.state.lock().log.as_mut().map(keep)
    }

    /// Ends this replica: nothing is served from it any more. The log is the caller's to close or to drop.
    pub(crate) fn take_log(&self) -> Option<Log> {
        let log = {
            let mut state = self.state.lock();
            state.replica.resign();
            state.log.take()
        };
        self.wake_all();
        log
    }

    /// Has `waiter` woken when the high watermark advances or leadership changes.
    pub(crate) fn watch(&self, waiter: &Arc<Notify>) {
        self.commits.watch(waiter);
    }

    /// Has a follower's session told of news.
    pub(crate) fn subscribe(&self, news: &Arc<News>, slot: u32) {
        self.followers.subscribe(news, slot);
    }

    pub(crate) fn wake_all(&self) {
        self.commits.wake();
        self.followers.tell(true);
    }
}

/// Whether the topic's records are synced before they are acknowledged.
pub(crate) fn flushes(log: &Log) -> bool {
    log.config().flush_messages.is_some() || log.config().flush_ms.is_some()
}

/// Where the log ends, and what of it counts for the high watermark (R12).
pub(crate) fn log_end(log: &Log) -> LogEnd {
    let end = log.end_offset();
    LogEnd { end, counted: if flushes(log) { log.recovery_point().min(end) } else { end } }
}

/// A leader epoch as the wire has it: −1 says nothing.
fn given(epoch: i32) -> Option<LeaderEpoch> {
    (epoch >= 0).then_some(LeaderEpoch(epoch))
}

#[cfg(test)]
mod tests;

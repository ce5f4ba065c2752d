use std::sync::{
    Arc, Weak,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use commitlog::{Appended, Log, LogError, LogSlice};
use domain::{LeaderEpoch, Offset, TopicConfig, TopicId, TopicPartition};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::errors::PartitionError;

/// A partition's replica on this node.
pub(crate) struct LocalPartition {
    pub(crate) name: TopicPartition,
    pub(crate) topic_id: TopicId,
    state: Mutex<State>,
    /// Held by the flush that is under way; those who wait for it find their records flushed, too.
    flushing: Mutex<()>,
    watchers: Mutex<Vec<Weak<Notify>>>,
    /// Spares an append the lock when nobody waits.
    watched: AtomicBool,
}

struct State {
    /// `None` once the partition was closed or dropped, or when it could not be opened.
    log: Option<Log>,
    leading: Option<LeaderEpoch>,
    /// The high watermark as it was seen last: what a client has seen of it never goes back (R4).
    committed: Offset,
    /// Recovery point and start of a log that is offline: they must stay in the checkpoints, or the next start would
    /// take damage for a torn tail and cut it.
    kept: Option<(Offset, Offset)>,
}

/// What an append came to.
pub(crate) struct AppendedHere {
    pub(crate) appended: Appended,
    /// The topic wants it on disk before it is acknowledged: see [`LocalPartition::flush`].
    pub(crate) flush_first: bool,
}

/// A partition as a fetch found it.
pub(crate) struct Fetched {
    pub(crate) slice: Option<LogSlice>,
    pub(crate) start: Offset,
    pub(crate) high_watermark: Offset,
}

impl LocalPartition {
    pub(crate) fn new(name: TopicPartition, log: Log) -> Self {
        Self {
            name,
            topic_id: log.topic_id(),
            state: Mutex::new(State { log: Some(log), leading: None, committed: Offset(0), kept: None }),
            flushing: Mutex::new(()),
            watchers: Mutex::new(Vec::new()),
            watched: AtomicBool::new(false),
        }
    }

    /// A partition whose log cannot be opened: it is known, and every request for it is refused. Its files stay.
    pub(crate) fn offline(
        name: TopicPartition,
        topic_id: TopicId,
        recovery_point: Offset,
        start: Offset,
    ) -> Self {
        Self {
            name,
            topic_id,
            state: Mutex::new(State {
                log: None,
                leading: None,
                committed: Offset(0),
                kept: Some((recovery_point, start)),
            }),
            flushing: Mutex::new(()),
            watchers: Mutex::new(Vec::new()),
            watched: AtomicBool::new(false),
        }
    }

    /// Recovery point and start, for the checkpoints; `None` once the partition was closed.
    pub(crate) fn points(&self) -> Option<(Offset, Offset)> {
        let state = self.state.lock();
        let of_log = |log: &Log| (log.recovery_point(), log.start_offset());
        state.log.as_ref().map(of_log).or(state.kept)
    }

    /// Leads no more, until the metadata says so anew.
    pub(crate) fn abdicate(&self) {
        self.state.lock().leading = None;
        self.wake();
    }

    /// Takes up what the metadata says: the settings, and whether this node leads and in which epoch.
    pub(crate) fn follow(&self, leading: Option<LeaderEpoch>, config: &Arc<TopicConfig>) {
        let mut state = self.state.lock();
        let newly = leading.filter(|epoch| state.leading.is_none_or(|held| held < *epoch));
        state.leading = leading;
        if let (Some(log), Some(epoch)) = (&mut state.log, newly) {
            log.assign_epoch(epoch);
        }
        // Before the settings change: where flushing begins only now, what was seen stays seen.
        state.committed();
        if let Some(log) = state.log.as_mut().filter(|log| log.config() != config) {
            log.set_config(config.clone());
        }
        drop(state);
        // Those who wait for records must learn that they wait in the wrong place.
        self.wake();
    }

    /// Appends a producer's batch. With one replica, what is appended (and flushed, where the topic wants that) is
    /// committed.
    pub(crate) fn append(&self, batches: &Bytes, now_ms: i64) -> Result<AppendedHere, PartitionError> {
        let (appended, flush_first) = {
            let mut state = self.state.lock();
            let (log, epoch) = state.led(None)?;
            let appended = log.append_as_leader(batches, epoch, now_ms)?;
            // A duplicate may be one whose first answer is still waiting for its flush.
            (appended, flushes(log) && log.recovery_point() <= appended.last_offset)
        };
        if !appended.duplicate && !flush_first {
            self.wake();
        }
        Ok(AppendedHere { appended, flush_first })
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
            tracing::error!(partition = %self.name, %error, "taking the replica offline");
            if let Some(log) = self.take_log() {
                self.state.lock().kept = Some((log.recovery_point(), log.start_offset()));
            }
            return Err(error.into());
        }
        let flushed = self.with_log(|log| log.flushed(&unflushed)).ok_or(PartitionError::Offline)?;
        self.wake();
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

    /// Whole batches from `from` on, below the high watermark.
    pub(crate) fn fetch(
        &self,
        from: Offset,
        current_epoch: i32,
        bytes_max: u32,
        at_least_one: bool,
    ) -> Result<Fetched, PartitionError> {
        let mut state = self.state.lock();
        state.led(Some(current_epoch))?;
        let high_watermark = state.committed();
        let (log, _) = state.led(None)?;
        let slice = match from == high_watermark {
            // The usual case of a consumer that has caught up.
            true => None,
            false => log.read(from, bytes_max, high_watermark, at_least_one)?,
        };
        Ok(Fetched { slice, start: log.start_offset(), high_watermark })
    }

    /// Runs `read` on the log if this node leads the partition; it gets the epoch, too.
    pub(crate) fn as_leader<T>(
        &self,
        current_epoch: i32,
        read: impl FnOnce(&mut Log, LeaderEpoch) -> Result<T, LogError>,
    ) -> Result<T, PartitionError> {
        let mut state = self.state.lock();
        let (log, epoch) = state.led(Some(current_epoch))?;
        Ok(read(log, epoch)?)
    }

    /// The high watermark, and the leader epoch.
    pub(crate) fn high_watermark(&self, current_epoch: i32) -> Result<(Offset, LeaderEpoch), PartitionError> {
        let mut state = self.state.lock();
        let (_, epoch) = state.led(Some(current_epoch))?;
        Ok((state.committed(), epoch))
    }

    /// The high watermark, whoever leads; `None` once the log is closed.
    pub(crate) fn committed_end(&self) -> Option<Offset> {
        let mut state = self.state.lock();
        state.log.is_some().then(|| state.committed())
    }

    /// Runs `keep` on the log, whoever leads; nothing happens once it is closed.
    pub(crate) fn with_log<T>(&self, keep: impl FnOnce(&mut Log) -> T) -> Option<T> {
        self.state.lock().log.as_mut().map(keep)
    }

    /// Ends this replica: nothing is served from it any more. The log is the caller's to close or to drop.
    pub(crate) fn take_log(&self) -> Option<Log> {
        let log = {
            let mut state = self.state.lock();
            state.leading = None;
            state.log.take()
        };
        self.wake();
        log
    }

    /// Has `waiter` woken by the next append, or by a change of leadership.
    pub(crate) fn watch(&self, waiter: &Arc<Notify>) {
        let mut watchers = self.watchers.lock();
        // Fetches that gave up leave their entries behind; they go before the list grows.
        if watchers.len() == watchers.capacity() {
            watchers.retain(|w| w.strong_count() > 0);
        }
        watchers.push(Arc::downgrade(waiter));
        self.watched.store(true, Ordering::SeqCst);
    }

    fn wake(&self) {
        if !self.watched.swap(false, Ordering::SeqCst) {
            return;
        }
        let watchers = std::mem::take(&mut *self.watchers.lock());
        watchers.iter().filter_map(Weak::upgrade).for_each(|w| w.notify_one());
    }
}

/// Whether the topic's records are synced before they are acknowledged.
fn flushes(log: &Log) -> bool {
    log.config().flush_messages.is_some() || log.config().flush_ms.is_some()
}

impl State {
    /// The high watermark of a partition with one replica: the log's end, or its flushed end where the topic flushes.
    fn committed(&mut self) -> Offset {
        let Some(log) = &self.log else { return self.committed };
        let end = if flushes(log) { log.recovery_point() } else { log.end_offset() };
        self.committed = self.committed.max(end).min(log.end_offset());
        self.committed
    }

    /// The log, if this node leads and the caller's idea of the leader epoch (-1: none) agrees.
    fn led(&mut self, current_epoch: Option<i32>) -> Result<(&mut Log, LeaderEpoch), PartitionError> {
        let epoch = self.leading.ok_or(PartitionError::NotLeader)?;
        let log = self.log.as_mut().ok_or(PartitionError::Offline)?;
        match current_epoch.filter(|e| *e >= 0) {
            Some(got) if got < epoch.0 => Err(PartitionError::FencedEpoch { got, current: epoch.0 }),
            Some(got) if got > epoch.0 => Err(PartitionError::UnknownEpoch { got, current: epoch.0 }),
            _ => Ok((log, epoch)),
        }
    }
}

#[cfg(test)]
mod tests {
    use commitlog::FileCache;
    use domain::{PartitionIndex, TopicName};
    use records::{BatchBuilder, Compression};

    use super::*;

    fn led_partition(dir: &std::path::Path, config: TopicConfig) -> LocalPartition {
        let name = TopicPartition::new(TopicName::new("t").unwrap(), PartitionIndex(0));
        let config = Arc::new(config);
        let id = TopicId(uuid::Uuid::from_u128(1));
        let log = Log::create(dir.join("t-0"), id, config.clone(), FileCache::new(4)).unwrap();
        let partition = LocalPartition::new(name, log);
        partition.follow(Some(LeaderEpoch(0)), &config);
        partition
    }

    fn batch() -> Bytes {
        let mut builder = BatchBuilder::new(Compression::None);
        builder.push(1_000, None, Some(b"x"), &[]);
        builder.build()
    }

    /// Whoever waited behind a failed sync was told that it had succeeded.
    #[test]
    fn a_flush_of_a_log_that_is_gone_is_no_success() {
        let dir = tempfile::tempdir().unwrap();
        let partition =
            led_partition(dir.path(), TopicConfig { flush_messages: Some(1), ..TopicConfig::default() });
        let here = partition.append(&batch(), 2_000).unwrap();
        assert!(here.flush_first);
        drop(partition.take_log());
        let flushed = partition.flush(here.appended.last_offset.plus(1));
        assert!(matches!(flushed, Err(PartitionError::Offline)), "{flushed:?}");
    }

    #[test]
    fn a_record_is_seen_once_it_is_flushed_where_the_topic_flushes() {
        let dir = tempfile::tempdir().unwrap();
        let partition =
            led_partition(dir.path(), TopicConfig { flush_messages: Some(1), ..TopicConfig::default() });
        partition.append(&batch(), 2_000).unwrap();
        assert_eq!(partition.committed_end(), Some(Offset(0)));
        partition.flush(Offset(1)).unwrap();
        assert_eq!(partition.committed_end(), Some(Offset(1)));
    }

    #[test]
    fn an_epoch_that_is_not_the_leaders_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let partition = led_partition(dir.path(), TopicConfig::default());
        partition.follow(Some(LeaderEpoch(3)), &Arc::new(TopicConfig::default()));
        let code = |epoch| partition.high_watermark(epoch).map(|(hw, _)| hw).map_err(|e| e.code());
        assert_eq!(code(3), Ok(Offset(0)));
        assert_eq!(code(-1), Ok(Offset(0)));
        assert_eq!(code(2), Err(wire::ResponseError::FencedLeaderEpoch));
        assert_eq!(code(4), Err(wire::ResponseError::UnknownLeaderEpoch));
        partition.abdicate();
        assert_eq!(code(3), Err(wire::ResponseError::NotLeaderOrFollower));
    }
}

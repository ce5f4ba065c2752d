use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use commitlog::{Appended, Log, LogError, LogSlice};
use domain::{LeaderEpoch, NodeEpoch, NodeId, Offset, TopicConfig, TopicId, TopicPartition};
use parking_lot::Mutex;
use replica::{Adopted, FollowerFetch, LogEnd, PartitionState, Proposal, Replica, ReplicaRefusal};
use tokio::sync::Notify;

use crate::{
    clock::uptime_ms,
    errors::PartitionError,
    home::Home,
    refused::Refused,
    scrub::Look,
    watchers::{News, Subscribers, Watchers},
};

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
    /// Where the log is about to be cut, below the checkpoint, which has to say so first.
    pub(crate) to_be_cut: Option<Offset>,
    /// Of this leadership.
    refused: Refused,
}

/// What a node's checkpoints say of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Points {
    /// Everything below was flushed.
    pub(crate) recovery: Offset,
    pub(crate) start: Offset,
    /// Everything below is committed.
    pub(crate) high_watermark: Offset,
}

/// What an append came to.
pub(crate) struct AppendedHere {
    pub(crate) appended: Appended,
    /// The leader epoch that it was appended in: only in this one can its commit be told.
    pub(crate) epoch: LeaderEpoch,
    /// The topic wants it on disk before it is acknowledged: see [`LocalPartition::flush`].
    pub(crate) flush_first: bool,
    /// It is below the high watermark already.
    pub(crate) committed: bool,
}

/// What is known of a record that was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Commit {
    Done,
    Pending,
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

/// A partition as a follower's fetch found it.
pub(crate) struct FollowerFetched {
    pub(crate) slice: Option<LogSlice>,
    pub(crate) start: Offset,
    pub(crate) high_watermark: Offset,
    /// Where the two logs stop agreeing; there is nothing else in the answer then.
    pub(crate) diverging: Option<(LeaderEpoch, Offset)>,
    /// The follower has caught up and is not in the ISR.
    pub(crate) may_join: bool,
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
            to_be_cut: None,
            refused: Refused::default(),
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
        let kept = Some(Points { recovery: recovery_point, start, high_watermark: Offset(0) });
        let state = State {
            log: None,
            replica,
            kept,
            checkpointed: recovery_point,
            to_be_cut: None,
            refused: Refused::default(),
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
        };
        state.log.as_ref().map(of_log).or(state.kept)
    }

    /// The checkpoints say this now.
    pub(crate) fn checkpointed(&self, points: Points) {
        self.state.lock().checkpointed = points.recovery.max(points.high_watermark);
    }

    /// Serves nothing any more; the files stay as they are, and the checkpoints go on speaking of them.
    pub(crate) fn take_offline(&self) {
        let points = self.points();
        if self.take_log().is_some() {
            self.state.lock().kept = points;
        }
    }

    /// Checks some of what recovery trusts; see [`Log::scrub`].
    pub(crate) fn scrub(&self, from: Offset, bytes_max: u64) -> Look {
        let mut state = self.state.lock();
        let Some(log) = &mut state.log else { return Look::Done };
        match log.scrub(from, bytes_max) {
            Ok(scrubbed) if scrubbed.next >= log.recovery_point().max(log.start_offset()) => Look::Done,
            Ok(scrubbed) => Look::GoOn(scrubbed.next),
            Err(error @ LogError::Corrupt { .. }) => Look::Damaged(error),
            Err(error) => {
                tracing::error!(partition = %self.name, %error, "the log could not be read");
                Look::Done
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

    /// Whether this node leads and there are followers.
    pub(crate) fn leads_others(&self) -> bool {
        let state = self.state.lock();
        state.replica.leads().is_some() && state.replica.state().is_some_and(|s| s.replicas.len() > 1)
    }

    /// Whether this node leads and another one could.
    pub(crate) fn leads_for_others_in_sync(&self) -> bool {
        let state = self.state.lock();
        state.replica.leads().is_some() && state.replica.state().is_some_and(|s| s.isr.len() > 1)
    }

    /// The epoch of the last record, and the log's end: what decides who leads after everything went down (R13).
    pub(crate) fn last_position(&self) -> Option<(LeaderEpoch, Offset)> {
        self.with_log(|log| {
            let epoch = log.epochs().latest().map_or(LeaderEpoch::UNKNOWN, |(epoch, _)| epoch);
            (epoch, log.end_offset())
        })
    }

    /// Leads no more, until the metadata says so anew.
    pub(crate) fn resign(&self) {
        self.state.lock().replica.resign();
        self.wake_all();
    }

    /// Takes up what the controller says: the state, and the settings if they come with it.
    pub(crate) fn adopt(&self, decided: &PartitionState, config: Option<&Arc<TopicConfig>>) -> Adopted {
        let now_ms = uptime_ms();
        let mut state = self.state.lock();
        let State { log, replica, refused, .. } = &mut *state;
        let Some(log) = log else { return Adopted::Nothing };
        if let Some(config) = config.filter(|config| log.config() != *config) {
            log.set_config(config.clone());
            replica.appended(now_ms, log_end(log));
        }
        let adopted = replica.adopt(now_ms, decided, log_end(log));
        if let Adopted::Leads(epoch) = adopted {
            log.assign_epoch(epoch);
            refused.clear();
        }
        drop(state);
        // Those who wait for records must learn that they wait in the wrong place.
        self.wake_all();
        adopted
    }

    /// Appends a producer's batch as the leader. `all`: it is acknowledged once it is committed (acks=all). `room`: the
    /// disk has some.
    pub(crate) fn append(
        &self,
        batches: &Bytes,
        all: bool,
        room: bool,
        now_ms: i64,
    ) -> Result<AppendedHere, PartitionError> {
        let (here, advanced) = {
            let mut state = self.state.lock();
            let State { log, replica, refused, .. } = &mut *state;
            let epoch = replica.check_leads(None)?;
            let log = log.as_mut().ok_or(PartitionError::Offline)?;
            let appended = match refused.check(batches) {
                Some(reason) => Err(PartitionError::BehindRefused(reason)),
                None => may_append(replica, all, room)
                    .and_then(|()| Ok(log.append_as_leader(batches, epoch, now_ms)?)),
            };
            let appended = appended.inspect_err(|error| {
                if error.passes() {
                    refused.note(batches, error.code());
                }
            })?;
            let advanced = !appended.duplicate && replica.appended(uptime_ms(), log_end(log));
            // A duplicate may be one whose first answer is still waiting for its flush, or for its commit.
            let flush_first = flushes(log) && log.recovery_point() <= appended.last_offset;
            let committed = replica.high_watermark() > appended.last_offset;
            (AppendedHere { appended, epoch, flush_first, committed }, advanced)
        };
        if !here.appended.duplicate {
            self.followers.tell(true);
        }
        if advanced {
            self.commits.wake();
        }
        Ok(here)
    }

    /// Whether everything up to `until`, appended by this leader in `epoch`, is committed.
    ///
    /// # Errors
    /// This node does not lead in that epoch any more: whether it is will never be known here.
    pub(crate) fn commit(&self, epoch: LeaderEpoch, until: Offset) -> Result<Commit, PartitionError> {
        let state = self.state.lock();
        state.log.as_ref().ok_or(PartitionError::Offline)?;
        if state.replica.leads() != Some(epoch) {
            return Err(ReplicaRefusal::NotLeader.into());
        }
        match state.replica.high_watermark() >= until {
            true => Ok(Commit::Done),
            false => Ok(Commit::Pending),
        }
    }

    /// Whether acks=all can be promised now.
    pub(crate) fn check_enough_in_sync(&self) -> Result<(), PartitionError> {
        Ok(self.state.lock().replica.check_enough_in_sync()?)
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

    /// What a follower's log lacks, up to this log's end; or where the two stop agreeing.
    pub(crate) fn fetch_as_follower(
        &self,
        fetch: FollowerFetch,
        last_epoch: LeaderEpoch,
        bytes_max: u32,
        at_least_one: bool,
    ) -> Result<FollowerFetched, PartitionError> {
        let mut state = self.state.lock();
        let State { log, replica, .. } = &mut *state;
        replica.check_leads(Some(fetch.leader_epoch))?;
        let log = log.as_mut().ok_or(PartitionError::Offline)?;
        let (start, end) = (log.start_offset(), log.end_offset());
        let diverging = log.epochs().divergence(last_epoch, fetch.offset, end)?;
        if diverging.is_some() {
            let high_watermark = replica.high_watermark();
            return Ok(FollowerFetched { slice: None, start, high_watermark, diverging, may_join: false });
        }
        if fetch.offset < start
            || fetch.offset > end
            || !log.epochs().vouches_for(last_epoch, fetch.offset, start)
        {
            let (offset, before) = (fetch.offset, log.epochs().before(start));
            return Err(PartitionError::FollowerOutOfRange { offset, start, end, before });
        }
        let fetched = replica.fetched(uptime_ms(), fetch)?;
        let slice = match fetch.offset == end {
            true => None,
            false => log.read(fetch.offset, bytes_max, end, at_least_one)?,
        };
        let high_watermark = replica.high_watermark();
        drop(state);
        if fetched.high_watermark_advanced {
            self.commits.wake();
            // The next fetch tells it, unless somebody waits for it there.
            self.followers.tell(self.is_read_elsewhere());
        }
        Ok(FollowerFetched { slice, start, high_watermark, diverging: None, may_join: fetched.may_join })
    }

    /// Runs `read` on the log if this node leads the partition; it gets the epoch, too.
    pub(crate) fn as_leader<T>(
        &self,
        current_epoch: i32,
        read: impl FnOnce(&mut Log, LeaderEpoch) -> Result<T, LogError>,
    ) -> Result<T, PartitionError> {
        let mut state = self.state.lock();
        let epoch = state.replica.check_leads(given(current_epoch))?;
        let log = state.log.as_mut().ok_or(PartitionError::Offline)?;
        Ok(read(log, epoch)?)
    }

    /// The high watermark, and the leader epoch.
    ///
    /// # Errors
    /// Also while the leader does not know how far its predecessor's had come (KIP-207).
    pub(crate) fn high_watermark(&self, current_epoch: i32) -> Result<(Offset, LeaderEpoch), PartitionError> {
        let state = self.state.lock();
        let epoch = state.replica.check_leads(given(current_epoch))?;
        state.log.as_ref().ok_or(PartitionError::Offline)?;
        let visible = state.replica.visible_high_watermark().ok_or(PartitionError::OffsetNotAvailable)?;
        Ok((visible, epoch))
    }

    /// The high watermark, whoever leads; `None` once the log is closed.
    pub(crate) fn committed_end(&self) -> Option<Offset> {
        let state = self.state.lock();
        state.log.is_some().then(|| state.replica.high_watermark())
    }

    /// The follower that a consumer near it should read from (KIP-392).
    pub(crate) fn closest(&self, from: Offset, near: impl Fn(NodeId) -> bool) -> Option<NodeId> {
        let closest = self.state.lock().replica.closest(from, near);
        if closest.is_some() {
            self.read_elsewhere.store(true, Ordering::Relaxed);
        }
        closest
    }

    /// Whether consumers were sent to a follower: these wait for its high watermark.
    pub(crate) fn is_read_elsewhere(&self) -> bool {
        self.read_elsewhere.load(Ordering::Relaxed)
    }

    /// A follower fetches this partition no more.
    pub(crate) fn follower_left(&self, node: NodeId) {
        self.state.lock().replica.left(node);
    }

    /// The change of the ISR that is due, or the one whose outcome is not known.
    pub(crate) fn proposal(
        &self,
        lag_max_ms: u64,
        registered: impl Fn(NodeId) -> Option<NodeEpoch>,
    ) -> Option<Proposal> {
        let mut state = self.state.lock();
        state.log.as_ref()?;
        let outstanding = state.replica.outstanding().cloned();
        outstanding.or_else(|| state.replica.propose(uptime_ms(), lag_max_ms, registered))
    }

    /// The controller refused a proposal that was based on the newest state.
    pub(crate) fn proposal_refused(&self, registered: impl Fn(NodeId) -> Option<NodeEpoch>) {
        self.state.lock().replica.refused(registered);
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

/// What stands against an append for now.
fn may_append(replica: &Replica, all: bool, room: bool) -> Result<(), PartitionError> {
    match room {
        false => Err(PartitionError::DiskLow),
        true if all => Ok(replica.check_enough_in_sync()?),
        true => Ok(()),
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

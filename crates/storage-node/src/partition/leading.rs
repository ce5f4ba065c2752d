//! What a replica does while it leads.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use commitlog::{AppendError, Appended, Log, LogError, LogSlice};
use domain::{LeaderEpoch, NodeEpoch, NodeId, Offset};
use records::BatchHeader;
use replica::{FollowerFetch, Proposal, Replica, ReplicaRefusal};

use super::{Began, LocalPartition, State, flushes, given, log_end};
use crate::{clock::uptime_ms, errors::PartitionError};

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
    /// The epoch that this node leads in.
    pub(crate) fn leads(&self) -> Option<LeaderEpoch> {
        self.state.lock().replica.leads()
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

    /// Leads no more, until the metadata says so anew.
    pub(crate) fn resign(&self) {
        self.state.lock().replica.resign();
        self.wake_all();
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
        self.append_in(None, batches, all, room, now_ms)
    }

    /// The same, only if this node leads in the epoch that is given.
    pub(crate) fn append_in(
        &self,
        epoch: Option<LeaderEpoch>,
        batches: &Bytes,
        all: bool,
        room: bool,
        now_ms: i64,
    ) -> Result<AppendedHere, PartitionError> {
        let (here, advanced) = {
            let mut state = self.state.lock();
            let State { log, replica, refused, leads_since_ms, .. } = &mut *state;
            let epoch = replica.check_leads(epoch)?;
            let log = log.as_mut().ok_or(PartitionError::Offline)?;
            let appended = match refused.check(batches) {
                Some(reason) => Err(PartitionError::BehindRefused(reason)),
                None => may_append(replica, all, room).and_then(|()| {
                    let led_ms = uptime_ms().saturating_sub(*leads_since_ms);
                    check_first(log, batches, now_ms, led_ms)?;
                    log.append_as_leader(batches, epoch, now_ms).map_err(|e| refusal(e, led_ms))
                }),
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

    /// What a follower's log lacks, up to this log's end; or where the two stop agreeing.
    pub(crate) fn fetch_as_follower(
        &self,
        fetch: FollowerFetch,
        last_epoch: LeaderEpoch,
        began: &mut Began,
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
            || began.lacks_tombstones(log, fetch.offset, replica.high_watermark(), uptime_ms())
        {
            let (offset, before) = (fetch.offset, log.epochs().before(start));
            let committed = replica.high_watermark();
            return Err(PartitionError::FollowerOutOfRange { offset, start, end, before, committed });
        }
        let fetched = replica.fetched(uptime_ms(), fetch)?;
        let slice = match fetch.offset == end {
            true => None,
            false => log.read(fetch.offset, bytes_max, end, at_least_one)?,
        };
        let high_watermark = replica.high_watermark();
        drop(state);
        if fetched.high_watermark_advanced || fetched.start_moved {
            self.commits.wake();
        }
        if fetched.high_watermark_advanced {
            // The next fetch tells it, unless somebody waits for it there.
            self.followers.tell(self.is_read_elsewhere());
        }
        Ok(FollowerFetched { slice, start, high_watermark, diverging: None, may_join: fetched.may_join })
    }

    /// Moves the log's start up to `before`, or to the high watermark where that is not given; where the log starts now, and
    /// the epoch that this node leads in.
    pub(crate) fn delete_before(
        &self,
        before: Option<Offset>,
    ) -> Result<(Offset, LeaderEpoch), PartitionError> {
        let deleted = {
            let mut state = self.state.lock();
            let State { log, replica, .. } = &mut *state;
            let epoch = replica.check_leads(None)?;
            let log = log.as_mut().ok_or(PartitionError::Offline)?;
            let committed = replica.visible_high_watermark().ok_or(PartitionError::OffsetNotAvailable)?;
            let before = before.unwrap_or(committed);
            if before < Offset(0) || before > committed {
                return Err(PartitionError::NotCommitted { before, committed });
            }
            (log.advance_start(before), epoch)
        };
        self.followers.tell(true);
        Ok(deleted)
    }

    /// Below which offset nobody has any record who may lead next, as far as this leader of `epoch` knows by now.
    ///
    /// # Errors
    /// This node does not lead in that epoch any more.
    pub(crate) fn low_watermark(&self, epoch: LeaderEpoch) -> Result<Option<Offset>, PartitionError> {
        let state = self.state.lock();
        let log = state.log.as_ref().ok_or(PartitionError::Offline)?;
        state.replica.check_leads(Some(epoch))?;
        Ok(state.replica.low_watermark(log.start_offset()))
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
}

/// A gap that a leader of `led_ms` sees may be none.
fn refusal(error: AppendError, led_ms: u64) -> PartitionError {
    match error {
        AppendError::Producer(refusal) if refusal.may_be_under_way(led_ms) => {
            PartitionError::EarlierUnderWay(refusal)
        }
        error => error.into(),
    }
}

/// See [`replica::Producers::check_first`]. What is no batch is refused for that.
fn check_first(log: &Log, batches: &[u8], now_ms: i64, led_ms: u64) -> Result<(), PartitionError> {
    let Ok(header) = BatchHeader::parse(batches) else { return Ok(()) };
    log.producers().check_first(&header, now_ms, led_ms).map_err(PartitionError::EarlierUnderWay)
}

/// What stands against an append for now.
fn may_append(replica: &Replica, all: bool, room: bool) -> Result<(), PartitionError> {
    match room {
        false => Err(PartitionError::DiskLow),
        true if all => Ok(replica.check_enough_in_sync()?),
        true => Ok(()),
    }
}

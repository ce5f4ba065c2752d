mod batches;
mod pending;

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use domain::{LeaderEpoch, Offset};
use group::{Answer, Call, Caller, Entry, Moment, Step, Token};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;
use wire::ResponseError;

use self::{
    batches::Batches,
    pending::{Pending, Released, Waiting},
};
use super::{Context, load, topics::ImageTopics};
use crate::{
    clock::{now_ms, uptime_ms},
    errors::PartitionError,
    partition::{Commit, LocalPartition},
};

/// The groups of one partition, for as long as this node leads it in one epoch.
pub(crate) struct Shard {
    partition: Arc<LocalPartition>,
    pub(super) epoch: LeaderEpoch,
    context: Context,
    inner: Mutex<Inner>,
    /// Something is pending, or due earlier than was thought.
    changed: Notify,
    ended: CancellationToken,
}

/// A partition that could not be read is tried again after so long.
const LOAD_PAUSE: Duration = Duration::from_secs(2);
/// So long the controllers have to say that this node leads still. Groups go on without them: then the log is asked.
const CONTROLLERS_ANSWER: Duration = Duration::from_millis(100);
/// An answer that waits for its commit longer than this says that it is not known (Kafka's `offsets.commit.timeout.ms`).
const COMMIT_MS_MAX: u64 = 5_000;

struct Inner {
    /// `None` until it is loaded.
    groups: Option<group::Groups>,
    waiting: Waiting,
    pending: Pending,
    /// The log's end as this coordinator knows it: nothing is answered before all of it is committed.
    end: Offset,
    /// The topic wants that on disk first.
    flush_first: bool,
    topics_version: u64,
    deaf_until_ms: u64,
    /// When the last mark was appended.
    marked_ms: Option<u64>,
    /// When the loop means to wake up.
    armed_ms: Option<u64>,
    /// Members that are counted among the node's.
    consumers: usize,
}

impl Shard {
    pub(super) fn new(partition: Arc<LocalPartition>, epoch: LeaderEpoch, context: Context) -> Self {
        let inner = Inner {
            groups: None,
            waiting: Waiting::default(),
            pending: Pending::default(),
            end: Offset(0),
            flush_first: false,
            topics_version: 0,
            deaf_until_ms: 0,
            marked_ms: None,
            armed_ms: None,
            consumers: 0,
        };
        let inner = Mutex::new(inner);
        Self { partition, epoch, context, inner, changed: Notify::new(), ended: CancellationToken::new() }
    }

    pub(super) fn is_loaded(&self) -> bool {
        self.inner.lock().groups.is_some()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.is_cancelled()
    }

    /// Somebody else coordinates these groups now: whoever waits here is sent there.
    pub(super) fn end(&self) {
        self.ended.cancel();
        self.context.loaded.notify_waiters();
        let mut inner = self.inner.lock();
        let unanswered = inner.groups.take().map(|mut groups| groups.give_up(ResponseError::NotCoordinator));
        self.count(&mut inner);
        for (token, answer) in unanswered.into_iter().flatten() {
            inner.waiting.release(token, Released::certain(answer));
        }
        let Inner { pending, waiting, .. } = &mut *inner;
        for (token, answer) in pending.take_all() {
            waiting.release(token, Released::certain(answer.failed(ResponseError::NotCoordinator)));
        }
    }

    pub(super) fn topics_may_have_changed(&self, version: u64) {
        if self.inner.lock().topics_version != version {
            self.changed.notify_one();
        }
    }

    /// Loads, then does what is due: commits, timers, changed topics.
    pub(super) async fn run(self: Arc<Self>, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => return,
            () = self.ended.cancelled() => return,
            () = self.load() => {}
        }
        let committed = Arc::new(Notify::new());
        let topics_are_current = self.topics_are_current();
        tokio::pin!(topics_are_current);
        let mut are_current = false;
        loop {
            let now_ms = uptime_ms();
            let wake_ms = self.turn(now_ms, &committed).await;
            let due = async {
                match wake_ms {
                    Some(at) => {
                        tokio::time::sleep(Duration::from_millis(at.saturating_sub(now_ms).max(1))).await
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return self.end(),
                () = self.ended.cancelled() => return,
                () = self.changed.notified() => {}
                () = committed.notified() => {}
                () = &mut topics_are_current, if !are_current => are_current = true,
                () = due => {}
            }
        }
    }

    /// Waits until the metadata here has everything that was decided before the log was read to its end.
    async fn topics_are_current(&self) {
        while !self.context.assurance.confirm(&self.context.image).await {
            tokio::time::sleep(LOAD_PAUSE).await;
        }
        if let Some(groups) = &mut self.inner.lock().groups {
            groups.topics_are_current(uptime_ms());
        }
    }

    async fn load(&self) {
        loop {
            let (partition, epoch, config) =
                (self.partition.clone(), self.epoch, self.context.config.clone());
            let loaded = tokio::task::spawn_blocking(move || load::load(&partition, epoch, &config)).await;
            match loaded {
                Ok(Ok((groups, end))) => return self.loaded(groups, end),
                Ok(Err(load::LoadError::Moved)) => return self.end(),
                Ok(Err(error)) => {
                    tracing::error!(partition = %self.partition.name, %error, "groups could not be read");
                }
                Err(error) => {
                    tracing::error!(partition = %self.partition.name, %error, "reading groups panicked");
                }
            }
            if self.partition.leads() != Some(self.epoch) {
                return self.end();
            }
            tokio::time::sleep(LOAD_PAUSE).await;
        }
    }

    fn loaded(&self, mut groups: group::Groups, end: Offset) {
        let topics = self.topics();
        let step = groups.loaded(uptime_ms(), &topics);
        let mut inner = self.inner.lock();
        inner.topics_version = topics.version;
        inner.end = end;
        inner.flush_first = self.partition.waits_for_flush();
        inner.groups = Some(groups);
        if self.has_ended() {
            inner.groups = None;
            return;
        }
        self.count(&mut inner);
        self.carry_out(&mut inner, step);
        drop(inner);
        self.context.loaded.notify_waiters();
    }

    /// Does what is due; when it wants to be called again.
    async fn turn(&self, now_ms: u64, committed: &Arc<Notify>) -> Option<u64> {
        let flush = {
            let mut inner = self.inner.lock();
            !inner.pending.is_empty() && std::mem::take(&mut inner.flush_first)
        };
        if flush {
            let partition = self.partition.clone();
            let flushed = tokio::task::spawn_blocking(move || partition.flush_all()).await;
            if let Ok(Err(error)) = flushed {
                tracing::error!(partition = %self.partition.name, %error, "flush failed");
            }
        }
        let mut inner = self.inner.lock();
        if !inner.pending.is_empty() {
            self.partition.watch(committed);
        }
        self.hear(&mut inner, now_ms);
        self.settle(&mut inner, now_ms);
        self.tick(&mut inner, now_ms);
        let due_ms = inner.groups.as_ref().and_then(group::Groups::next_deadline);
        let late_ms = inner.pending.oldest_ms().map(|ms| ms + COMMIT_MS_MAX);
        inner.armed_ms = due_ms.into_iter().chain(late_ms).min();
        inner.armed_ms
    }

    fn tick(&self, inner: &mut Inner, now_ms: u64) {
        let topics = self.topics();
        let changed = inner.topics_version != topics.version;
        let moment = self.moment(inner, now_ms);
        let Some(groups) = &mut inner.groups else { return };
        if changed {
            inner.topics_version = topics.version;
            let step = groups.topics_changed(moment, &topics);
            self.carry_out(inner, step);
        }
        let Some(groups) = &mut inner.groups else { return };
        if groups.next_deadline().is_some_and(|due_ms| due_ms <= now_ms) {
            let step = groups.tick(moment, &topics);
            self.carry_out(inner, step);
        }
    }

    /// What members said while this process was not running is not held against them.
    fn hear(&self, inner: &mut Inner, now_ms: u64) {
        let until_ms = self.context.hearing.deaf_until(now_ms);
        if until_ms > inner.deaf_until_ms {
            inner.deaf_until_ms = until_ms;
            if let Some(groups) = &mut inner.groups {
                groups.was_deaf(now_ms);
            }
        }
    }

    /// One call, to its answer; `None` if there never will be one.
    pub(super) async fn call(&self, caller: Caller, call: Call, token: Token) -> Option<Answer> {
        let asked_ms = uptime_ms();
        let answered = {
            let mut inner = self.inner.lock();
            let now_ms = uptime_ms();
            self.hear(&mut inner, now_ms);
            let moment = self.moment(&inner, now_ms);
            let Some(groups) = &mut inner.groups else {
                return Some(call.refused(ResponseError::NotCoordinator));
            };
            let topics = self.topics();
            let step = groups.step(moment, &topics, &caller, call, token);
            let answered = inner.waiting.add(token);
            self.carry_out(&mut inner, step);
            answered
        };
        let released = answered.await.ok()?;
        match released.rests_on {
            pending::RestsOn::Commit => return Some(released.answer),
            pending::RestsOn::Session if self.context.assurance.is_recent() => return Some(released.answer),
            pending::RestsOn::Session | pending::RestsOn::Leadership => {}
        }
        let confirmed = self.context.assurance.confirm(&self.context.image);
        match tokio::time::timeout(CONTROLLERS_ANSWER, confirmed).await {
            Ok(true) if !self.has_moved() => Some(released.answer),
            Ok(_) => Some(released.answer.failed(ResponseError::NotCoordinator)),
            Err(_) => Some(self.mark(asked_ms, token, released.answer)?.await.ok()?.answer),
        }
    }

    /// Has an answer wait until a mark is committed that was appended after it was asked for.
    fn mark(&self, asked_ms: u64, token: Token, answer: Answer) -> Option<oneshot::Receiver<Released>> {
        let mut inner = self.inner.lock();
        // Whoever ended it sends those away who waited, and nobody after them.
        inner.groups.as_ref()?;
        let (now_ms, answers) = (uptime_ms(), vec![(token, answer)]);
        let answered = inner.waiting.add(token);
        if inner.marked_ms.is_some_and(|marked_ms| marked_ms > asked_ms) {
            let end = inner.end;
            inner.pending.add(now_ms, end, true, answers);
            self.settle(&mut inner, now_ms);
            self.changed.notify_one();
        } else {
            inner.marked_ms = Some(now_ms);
            self.carry_out(&mut inner, Step { records: vec![Entry::mark()], answers });
        }
        Some(answered)
    }

    fn has_moved(&self) -> bool {
        self.has_ended() || self.partition.leads() != Some(self.epoch)
    }

    /// Appends the step's records, makes them so, and sees to its answers.
    fn carry_out(&self, inner: &mut Inner, mut step: Step) {
        let now_ms = uptime_ms();
        let wrote = !step.records.is_empty();
        let (count, appended) = self.append(inner, &step.records);
        let rest = step.records.split_off(count);
        if let Some(groups) = &mut inner.groups {
            step.records.into_iter().for_each(|entry| groups.replay(entry));
        }
        if wrote {
            self.count(inner);
        }
        if let Err(error) = appended {
            tracing::warn!(partition = %self.partition.name, %error, "what groups decided was not appended");
            let moment = self.moment(inner, now_ms);
            let lost = Step { records: rest, answers: Vec::new() };
            if let Some(groups) = &mut inner.groups {
                groups.not_appended(&lost, moment);
            }
            let code = code(&error);
            for (token, answer) in step.answers {
                inner.waiting.release(token, Released::certain(answer.failed(code)));
            }
            self.changed.notify_one();
            return;
        }
        inner.pending.add(now_ms, inner.end, wrote, step.answers);
        self.settle(inner, now_ms);
        let due_ms = inner.groups.as_ref().and_then(group::Groups::next_deadline);
        let earlier = match (due_ms, inner.armed_ms) {
            (Some(due), Some(armed)) => due < armed,
            (due, _) => due.is_some(),
        };
        if earlier || !inner.pending.is_empty() {
            self.changed.notify_one();
        }
    }

    /// Lets the answers go that are committed, and those that wait too long.
    fn settle(&self, inner: &mut Inner, now_ms: u64) {
        let Inner { pending, waiting, .. } = inner;
        while let Some(until) = pending.next() {
            match self.partition.commit(self.epoch, until) {
                Ok(Commit::Done) => {
                    pending.pop().for_each(|(token, released)| waiting.release(token, released))
                }
                Ok(Commit::Pending) => break,
                Err(error) => {
                    // Ends with the loop: whoever waits is told by then.
                    tracing::debug!(partition = %self.partition.name, %error, "coordinates no more");
                    for (token, answer) in pending.take_all() {
                        let failed = answer.failed(ResponseError::NotCoordinator);
                        waiting.release(token, Released::certain(failed));
                    }
                    return;
                }
            }
        }
        while pending.oldest_ms().is_some_and(|ms| ms + COMMIT_MS_MAX <= now_ms) {
            for (token, released) in pending.pop() {
                let failed = released.answer.failed(ResponseError::CoordinatorNotAvailable);
                waiting.release(token, Released::certain(failed));
            }
        }
    }

    /// Appends records, in order, and says how many there were when it ended: all of them, or those before the error.
    fn append(&self, inner: &mut Inner, records: &[Entry]) -> (usize, Result<(), PartitionError>) {
        let wall_ms = now_ms();
        let mut appended = 0;
        for (count, batch) in Batches::new(records, wall_ms) {
            let begun = Instant::now();
            let room = !self.context.disk.is_low();
            match self.partition.append_in(Some(self.epoch), &batch, true, room, wall_ms) {
                Ok(here) => {
                    inner.end = here.appended.last_offset.plus(1);
                    inner.flush_first |= here.flush_first;
                }
                Err(error) => return (appended, Err(error)),
            }
            metrics::histogram!("anabranch_storage_group_append_seconds").record(begun.elapsed());
            appended += count;
        }
        (appended, Ok(()))
    }

    /// Counts the members here among the node's.
    fn count(&self, inner: &mut Inner) {
        let now = inner.groups.as_ref().map_or(0, group::Groups::consumers);
        // Wraps where there are fewer than before, and comes out right.
        self.context.consumers.fetch_add(now.wrapping_sub(inner.consumers), Ordering::Relaxed);
        inner.consumers = now;
    }

    fn moment(&self, inner: &Inner, now_ms: u64) -> Moment {
        Moment {
            now_ms,
            wall_ms: self::now_ms(),
            fresh: uuid::Uuid::new_v4(),
            members_elsewhere: self.context.consumers.load(Ordering::Relaxed).saturating_sub(inner.consumers),
        }
    }

    fn topics(&self) -> ImageTopics {
        // The version first: an image that is newer than its version is looked at again, an older one would not be.
        let version = self.context.topics.version();
        ImageTopics { image: self.context.image.load(), version }
    }
}

/// What a failed append is for a group's member, as Kafka's coordinator has it.
fn code(error: &PartitionError) -> ResponseError {
    match error.code() {
        ResponseError::NotLeaderOrFollower
        | ResponseError::FencedLeaderEpoch
        | ResponseError::UnknownLeaderEpoch => ResponseError::NotCoordinator,
        ResponseError::MessageTooLarge => ResponseError::UnknownServerError,
        _ => ResponseError::CoordinatorNotAvailable,
    }
}

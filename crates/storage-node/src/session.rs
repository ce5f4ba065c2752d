use std::{sync::Arc, time::Duration};

use commitlog::{DataDirError, Incarnation};
use domain::{ClusterId, NodeEpoch};
use metadata::{NodeRegistration, RefusalKind};
use rpc::{ControllerClient, ControllerError, HEARTBEAT_INTERVAL_MS, pb, refusal_of};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::{
    assurance::{Asked, Assurance},
    departure::{Departure, Standing},
    pace::MovePace,
    store::Store,
    waits::CommitWaits,
};

/// This node's standing with the controller: registered, heard of, and not fenced.
pub(crate) struct Session {
    pub(crate) controllers: ControllerClient,
    pub(crate) registration: NodeRegistration,
    pub(crate) store: Arc<Store>,
    pub(crate) assurance: Arc<Assurance>,
    /// Whether somebody who stops this node has it ask first.
    pub(crate) departure: Departure,
    pub(crate) waits: Arc<CommitWaits>,
    pub(crate) pace: Arc<MovePace>,
    /// The machine that it runs on, as the controller may look it up.
    pub(crate) machine: Option<String>,
    /// Told to stop, it asks for so long, and goes then in any case.
    pub(crate) stop_wait_max: Duration,
    /// Turns true once the controller counts this node as active.
    pub(crate) active: watch::Sender<bool>,
    /// Set when the controller refuses this node for good: its process should end.
    pub(crate) refused: watch::Sender<Option<ControllerError>>,
}

/// One attempt to register; it is repeated forever, since the controller may come up later.
const REGISTER_WITHIN: Duration = Duration::from_secs(5);
/// A stream that is not answered for so long is left for a new one.
const ANSWER_MAX: Duration = Duration::from_millis(1_500);
const PAUSE: Duration = Duration::from_millis(50);
/// A node that stops now hands its leaderships over for no longer than this.
const LEAVE_MAX: Duration = Duration::from_secs(5);
/// How often it is told how long producers wait.
const WAITS_EVERY: Duration = Duration::from_secs(1);
const GOODBYE_MAX: Duration = Duration::from_secs(2);

impl Session {
    /// Registers this incarnation, for as long as it takes.
    ///
    /// # Errors
    /// The controller refuses: another cluster's folder, or a node id that is in use.
    pub(crate) async fn register(&self) -> Result<(NodeEpoch, ClusterId), ControllerError> {
        loop {
            let machine = self.machine.as_deref();
            match self.controllers.register(&self.registration, machine, REGISTER_WITHIN).await {
                Ok(answer) => {
                    let cluster_id = uuid::Uuid::from_slice(&answer.cluster_id)
                        .map_err(|e| ControllerError::Unknown(format!("cluster id: {e}")))?;
                    let epoch = NodeEpoch(answer.epoch);
                    self.store.set_epoch(epoch);
                    return Ok((epoch, ClusterId(cluster_id)));
                }
                Err(ControllerError::Refused(refusal)) if refusal.kind == RefusalKind::NodeIdInUse => {
                    // The former process of this node may have died just now and not be fenced yet; whoever really
                    // shares the id stays refused, and says so.
                    tracing::warn!(%refusal, "not registered");
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
                Err(error @ ControllerError::Refused(_)) => return Err(error),
                Err(error) => tracing::warn!(%error, "not registered yet"),
            }
        }
    }

    /// Runs the session on a thread and a runtime of its own: a disk that stalls every worker of the data path must
    /// not make this node look dead. The receiver hears when it has ended.
    ///
    /// # Errors
    /// No thread or runtime could be made.
    pub(crate) fn spawn(mut self, stop: CancellationToken) -> std::io::Result<oneshot::Receiver<()>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (ended, has_ended) = oneshot::channel();
        std::thread::Builder::new().name("session".to_owned()).spawn(move || {
            runtime.block_on(async {
                // A client's connections live on the runtime that made them.
                self.controllers = ControllerClient::new(self.controllers.seeds().to_vec());
                self.run(stop).await;
            });
            let _ = ended.send(());
        })?;
        Ok(has_ended)
    }

    /// Says durably under which registration this process writes, before it writes anything (R10).
    ///
    /// # Errors
    /// The disk refused; nothing may be appended.
    pub(crate) fn record(&self) -> Result<(), DataDirError> {
        self.store.dir.record_incarnation(&Incarnation {
            directory: self.registration.directory,
            node_epoch: self.store.epoch(),
            boot_id: commitlog::boot_id(),
        })
    }

    /// Keeps the session alive until the token is cancelled; then hands the leaderships over and says goodbye.
    async fn run(mut self, stop: CancellationToken) {
        let mut leave_by = None;
        loop {
            let outcome = self.stream(&stop, &mut leave_by).await;
            if stop.is_cancelled() {
                let by = *leave_by.get_or_insert_with(|| Instant::now() + self.stop_wait_max + LEAVE_MAX);
                if matches!(outcome, Outcome::Left | Outcome::Replaced) || Instant::now() >= by {
                    return;
                }
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            self.active.send_replace(false);
            match outcome {
                Outcome::Replaced => {
                    tracing::warn!("the controller does not know this incarnation, registering again");
                    // Whoever registered after this one may lead by now.
                    self.store.resign();
                    // The logs are as this process left them; whether that counts, the controller decides by the epoch.
                    self.registration.previous_epoch = Some(self.store.epoch());
                    self.registration.intact = true;
                    self.registration.damaged = self.store.damaged();
                    self.registration.incarnation = Some(uuid::Uuid::new_v4());
                    let registered = tokio::select! {
                        registered = self.register() => registered,
                        () = stop.cancelled() => return,
                    };
                    if let Err(error) = registered {
                        tracing::error!(%error, "this node is not taken in any more");
                        self.refused.send_replace(Some(error));
                        return;
                    }
                    if let Err(error) = self.record() {
                        tracing::error!(%error, "this incarnation cannot be recorded");
                        let reason = format!("this incarnation cannot be recorded: {error}");
                        self.refused.send_replace(Some(ControllerError::Unknown(reason)));
                        return;
                    }
                }
                Outcome::Lost(reason) => tracing::debug!(%reason, "heartbeat stream ended"),
                Outcome::Left => return,
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    /// One heartbeat stream, to its end. `leave_by` is set once the node is told to stop.
    async fn stream(&self, stop: &CancellationToken, leave_by: &mut Option<Instant>) -> Outcome {
        let (beats, outgoing) = mpsc::channel(4);
        let epoch = self.store.epoch();
        let mut asked = Asked::new(&self.assurance);
        asked.left(asked.note());
        if beats.try_send(self.beat(epoch, self.kind(leave_by))).is_err() {
            return Outcome::Lost("no room for a heartbeat".to_owned());
        }
        let mut answers = match self.controllers.heartbeat(ReceiverStream::new(outgoing)).await {
            Ok(answers) => answers,
            Err(status) => return self.ended(&status),
        };
        let mut ticks = tokio::time::interval(Duration::from_millis(HEARTBEAT_INTERVAL_MS));
        let mut answered = Instant::now();
        let mut handed_over = false;
        let mut waited = Instant::now();
        let mut wanted = self.departure.wanted();
        loop {
            tokio::select! {
                () = stop.cancelled(), if leave_by.is_none() => {
                    // Others take over first: nobody notices more than a moved leader.
                    *leave_by = Some(Instant::now() + self.stop_wait_max + LEAVE_MAX);
                    let noted = asked.note();
                    if beats.send(self.beat(epoch, self.kind(leave_by))).await.is_ok() {
                        asked.left(noted);
                    }
                }
                // Said at once, not with the next tick; a sender that is gone has nothing to say any more.
                Ok(()) = wanted.changed() => {
                    let _ = beats.try_send(self.beat(epoch, self.kind(leave_by)));
                }
                _ = ticks.tick() => {
                    let done = handed_over && !self.store.leads_for_others();
                    if leave_by.is_some_and(|by| done || Instant::now() >= by) {
                        let _ = beats.send(self.beat(epoch, Beat::Goodbye)).await;
                        // The answer says that the leaderships are gone.
                        let said = tokio::time::timeout(GOODBYE_MAX, async {
                            while let Ok(Some(answer)) = answers.message().await {
                                if answer.fenced { return true }
                            }
                            false
                        }).await;
                        return match said {
                            Ok(true) => Outcome::Left,
                            _ => Outcome::Lost("the goodbye was not answered".to_owned()),
                        };
                    }
                    if answered.elapsed() > ANSWER_MAX {
                        return Outcome::Lost("no answer to heartbeats".to_owned());
                    }
                    let noted = asked.note();
                    let mut beat = self.beat(epoch, self.kind(leave_by));
                    if waited.elapsed() >= WAITS_EVERY {
                        waited = Instant::now();
                        beat.commit_us_p99 = self.waits.take_p99();
                    }
                    // A full channel means that the stream is stuck: the answers' age will tell.
                    if beats.try_send(beat).is_ok() {
                        asked.left(noted);
                    }
                }
                () = self.assurance.wanted(), if asked.is_idle() => {
                    let noted = asked.note();
                    if beats.try_send(self.beat(epoch, self.kind(leave_by))).is_ok() {
                        asked.left(noted);
                    }
                }
                answer = answers.message() => match answer {
                    Ok(Some(answer)) => {
                        answered = Instant::now();
                        asked.answered(answer.version);
                        // A fenced node leads nothing.
                        let asks = leave_by.is_some() || self.departure.is_wanted();
                        handed_over |= answer.may_stop || (asks && answer.fenced);
                        if handed_over && !self.store.leads_for_others() {
                            self.departure.stands(Standing::May);
                        } else if let Some(leaving) = answer.leaving.filter(|_| asks) {
                            self.departure.stands(Standing::Waits(leaving));
                        }
                        self.pace.set(answer.move_bytes_per_second_max);
                        self.active.send_if_modified(|active| std::mem::replace(active, !answer.fenced) == answer.fenced);
                    }
                    Ok(None) => return Outcome::Lost("the controller ended the stream".to_owned()),
                    Err(status) => return self.ended(&status),
                }
            }
        }
    }

    fn beat(&self, epoch: NodeEpoch, beat: Beat) -> pb::HeartbeatRequest {
        pb::HeartbeatRequest {
            node: self.registration.node.0,
            epoch: epoch.0,
            ready: true,
            goodbye: beat == Beat::Goodbye,
            stopping: matches!(beat, Beat::Stopping | Beat::StoppingNow),
            must_stop: beat == Beat::StoppingNow,
            commit_us_p99: None,
        }
    }

    /// What there is to say, if it is no goodbye. One that was told to stop and may not stops in its last seconds anyway.
    fn kind(&self, leave_by: &Option<Instant>) -> Beat {
        match leave_by {
            Some(by) if Instant::now() + LEAVE_MAX >= *by => Beat::StoppingNow,
            Some(_) => Beat::Stopping,
            None if self.departure.is_wanted() => Beat::Stopping,
            None => Beat::Alive,
        }
    }

    fn ended(&self, status: &rpc::Status) -> Outcome {
        self.controllers.heartbeat_failed(status);
        let replaced = refusal_of(status)
            .is_some_and(|r| matches!(r.kind, RefusalKind::StaleNodeEpoch | RefusalKind::UnknownNode));
        match replaced {
            true => Outcome::Replaced,
            false => Outcome::Lost(status.message().to_owned()),
        }
    }
}

/// What a heartbeat says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beat {
    Alive,
    /// It asks whether it may stop: leaderships are to move elsewhere, once there are enough others.
    Stopping,
    /// The same, and it does not wait.
    StoppingNow,
    Goodbye,
}

/// How a heartbeat stream ended.
enum Outcome {
    /// The node has said goodbye.
    Left,
    /// This incarnation is not the registered one.
    Replaced,
    Lost(String),
}

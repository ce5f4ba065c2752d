use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use domain::{ClusterId, NodeEpoch, NodeId};
use metadata::{Command, Liveness, LivenessConfig};
use parking_lot::Mutex;
use quorum::Quorum;
use tokio_util::sync::CancellationToken;

/// What the leader does unasked: it names the cluster, keeps the nodes' deadlines, and fences those who miss them.
pub(crate) struct Office {
    quorum: Arc<Quorum>,
    config: LivenessConfig,
    started: Instant,
    term: Mutex<Option<Term>>,
}

/// This member's time in office.
struct Term {
    number: u64,
    liveness: Liveness,
    /// When a majority last confirmed this leader, in milliseconds since `started`.
    confirmed_ms: u64,
}

const TICK: Duration = Duration::from_millis(50);
/// A majority is asked again this often.
const CONFIRM_EVERY_MS: u64 = 500;

impl Office {
    pub(crate) fn new(quorum: Arc<Quorum>, config: LivenessConfig) -> Self {
        Self { quorum, config, started: Instant::now(), term: Mutex::new(None) }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Runs until the token is cancelled.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut leadership = self.quorum.leadership();
        loop {
            let now = leadership.borrow_and_update().clone();
            if !now.is_me {
                *self.term.lock() = None;
                tokio::select! {
                    () = stop.cancelled() => return,
                    changed = leadership.changed() => if changed.is_err() { return },
                }
                continue;
            }
            if self.take_office(now.term).await {
                self.tick().await;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(TICK) => {}
            }
        }
    }

    /// Starts a term, once the image has everything that was committed before it.
    async fn take_office(&self, number: u64) -> bool {
        let held = self.term.lock().as_ref().map(|t| (t.number, t.confirmed_ms));
        if let Some((held, confirmed_ms)) = held
            && held == number
        {
            if self.now_ms().saturating_sub(confirmed_ms) >= CONFIRM_EVERY_MS
                && self.quorum.confirm_leadership().await
            {
                let now_ms = self.now_ms();
                self.term.lock().as_mut().iter_mut().for_each(|t| t.confirmed_ms = now_ms);
            }
            return true;
        }
        if !self.quorum.confirm_leadership().await {
            return false;
        }
        let image = self.quorum.image();
        if image.cluster_id.is_none() {
            let cluster_id = ClusterId(uuid::Uuid::new_v4());
            if let Err(error) = self.quorum.propose(Command::NameCluster { cluster_id }).await {
                tracing::warn!(%error, "the cluster could not be named yet");
                return false;
            }
        }
        let now_ms = self.now_ms();
        let active = image.active_nodes().map(|n| (n.id, n.epoch));
        let liveness = Liveness::take_office(self.config, now_ms, active);
        *self.term.lock() = Some(Term { number, liveness, confirmed_ms: now_ms });
        tracing::info!(term = number, "this controller leads");
        true
    }

    async fn tick(&self) {
        let now_ms = self.now_ms();
        let due = self.term.lock().as_ref().map(|t| t.liveness.due(now_ms)).unwrap_or_default();
        for fence in due {
            tracing::warn!(node = %fence.node, epoch = %fence.epoch, reason = ?fence.reason, "fencing a storage node");
            self.fence(fence.node, fence.epoch).await;
        }
    }

    /// Fences the node now.
    pub(crate) async fn fence(&self, node: NodeId, epoch: NodeEpoch) {
        match self.quorum.propose(Command::FenceNode { node, epoch }).await {
            // Refused: it registered anew meanwhile. Either way this incarnation has no deadline any more.
            Ok(_) => self.term.lock().iter_mut().for_each(|t| t.liveness.forget(node, epoch)),
            Err(error) => tracing::warn!(%node, %error, "the node could not be fenced yet"),
        }
    }

    /// A heartbeat came. False when this member is not a leader whom a majority confirmed lately: then nobody may
    /// rely on it.
    pub(crate) fn heard(&self, node: NodeId, epoch: NodeEpoch) -> bool {
        let now_ms = self.now_ms();
        let mut term = self.term.lock();
        let Some(term) = term.as_mut() else { return false };
        if now_ms.saturating_sub(term.confirmed_ms) > self.config.session_timeout_ms / 2 {
            return false;
        }
        term.liveness.heard(now_ms, node, epoch);
        true
    }

    pub(crate) fn stream_ended(&self, node: NodeId, epoch: NodeEpoch) {
        let now_ms = self.now_ms();
        self.term.lock().iter_mut().for_each(|t| t.liveness.stream_ended(now_ms, node, epoch));
    }
}

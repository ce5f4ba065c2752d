use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use domain::{NodeEpoch, NodeId};
use metadata::{Command, Held, Image, NodeState, Refusal};
use parking_lot::Mutex;
use quorum::Quorum;
use rpc::pb;
use tokio_util::sync::CancellationToken;

use crate::{
    office::Office,
    orders::{Notice, Orders, Stop},
    rebalance::Rebalancer,
};

#[cfg(test)]
mod tests;

/// Nodes that ask to stop: each may once every partition has enough replicas in sync without it, or, if it leaves for good, once
/// it has given everything away.
pub(crate) struct Leaving {
    quorum: Arc<Quorum>,
    rebalancer: Arc<Rebalancer>,
    /// Whoever knows whether a node that stops comes back; nobody, outside a cluster that starts and stops nodes.
    orders: Option<Arc<dyn Orders>>,
    started: Instant,
    asks: Mutex<Asks>,
}

#[derive(Default)]
struct Asks {
    by_node: BTreeMap<NodeId, Ask>,
    /// Who was told last that it may stop, and when: until it is seen to stop, the image counts it in.
    granted: Option<(NodeId, u64)>,
}

struct Ask {
    epoch: NodeEpoch,
    first_ms: u64,
    last_ms: u64,
    /// Whether it is known why it stops.
    decided: bool,
}

/// Whether a node may stop.
#[derive(Debug)]
pub(crate) enum Verdict {
    May,
    Waits(pb::Leaving),
}

/// Who asks, asks ten times a second.
const ASK_COUNTS_MS: u64 = 1_000;
/// All that are left ask so soon after one was let go: everything is being stopped.
const ALL_GO_MS: u64 = 5_000;
/// It is waited for so long until it is known why a node stops.
const DECIDE_MS: u64 = 15_000;
const LOOK_EVERY: Duration = Duration::from_millis(500);

impl Leaving {
    pub(crate) fn new(
        quorum: Arc<Quorum>,
        rebalancer: Arc<Rebalancer>,
        orders: Option<Arc<dyn Orders>>,
    ) -> Self {
        Self { quorum, rebalancer, orders, started: Instant::now(), asks: Mutex::default() }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// An active node asks to stop.
    pub(crate) fn ask(&self, image: &Image, node: NodeId, epoch: NodeEpoch) -> Verdict {
        let now_ms = self.now_ms();
        let drains = image.nodes.get(&node).is_some_and(|n| n.draining);
        let mut asks = self.asks.lock();
        asks.by_node.retain(|_, ask| now_ms.saturating_sub(ask.last_ms) <= ASK_COUNTS_MS);
        let ask = asks.by_node.entry(node).or_insert(Ask {
            epoch,
            first_ms: now_ms,
            last_ms: now_ms,
            decided: false,
        });
        ask.last_ms = now_ms;
        if ask.epoch != epoch {
            *ask = Ask { epoch, first_ms: now_ms, last_ms: now_ms, decided: false };
        }
        if drains {
            return self.ask_to_leave(image, node);
        }
        let waits = |reason: String| Verdict::Waits(pb::Leaving { waits_for: reason, ..Default::default() });
        if self.orders.is_some() && !ask.decided {
            return waits("it to be known whether the node comes back".to_owned());
        }
        if !asks.all_go(image, now_ms) {
            if let Some(other) = asks.still_counted(image, node, now_ms) {
                return waits(format!("node {other} to stop first"));
            }
            if let Some(held) = image.holds_back(node) {
                return waits(reason(&held));
            }
        }
        asks.granted = Some((node, now_ms));
        Verdict::May
    }

    /// A draining node goes once it has nothing any more.
    fn ask_to_leave(&self, image: &Image, node: NodeId) -> Verdict {
        let Some((topic, number)) = image.needs(node) else { return Verdict::May };
        let left = self.rebalancer.left(node).unwrap_or_default();
        Verdict::Waits(pb::Leaving {
            drains: true,
            waits_for: format!("{topic}-{number} and others to move elsewhere"),
            replicas_left: image.replica_count(node),
            bytes_left: left.bytes,
            seconds_left: left.seconds,
        })
    }

    /// Runs until the token is cancelled. Without anybody who knows why nodes stop there is nothing to do.
    pub(crate) async fn run(self: Arc<Self>, office: Arc<Office>, stop: CancellationToken) {
        let Some(orders) = self.orders.clone() else { return };
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            if office.in_office() {
                self.look(&*orders).await;
            }
        }
    }

    async fn look(&self, orders: &dyn Orders) {
        let image = self.quorum.image();
        for node in image.nodes.values().filter(|n| n.scaled_in) {
            // Asked anew before each step: the set may have been made larger again.
            if orders.why_it_stops(node.id).await == Stop::Restart {
                self.take_back(orders, node.id).await;
            }
        }
        for (node, waited_ms) in self.undecided() {
            match orders.why_it_stops(node).await {
                Stop::ScaleIn => self.drain(orders, &image, node).await,
                Stop::Restart => self.decide(node),
                Stop::Unknown if waited_ms >= DECIDE_MS => {
                    tracing::warn!(%node, "nobody says whether the node comes back: it is taken for a restart");
                    self.decide(node);
                }
                Stop::Unknown => {}
            }
        }
    }

    /// Who asks, and for how long, without its being known why.
    fn undecided(&self) -> Vec<(NodeId, u64)> {
        let now_ms = self.now_ms();
        let asks = self.asks.lock();
        let fresh = |ask: &Ask| !ask.decided && now_ms.saturating_sub(ask.last_ms) <= ASK_COUNTS_MS;
        let asking = asks.by_node.iter().filter(|(_, ask)| fresh(ask));
        asking.map(|(node, ask)| (*node, now_ms.saturating_sub(ask.first_ms))).collect()
    }

    fn decide(&self, node: NodeId) {
        self.asks.lock().by_node.get_mut(&node).into_iter().for_each(|ask| ask.decided = true);
    }

    async fn drain(&self, orders: &dyn Orders, image: &Image, node: NodeId) {
        if image.nodes.get(&node).is_some_and(|n| n.draining) {
            return self.decide(node);
        }
        match image.check_drain(node, &self.rebalancer.usage(), false) {
            Err(refusal) => {
                tracing::warn!(%node, %refusal, "the node is to leave for good and cannot be drained: it keeps its replicas, and can come back");
                orders.tell(node, Notice::DrainRefused(refusal.message));
            }
            Ok(cost) => {
                let (replicas, bytes) = (cost.replicas, cost.bytes);
                if let Err(reason) = self.set_draining(node, true).await {
                    // Next time.
                    return tracing::warn!(%node, reason, "the node could not be set to drain yet");
                }
                tracing::info!(%node, replicas, bytes, "the set of nodes was made smaller: draining");
                orders.tell(
                    node,
                    Notice::DrainStarted(format!("{replicas} replicas, {bytes} bytes have to move")),
                );
            }
        }
        self.decide(node);
    }

    async fn take_back(&self, orders: &dyn Orders, node: NodeId) {
        match self.set_draining(node, false).await {
            Ok(()) => {
                tracing::info!(%node, "the set of nodes was made larger again: the node is not drained any more");
                orders.tell(node, Notice::DrainCancelled);
                self.rebalancer.take_back(node).await;
            }
            Err(reason) => tracing::warn!(%node, reason, "the drain could not be taken back yet"),
        }
    }

    async fn set_draining(&self, node: NodeId, draining: bool) -> Result<(), String> {
        let command = Command::SetDraining { node, draining, scaled_in: draining };
        let proposed = self.quorum.propose(command).await.map_err(|e| e.to_string())?;
        proposed.result.map(|_| ()).map_err(|refusal: Refusal| refusal.message)
    }

    /// A node said goodbye. One that was drained because there is no place for it any more is forgotten.
    pub(crate) async fn left(&self, node: NodeId, epoch: NodeEpoch) {
        let image = self.quorum.image();
        if !image.nodes.get(&node).is_some_and(|n| n.scaled_in && n.epoch == epoch)
            || image.needs(node).is_some()
        {
            return;
        }
        match self.quorum.propose(Command::RetireNode { node, epoch }).await.map(|proposed| proposed.result) {
            Ok(Ok(_)) => {
                tracing::info!(%node, "a drained storage node left for good");
                self.orders.iter().for_each(|orders| orders.tell(node, Notice::Drained));
            }
            other => tracing::warn!(%node, ?other, "a drained storage node could not be forgotten"),
        }
    }
}

impl Asks {
    /// Another node that was let go just now and that the image shows as active still: two at once could be one too many.
    fn still_counted(&self, image: &Image, node: NodeId, now_ms: u64) -> Option<NodeId> {
        let (other, at) = self.granted?;
        let is_active = image.nodes.get(&other).is_some_and(|n| n.state == NodeState::Active);
        (other != node && is_active && now_ms.saturating_sub(at) <= ALL_GO_MS).then_some(other)
    }

    /// Whether everybody stops: then nobody comes back for whom it would be worth to wait.
    fn all_go(&self, image: &Image, now_ms: u64) -> bool {
        let (mut active, mut asking) = (0, 0);
        for node in image.active_nodes() {
            active += 1;
            asking += usize::from(self.by_node.contains_key(&node.id));
        }
        let just_granted = self.granted.is_some_and(|(_, at)| now_ms.saturating_sub(at) <= ALL_GO_MS);
        active == asking && (active > 1 || just_granted || image.nodes.len() == 1)
    }
}

fn reason(held: &Held) -> String {
    let Held { topic, partition, in_sync, needed } = held;
    format!("{topic}-{partition} to have {needed} other replicas in sync, it has {in_sync}")
}

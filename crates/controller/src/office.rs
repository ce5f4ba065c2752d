use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use domain::{ClusterId, NodeEpoch, NodeId, PartitionIndex, TopicName};
use metadata::{Applied, Command, ElectionKind, Image, Liveness, LivenessConfig};
use parking_lot::Mutex;
use quorum::Quorum;
use tokio_util::sync::CancellationToken;

/// What the leader does unasked: it names the cluster, keeps the nodes' deadlines, and fences those who miss
/// them.
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
    calm: Calm,
}

/// Since when each node has been active without a break, as far as this leader saw it.
#[derive(Default)]
struct Calm {
    since: BTreeMap<NodeId, (NodeEpoch, u64)>,
    looked_ms: u64,
    /// How many partitions nobody led when it was looked last.
    leaderless: usize,
}

/// How many partitions have no leader; on the controllers' leader.
const LEADERLESS: &str = "anabranch_controller_leaderless_partitions";
/// Whether this controller is the one whose gauges about the cluster count.
const IS_LEADER: &str = "anabranch_controller_is_leader";
const TICK: Duration = Duration::from_millis(50);
/// A majority is asked again this often.
const CONFIRM_EVERY_MS: u64 = 500;
/// Preferred leaders come back in steps this far apart,
const PREFERRED_EVERY_MS: u64 = 1_000;
/// of so many partitions at most,
const PREFERRED_MAX: usize = 200;
/// to nodes that have been active for so long: one that comes and goes would only move leaderships about.
const PREFERRED_CALM_MS: u64 = 5_000;

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
                metrics::gauge!(IS_LEADER).set(0.0);
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
                () = tokio::time::sleep(self.pause()) => {}
            }
        }
    }

    /// Until the next look: a tick, or less where a grace ends before.
    fn pause(&self) -> Duration {
        let over_ms = self.term.lock().as_ref().and_then(|t| t.liveness.grace_over_ms());
        let left_ms = over_ms.map(|at| at.saturating_sub(self.now_ms()));
        // One that is over and not acted on waits for the tick: it may not count now.
        left_ms.filter(|left| *left > 0).map_or(TICK, |left| TICK.min(Duration::from_millis(left)))
    }

    /// Starts a term, once the image has everything that was committed before it.
    async fn take_office(&self, number: u64) -> bool {
        let held = self.term.lock().as_ref().map(|t| (t.number, t.confirmed_ms));
        if let Some((held, confirmed_ms)) = held
            && held == number
        {
            // As of when it was asked: the answer may have been on its way for long.
            let asked_ms = self.now_ms();
            if asked_ms.saturating_sub(confirmed_ms) >= CONFIRM_EVERY_MS
                && self.quorum.confirm_leadership().await
            {
                self.term.lock().as_mut().iter_mut().for_each(|t| t.confirmed_ms = asked_ms);
            }
            return true;
        }
        let asked_ms = self.now_ms();
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
        let live = image.live_nodes().map(|n| (n.id, n.epoch));
        let liveness = Liveness::take_office(self.config, now_ms, live);
        let calm = Calm { looked_ms: now_ms, ..Calm::default() };
        *self.term.lock() = Some(Term { number, liveness, confirmed_ms: asked_ms, calm });
        metrics::gauge!(IS_LEADER).set(1.0);
        tracing::info!(term = number, "this controller leads");
        true
    }

    async fn tick(&self) {
        let now_ms = self.now_ms();
        let image = self.quorum.image();
        let live = image.live_nodes().map(|n| (n.id, n.epoch));
        let due = self.term.lock().as_mut().map(|t| {
            t.liveness.expect(now_ms, live);
            t.liveness.due(now_ms)
        });
        let due = due.unwrap_or_default();
        for fence in &due {
            tracing::warn!(node = %fence.node, epoch = %fence.epoch, reason = ?fence.reason, "fencing a storage node");
        }
        if !due.is_empty() {
            let nodes: Vec<_> = due.iter().map(|fence| (fence.node, fence.epoch)).collect();
            self.fence(&nodes).await;
        }
        let image = self.quorum.image();
        let looked = self.term.lock().as_mut().and_then(|t| {
            t.calm.is_time(now_ms).then(|| {
                t.calm.count_leaderless(&image);
                t.calm.preferred_moves(now_ms, &image)
            })
        });
        let moves = looked.unwrap_or_default();
        if !moves.is_empty() {
            self.elect_preferred(moves).await;
        }
    }

    async fn elect_preferred(&self, partitions: Vec<(TopicName, PartitionIndex)>) {
        let command = Command::ElectLeaders { kind: ElectionKind::Preferred, partitions };
        match self.quorum.propose(command).await.map(|proposed| proposed.result) {
            Ok(Ok(Applied::Elected(results))) => {
                let moved = results.iter().filter(|r| r.is_ok()).count();
                tracing::info!(moved, "preferred leaders lead again");
            }
            Ok(other) => tracing::warn!(?other, "electing preferred leaders came to something else"),
            Err(error) => tracing::warn!(%error, "preferred leaders could not be elected yet"),
        }
    }

    /// Fences the nodes now, all at once. False if that is not known to have happened.
    pub(crate) async fn fence(&self, nodes: &[(NodeId, NodeEpoch)]) -> bool {
        match self.quorum.propose(Command::FenceNodes { nodes: nodes.to_vec() }).await {
            // One that registered anew meanwhile was passed over. Either way these incarnations have no deadline any more.
            Ok(_) => {
                let mut term = self.term.lock();
                let liveness = term.iter_mut().map(|t| &mut t.liveness);
                liveness.for_each(|l| nodes.iter().for_each(|(node, epoch)| l.forget(*node, *epoch)));
                true
            }
            Err(error) => {
                tracing::warn!(?nodes, %error, "nodes could not be fenced yet");
                false
            }
        }
    }

    /// Whether this member is a leader whom a majority confirmed lately, with an image that has everything committed
    /// before. A member that led before it restarted takes itself for the leader until it hears better, and knows nothing.
    pub(crate) fn in_office(&self) -> bool {
        let now_ms = self.now_ms();
        let fresh = |t: &Term| now_ms.saturating_sub(t.confirmed_ms) <= self.config.session_timeout_ms / 2;
        self.term.lock().as_ref().is_some_and(fresh)
    }

    /// The term that this member serves in.
    pub(crate) fn term(&self) -> Option<u64> {
        self.term.lock().as_ref().map(|t| t.number)
    }

    /// A heartbeat came. False when this member is not a leader whom a majority confirmed lately: then nobody
    /// may rely on it.
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

impl Calm {
    fn is_time(&mut self, now_ms: u64) -> bool {
        let due = now_ms.saturating_sub(self.looked_ms) >= PREFERRED_EVERY_MS;
        if due {
            self.looked_ms = now_ms;
        }
        due
    }

    /// Says how many partitions nobody leads, in the metrics, and in the log when there are any.
    fn count_leaderless(&mut self, image: &Image) {
        let all = || image.topics.values().flat_map(|t| t.numbered().map(move |(n, p)| (t, n, p)));
        let leaderless = all().filter(|(.., p)| p.leader.is_none()).count();
        metrics::gauge!(LEADERLESS).set(leaderless as f64);
        if leaderless != std::mem::replace(&mut self.leaderless, leaderless) {
            match all().find(|(.., p)| p.leader.is_none()) {
                None => tracing::info!("every partition has a leader"),
                Some((topic, number, partition)) => {
                    let waits_for: Vec<_> = partition.still_waits_for().map(|n| n.0).collect();
                    tracing::warn!(
                        partitions = leaderless,
                        first = %format!("{}-{number}", topic.name),
                        ?waits_for,
                        eligible = ?partition.elr,
                        "partitions without a leader"
                    );
                }
            }
        }
    }

    /// The next step of bringing preferred leaders back.
    fn preferred_moves(&mut self, now_ms: u64, image: &Image) -> Vec<(TopicName, PartitionIndex)> {
        let since = |node: &metadata::Node| {
            let known = self.since.get(&node.id).filter(|(epoch, _)| *epoch == node.epoch);
            (node.id, known.copied().unwrap_or((node.epoch, now_ms)))
        };
        self.since = image.active_nodes().map(|n| since(n)).collect();
        let is_calm = |node: &NodeId| {
            self.since.get(node).is_some_and(|(_, since)| now_ms.saturating_sub(*since) >= PREFERRED_CALM_MS)
        };
        let mut moves = image.preferred_leader_moves(usize::MAX);
        moves.retain(|(topic, number)| {
            image.partition(topic.as_str(), *number).and_then(|p| p.replicas.first()).is_some_and(is_calm)
        });
        moves.truncate(PREFERRED_MAX);
        moves
    }
}

#[cfg(test)]
mod tests {
    use domain::{DirectoryId, TopicId};
    use metadata::{Endpoint, IsrChange, NodeRegistration, TopicSpec};

    use super::*;

    fn done(image: &mut Image, command: Command) {
        image.apply(&command).result.unwrap();
    }

    /// Node 1 leads t-0 though node 0, the first replica, is active and in sync.
    fn image() -> Image {
        let mut image = Image::default();
        done(&mut image, Command::NameCluster { cluster_id: ClusterId(uuid::Uuid::from_u128(1)) });
        for id in [0, 1] {
            let endpoint = Endpoint { host: "h".to_owned(), port: 1 };
            let registration = NodeRegistration {
                node: NodeId(id),
                cluster_id: None,
                directory: DirectoryId(uuid::Uuid::from_u128(id as u128)),
                kafka: endpoint.clone(),
                http: endpoint,
                rack: None,
                previous_epoch: None,
                intact: false,
                damaged: Vec::new(),
                incarnation: None,
            };
            done(&mut image, Command::RegisterNode(registration));
            done(&mut image, Command::UnfenceNode { node: NodeId(id), epoch: NodeEpoch(id.into()) });
        }
        let topic = TopicId(uuid::Uuid::from_u128(7));
        done(
            &mut image,
            Command::CreateTopic(TopicSpec {
                id: topic,
                name: TopicName::new("t").unwrap(),
                partitions: None,
                replication_factor: None,
                assignments: vec![vec![NodeId(0), NodeId(1)]],
                configs: Default::default(),
            }),
        );
        done(&mut image, Command::FenceNode { node: NodeId(0), epoch: NodeEpoch(0) });
        done(&mut image, Command::UnfenceNode { node: NodeId(0), epoch: NodeEpoch(0) });
        let partition = image.partition("t", PartitionIndex(0)).unwrap();
        let change = IsrChange {
            topic,
            partition: PartitionIndex(0),
            leader_epoch: partition.leader_epoch,
            partition_epoch: partition.epoch,
            isr: vec![(NodeId(0), NodeEpoch(0)), (NodeId(1), NodeEpoch(1))],
        };
        let command =
            Command::AlterPartitions { node: NodeId(1), node_epoch: NodeEpoch(1), changes: vec![change] };
        done(&mut image, command);
        image
    }

    #[test]
    fn a_preferred_leader_comes_back_only_to_a_node_that_has_been_active_for_a_while() {
        let mut image = image();
        let mut calm = Calm::default();
        let mut moved =
            |now_ms, image: &Image| calm.is_time(now_ms) && !calm.preferred_moves(now_ms, image).is_empty();
        assert!((1..6).all(|second| !moved(second * 1_000, &image)));
        assert!(!moved(5_900, &image), "not the time for a step");
        assert!(moved(6_000, &image));
        done(&mut image, Command::StopNode { node: NodeId(0), epoch: NodeEpoch(0) });
        assert!(!moved(7_000, &image));
    }
}

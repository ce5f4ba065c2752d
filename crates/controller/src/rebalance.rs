use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use domain::{NodeEpoch, NodeId, PartitionIndex, TopicName};
use metadata::{
    Applied, BalanceConfig, Command, Image, Move, MoveLimits, NodeState, Pace, PaceConfig, Partition, Plan,
    Topic, Usage, Why,
};
use parking_lot::Mutex;
use quorum::Quorum;
use rpc::pb;
use tokio_util::sync::CancellationToken;

use crate::{office::Office, usage::Book};

/// How replicas are moved.
#[derive(Clone, Copy, Debug)]
pub struct RebalanceConfig {
    /// Whether anything but what drains is moved unasked.
    pub enabled: bool,
    pub pace: PaceConfig,
    /// To a node, and from it, at once.
    pub moves_max: usize,
    pub settle_ms: u64,
    pub away_ms_max: u64,
}

/// Moves replicas to where there is room for them, while this controller leads: it plans anew each second from the image, and
/// begins what there is room for. It keeps nothing that the next leader could not find out.
pub(crate) struct Rebalancer {
    quorum: Arc<Quorum>,
    config: RebalanceConfig,
    started: Instant,
    state: Mutex<State>,
}

struct State {
    term: Option<u64>,
    book: Book,
    pace: Pace,
    /// How long each node's producers waited lately, in microseconds, and when it said so.
    waits: BTreeMap<NodeId, (u64, u64)>,
    /// Since when each node has been active, or not.
    seen: BTreeMap<NodeId, Seen>,
    plan: Plan,
    /// What comes in a second, over the last ones.
    bytes_per_second: u64,
    counted: (u64, u64),
    /// What each draining node still has.
    left: BTreeMap<NodeId, Left>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Seen {
    epoch: NodeEpoch,
    active: bool,
    since_ms: u64,
}

/// What a plan is made from.
struct Observed {
    usage: Usage,
    /// Nodes that have not been active for long, and those that have been for a while.
    away: BTreeSet<NodeId>,
    settled: BTreeSet<NodeId>,
    bytes_per_second: u64,
}

/// What a node has to give away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) replicas: u32,
    pub(crate) bytes: u64,
    pub(crate) seconds: Option<u64>,
}

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Partitions that get another preferred leader at once.
const LEADERS_MAX: usize = 200;
/// What a node said of its producers counts for so long.
const WAIT_COUNTS_MS: u64 = 3_000;
/// The rate is a mean over about so many looks.
const RATE_LOOKS: u64 = 4;
/// How much may be on its way to a node at once: what it takes in this many seconds.
const AHEAD_SECONDS: u64 = 20;
/// Large partitions move one at a time, and each at least.
const AHEAD_BYTES_MIN: u64 = 1 << 30;

impl State {
    fn new(config: RebalanceConfig, term: Option<u64>, book: u64) -> Self {
        Self {
            term,
            book: Book::new(book),
            pace: Pace::new(config.pace),
            waits: BTreeMap::new(),
            seen: BTreeMap::new(),
            plan: Plan::default(),
            bytes_per_second: 0,
            counted: (0, 0),
            left: BTreeMap::new(),
        }
    }
}

impl Rebalancer {
    pub(crate) fn new(quorum: Arc<Quorum>, config: RebalanceConfig) -> Self {
        let state = Mutex::new(State::new(config, None, 1));
        Self { quorum, config, started: Instant::now(), state }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Runs until the token is cancelled.
    pub(crate) async fn run(self: Arc<Self>, office: Arc<Office>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            if let Some(term) = office.term().filter(|_| office.in_office()) {
                self.serve(term);
                self.look().await;
            }
        }
    }

    /// Begins anew with each term.
    fn serve(&self, term: u64) {
        let mut state = self.state.lock();
        if state.term != Some(term) {
            let book = uuid::Uuid::new_v4().as_u64_pair().0;
            *state = State::new(self.config, Some(term), book);
        }
    }

    /// A node told how full it is.
    ///
    /// # Errors
    /// A topic id that is none.
    pub(crate) fn take_report(&self, report: &pb::ReportUsageRequest) -> Result<u64, uuid::Error> {
        self.state.lock().book.take(report)
    }

    /// A node's producers waited so long lately.
    pub(crate) fn heard(&self, node: NodeId, wait_us: u64) {
        let now_ms = self.now_ms();
        self.state.lock().waits.insert(node, (wait_us, now_ms));
    }

    /// What a node may take in now, in bytes a second.
    pub(crate) fn bytes_per_second_max(&self) -> u64 {
        self.state.lock().pace.bytes_per_second()
    }

    pub(crate) fn left(&self, node: NodeId) -> Option<Left> {
        self.state.lock().left.get(&node).copied()
    }

    pub(crate) fn usage(&self) -> Usage {
        self.state.lock().book.usage().clone()
    }

    fn pace_config(&self, image: &Image) -> PaceConfig {
        let set = image.rebalance.bytes_per_second_max;
        let bytes_per_second_max = set.unwrap_or(self.config.pace.bytes_per_second_max).max(1);
        let bytes_per_second_min = self.config.pace.bytes_per_second_min.min(bytes_per_second_max);
        PaceConfig { bytes_per_second_min, bytes_per_second_max }
    }

    async fn look(&self) {
        let image = self.quorum.image();
        // Hundreds of milliseconds, where much is to move among many partitions: heartbeats are answered meanwhile.
        let (cancel, begin) = tokio::task::block_in_place(|| self.decide(&image));
        if !cancel.is_empty() {
            let changes = cancel.into_iter().map(|(topic, number)| (topic, number, None));
            self.reassign(changes.collect(), "moves that led nowhere were cancelled").await;
        }
        if !begin.is_empty() {
            let changes = begin.into_iter().map(|m| (m.topic, m.partition, Some(m.to)));
            self.reassign(changes.collect(), "moving replicas").await;
        }
    }

    /// What to cancel and what to begin. Planning is done beside the lock, which every heartbeat takes.
    fn decide(&self, image: &Image) -> (Vec<(TopicName, PartitionIndex)>, Vec<Move>) {
        let moves = reassigning(image).count();
        let Observed { usage, away, settled, bytes_per_second } = self.observe(image, moves);
        let mut cancel = image.dead_ends(&away);
        // What somebody has asked for by hand may lead away from what is even: it is let be.
        cancel.retain(|(topic, number)| goes_nowhere(image, &away, topic, *number));
        let plan = image.plan(&usage, &BalanceConfig::default());
        // Who has just come may go again: only what drains does not wait for it.
        let unasked = self.config.enabled && image.active_nodes().all(|n| settled.contains(&n.id));
        let now = Plan {
            moves: plan.moves.iter().filter(|m| unasked || m.why == Why::Drain).cloned().collect(),
            stuck: Vec::new(),
        };
        let limits = MoveLimits {
            moves_per_node_max: self.config.moves_max,
            bytes_per_node_max: (bytes_per_second * AHEAD_SECONDS).max(AHEAD_BYTES_MIN),
            leaders_max: LEADERS_MAX,
        };
        // Nothing, while it is paused.
        let begin = image.next_moves(&now, &usage, &limits);
        let mut state = self.state.lock();
        state.plan = plan;
        state.left = left(image, &state);
        report(image, &state, moves);
        (cancel, begin)
    }

    /// Takes a second's look at what nodes told.
    fn observe(&self, image: &Image, moves: usize) -> Observed {
        let now_ms = self.now_ms();
        let pace = self.pace_config(image);
        let mut state = self.state.lock();
        state.book.keep(image);
        state.see(image, now_ms);
        state.waits.retain(|_, (_, at_ms)| now_ms.saturating_sub(*at_ms) <= WAIT_COUNTS_MS);
        let wait_us = state.waits.values().map(|(wait_us, _)| *wait_us).max();
        state.pace.look(wait_us, moves > 0, pace);
        state.count(now_ms);
        Observed {
            usage: state.book.usage().clone(),
            away: state.nodes(|seen| !seen.active, now_ms, self.config.away_ms_max),
            settled: state.nodes(|seen| seen.active, now_ms, self.config.settle_ms),
            bytes_per_second: state.pace.bytes_per_second(),
        }
    }

    async fn reassign(&self, changes: Vec<(TopicName, PartitionIndex, Option<Vec<NodeId>>)>, what: &str) {
        match self.quorum.propose(Command::Reassign { changes }).await.map(|proposed| proposed.result) {
            Ok(Ok(Applied::Reassigned(results))) => {
                let begun = results.iter().filter(|r| r.is_ok()).count();
                tracing::info!(partitions = begun, "{what}");
                for refusal in results.iter().filter_map(|r| r.as_ref().err()) {
                    tracing::warn!(%refusal, "a replica could not be moved");
                }
            }
            Ok(other) => tracing::warn!(?other, "moving replicas came to something else"),
            Err(error) => tracing::warn!(%error, "replicas could not be moved yet"),
        }
    }

    /// Moves under way that were to take replicas off this node go back.
    pub(crate) async fn take_back(&self, node: NodeId) {
        let image = self.quorum.image();
        let away = reassigning(&image).filter(|(.., p)| p.removing.contains(&node));
        let changes: Vec<_> = away.map(|(topic, number, _)| (topic.name.clone(), number, None)).collect();
        if !changes.is_empty() {
            self.reassign(changes, "moves off a node that stays were cancelled").await;
        }
    }

    /// Cancels every move that is under way; how many there were.
    pub(crate) async fn cancel_all(&self) -> usize {
        let image = self.quorum.image();
        let all = reassigning(&image).map(|(topic, number, _)| (topic.name.clone(), number, None));
        let changes: Vec<_> = all.collect();
        let count = changes.len();
        if count > 0 {
            self.reassign(changes, "moves were cancelled").await;
        }
        count
    }

    pub(crate) fn describe(&self, image: &Image, planned: bool) -> pb::DescribeRebalanceResponse {
        let state = self.state.lock();
        let under_way = reassigning(image).map(|(topic, number, partition)| {
            let size = state.book.size(topic.id, number);
            let came: u64 = partition.adding.iter().map(|n| state.book.came(*n, topic.id, number)).sum();
            let bytes = size.saturating_mul(u64::try_from(partition.adding.len()).unwrap_or(u64::MAX));
            let drains = partition.removing.iter().any(|n| image.nodes.get(n).is_some_and(|n| n.draining));
            let why = if drains { Why::Drain.to_string() } else { String::new() };
            let (from, to) = (partition.original_replicas(), partition.target_replicas());
            moved(&topic.name, number, (&from, &to), (bytes, bytes.saturating_sub(came)), why)
        });
        let under_way: Vec<pb::Move> = under_way.collect();
        let plan = &state.plan;
        let to_come: u64 = plan.moves.iter().map(|m| m.bytes).sum();
        let bytes_left = under_way.iter().map(|m| m.bytes_left).sum::<u64>().saturating_add(to_come);
        let planned =
            plan.moves.iter().filter(|_| planned).map(|m| {
                moved(&m.topic, m.partition, (&m.from, &m.to), (m.bytes, m.bytes), m.why.to_string())
            });
        let stuck = plan.stuck.iter().map(|stuck| pb::StuckReplica {
            partition: Some(topic_partition(&stuck.topic, stuck.partition)),
            node: stuck.node.0,
            reason: stuck.reason.to_string(),
        });
        pb::DescribeRebalanceResponse {
            paused: image.rebalance.paused,
            bytes_per_second_set: image.rebalance.bytes_per_second_max,
            bytes_per_second_max: state.pace.bytes_per_second(),
            bytes_per_second: state.bytes_per_second,
            planned: planned.collect(),
            moves_planned: u32::try_from(plan.moves.len()).unwrap_or(u32::MAX),
            bytes_left,
            seconds_left: seconds(bytes_left, state.bytes_per_second),
            stuck: stuck.collect(),
            nodes: node_usages(image, &state),
            under_way,
        }
    }
}

impl State {
    /// Notes since when each node has been as it is.
    fn see(&mut self, image: &Image, now_ms: u64) {
        let now = image.nodes.values().map(|node| {
            let active = node.state == NodeState::Active;
            let known = self
                .seen
                .get(&node.id)
                .filter(|s| (s.epoch, s.active) == (node.epoch, active) || !(s.active || active));
            (node.id, known.copied().unwrap_or(Seen { epoch: node.epoch, active, since_ms: now_ms }))
        });
        self.seen = now.collect();
    }

    fn nodes(&self, fits: impl Fn(&Seen) -> bool, now_ms: u64, for_ms: u64) -> BTreeSet<NodeId> {
        let long = |seen: &Seen| now_ms.saturating_sub(seen.since_ms) >= for_ms;
        self.seen.iter().filter(|(_, seen)| fits(seen) && long(seen)).map(|(node, _)| *node).collect()
    }

    /// Follows how much comes in a second.
    fn count(&mut self, now_ms: u64) {
        let (then_ms, then_bytes) = std::mem::replace(&mut self.counted, (now_ms, self.book.came_bytes()));
        let passed_ms = now_ms.saturating_sub(then_ms).max(1);
        let rate = self.book.came_bytes().saturating_sub(then_bytes).saturating_mul(1_000) / passed_ms;
        self.bytes_per_second =
            self.bytes_per_second - self.bytes_per_second / RATE_LOOKS + rate / RATE_LOOKS;
    }
}

/// Whether the partition is being moved to a node that will not take it.
fn goes_nowhere(image: &Image, away: &BTreeSet<NodeId>, topic: &TopicName, number: PartitionIndex) -> bool {
    let takes =
        |node: &NodeId| !away.contains(node) && image.nodes.get(node).is_some_and(|known| !known.draining);
    image.partition(topic.as_str(), number).is_some_and(|p| !p.adding.iter().all(takes))
}

/// The partitions that are given other replicas now.
fn reassigning(image: &Image) -> impl Iterator<Item = (&Topic, PartitionIndex, &Partition)> {
    let all = image.topics.values().flat_map(|t| t.numbered().map(move |(number, p)| (&**t, number, p)));
    all.filter(|(.., p)| p.is_reassigning())
}

/// What each draining node has to give away.
fn left(image: &Image, state: &State) -> BTreeMap<NodeId, Left> {
    let draining: BTreeSet<NodeId> = image.nodes.values().filter(|n| n.draining).map(|n| n.id).collect();
    let mut all: BTreeMap<NodeId, Left> = draining.iter().map(|node| (*node, Left::default())).collect();
    if draining.is_empty() {
        return all;
    }
    for topic in image.topics.values() {
        for (number, partition) in topic.numbered() {
            let came: u64 = partition.adding.iter().map(|n| state.book.came(*n, topic.id, number)).sum();
            for node in partition.replicas.iter().filter(|n| draining.contains(n)) {
                let left = all.entry(*node).or_default();
                left.replicas += 1;
                left.bytes += state.book.size(topic.id, number).saturating_sub(came);
            }
        }
    }
    for left in all.values_mut() {
        left.seconds = seconds(left.bytes, state.bytes_per_second);
    }
    all
}

fn seconds(bytes: u64, bytes_per_second: u64) -> Option<u64> {
    match bytes {
        0 => Some(0),
        bytes => bytes.div_ceil(bytes_per_second.max(1)).into(),
    }
    .filter(|_| bytes == 0 || bytes_per_second > 0)
}

fn topic_partition(topic: &TopicName, partition: PartitionIndex) -> pb::TopicPartition {
    pb::TopicPartition { topic: topic.to_string(), partition: partition.0 }
}

fn moved(
    topic: &TopicName,
    partition: PartitionIndex,
    (from, to): (&[NodeId], &[NodeId]),
    (bytes, bytes_left): (u64, u64),
    why: String,
) -> pb::Move {
    let ids = |nodes: &[NodeId]| nodes.iter().map(|n| n.0).collect();
    pb::Move {
        partition: Some(topic_partition(topic, partition)),
        from: ids(from),
        to: ids(to),
        bytes,
        bytes_left,
        why,
    }
}

fn node_usages(image: &Image, state: &State) -> Vec<pb::NodeUsage> {
    let mut leaders: BTreeMap<NodeId, u32> = BTreeMap::new();
    for partition in image.topics.values().flat_map(|t| t.partitions.iter()) {
        if let Some(leader) = partition.leader {
            *leaders.entry(leader).or_default() += 1;
        }
    }
    let usage = |node: NodeId| {
        let disk = state.book.usage().disks.get(&node);
        let left = state.left.get(&node).copied().unwrap_or_default();
        pb::NodeUsage {
            node: node.0,
            replicas: image.replica_count(node),
            leaders: leaders.get(&node).copied().unwrap_or(0),
            disk_used_bytes: disk.map(|d| d.used_bytes),
            disk_total_bytes: disk.map(|d| d.total_bytes),
            replicas_left: left.replicas,
            bytes_left: left.bytes,
            seconds_left: left.seconds,
        }
    };
    image.nodes.keys().map(|node| usage(*node)).collect()
}

/// What an operator's graphs show.
fn report(image: &Image, state: &State, moves: usize) {
    for name in ["active", "fenced", "stopping", "draining"] {
        let is_so =
            |node: &metadata::Node| node.state.to_string() == name || (name == "draining" && node.draining);
        let count = image.nodes.values().filter(|n| is_so(n)).count();
        metrics::gauge!("anabranch_controller_nodes", "state" => name).set(count as f64);
    }
    let partitions = || image.topics.values().flat_map(|t| t.partitions.iter());
    let under_replicated = partitions().filter(|p| p.isr.len() < p.target_replicas().len()).count();
    metrics::gauge!("anabranch_controller_under_replicated_partitions").set(under_replicated as f64);
    let under_min_isr = partitions().filter(|p| p.isr.len() < p.min_isr as usize).count();
    metrics::gauge!("anabranch_controller_under_min_isr_partitions").set(under_min_isr as f64);
    metrics::gauge!("anabranch_controller_moves", "state" => "under_way").set(moves as f64);
    metrics::gauge!("anabranch_controller_moves", "state" => "planned").set(state.plan.moves.len() as f64);
    let to_come: u64 = state.plan.moves.iter().map(|m| m.bytes).sum();
    let under_way: u64 = reassigning(image)
        .map(|(topic, number, partition)| {
            let size = state.book.size(topic.id, number);
            let left = |n: &NodeId| size.saturating_sub(state.book.came(*n, topic.id, number));
            partition.adding.iter().map(left).sum::<u64>()
        })
        .sum();
    metrics::gauge!("anabranch_controller_move_bytes_left").set((to_come + under_way) as f64);
    for (node, disk) in &state.book.usage().disks {
        let gauge = |kind: &'static str, bytes: u64| {
            metrics::gauge!("anabranch_controller_node_disk_bytes", "node" => node.to_string(), "kind" => kind)
                .set(bytes as f64);
        };
        gauge("used", disk.used_bytes);
        gauge("total", disk.total_bytes);
    }
}

//! Who may stop, with somebody who knows why nodes stop.

use std::collections::BTreeMap;

use domain::{ClusterId, ConfigOverrides, DirectoryId, PartitionIndex, TopicId, TopicName};
use metadata::{Endpoint, IsrChange, NodeRegistration, PaceConfig, TopicSpec};
use quorum::QuorumConfig;
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::{peers::GrpcPeers, rebalance::RebalanceConfig};

const WITHIN: Duration = Duration::from_secs(10);

/// What the set of nodes is said to be, and what was told.
#[derive(Default)]
struct Told {
    stops: Mutex<BTreeMap<NodeId, Stop>>,
    notices: Mutex<Vec<(i32, Notice)>>,
}

#[tonic::async_trait]
impl Orders for Told {
    async fn why_it_stops(&self, node: NodeId) -> Stop {
        self.stops.lock().get(&node).copied().unwrap_or(Stop::Unknown)
    }

    async fn zone_of(&self, _: &str) -> Result<Option<String>, String> {
        Ok(None)
    }

    fn tell(&self, node: NodeId, notice: Notice) {
        self.notices.lock().push((node.0, notice));
    }
}

struct Fixture {
    leaving: Leaving,
    told: Arc<Told>,
    _folder: TempDir,
}

impl Fixture {
    /// A controller with active nodes, and the partition t-0 on the first of them.
    async fn new(nodes: i32, replicas: &[i32]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = QuorumConfig::new(folder.path().to_owned(), 0);
        let quorum = Arc::new(Quorum::open(config, 7, Arc::new(GrpcPeers::default())).await.unwrap());
        let me = [(7, quorum::Member { ordinal: 0, address: "h:1".to_owned() })];
        quorum.initialize(me.into_iter().collect()).await.unwrap();
        let leads = async {
            while !quorum.confirm_leadership().await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(WITHIN, leads).await.expect("a group of one has a leader");
        let pace = PaceConfig { bytes_per_second_min: 1, bytes_per_second_max: 1 };
        let config =
            RebalanceConfig { enabled: true, pace, moves_max: 8, settle_ms: 0, away_ms_max: 1_000_000 };
        let rebalancer = Arc::new(Rebalancer::new(quorum.clone(), config));
        let told = Arc::new(Told::default());
        let orders: Arc<dyn Orders> = told.clone();
        let fixture = Self { leaving: Leaving::new(quorum, rebalancer, Some(orders)), told, _folder: folder };
        fixture.done(Command::NameCluster { cluster_id: ClusterId(Uuid::from_u128(1)) }).await;
        for id in 0..nodes {
            fixture.register(id).await;
        }
        fixture.create_topic(replicas).await;
        fixture
    }

    async fn done(&self, command: Command) {
        self.leaving.quorum.propose(command).await.unwrap().result.unwrap();
    }

    async fn register(&self, id: i32) {
        let endpoint = Endpoint { host: "h".to_owned(), port: 1 };
        let registration = NodeRegistration {
            node: NodeId(id),
            cluster_id: None,
            directory: DirectoryId(Uuid::from_u128(100 + u128::try_from(id).unwrap())),
            kafka: endpoint.clone(),
            http: endpoint,
            rack: None,
            previous_epoch: None,
            intact: false,
            damaged: Vec::new(),
            incarnation: None,
        };
        self.done(Command::RegisterNode(registration)).await;
        self.done(Command::UnfenceNode { node: NodeId(id), epoch: self.epoch(id) }).await;
    }

    async fn create_topic(&self, replicas: &[i32]) {
        let spec = TopicSpec {
            id: TopicId(Uuid::from_u128(5)),
            name: TopicName::new("t").unwrap(),
            partitions: None,
            replication_factor: None,
            assignments: vec![replicas.iter().copied().map(NodeId).collect()],
            configs: ConfigOverrides::new(),
        };
        self.done(Command::CreateTopic(spec)).await;
    }

    fn image(&self) -> Arc<Image> {
        self.leaving.quorum.image()
    }

    fn epoch(&self, id: i32) -> NodeEpoch {
        self.image().nodes[&NodeId(id)].epoch
    }

    fn says(&self, id: i32, stop: Stop) {
        self.told.stops.lock().insert(NodeId(id), stop);
    }

    async fn look(&self) {
        self.leaving.look(&*self.told).await;
    }

    /// Asks once: `None` if the node may stop, else what it waits for, and whether it drains.
    fn ask(&self, id: i32) -> Option<(String, bool)> {
        match self.leaving.ask(&self.image(), NodeId(id), self.epoch(id)) {
            Verdict::May => None,
            Verdict::Waits(leaving) => Some((leaving.waits_for, leaving.drains)),
        }
    }

    fn drains(&self, id: i32) -> bool {
        let image = self.image();
        let node = &image.nodes[&NodeId(id)];
        node.draining && node.scaled_in
    }

    /// All that the node had is on another one.
    async fn moves(&self, to: &[i32]) {
        let target = to.iter().copied().map(NodeId).collect();
        let t = TopicName::new("t").unwrap();
        self.done(Command::Reassign { changes: vec![(t, PartitionIndex(0), Some(target))] }).await;
        let image = self.image();
        let partition = image.partition("t", PartitionIndex(0)).unwrap();
        let leader = partition.leader.unwrap();
        let isr = partition.replicas.iter().map(|n| (*n, image.nodes[n].epoch)).collect();
        let change = IsrChange {
            topic: TopicId(Uuid::from_u128(5)),
            partition: PartitionIndex(0),
            leader_epoch: partition.leader_epoch,
            partition_epoch: partition.epoch,
            isr,
        };
        let node_epoch = image.nodes[&leader].epoch;
        self.done(Command::AlterPartitions { node: leader, node_epoch, changes: vec![change] }).await;
    }

    fn notices(&self) -> Vec<(i32, Notice)> {
        std::mem::take(&mut *self.told.notices.lock())
    }
}

#[tokio::test]
async fn a_node_that_there_is_no_place_for_any_more_drains_leaves_and_is_forgotten() {
    let fixture = Fixture::new(4, &[3, 0]).await;
    fixture.says(3, Stop::ScaleIn);
    let (why, _) = fixture.ask(3).unwrap();
    assert!(why.contains("whether the node comes back"), "{why}");
    fixture.look().await;
    assert!(fixture.drains(3));
    let begun = Notice::DrainStarted("1 replicas, 0 bytes have to move".to_owned());
    assert_eq!(fixture.notices(), [(3, begun)]);
    let (why, drains) = fixture.ask(3).unwrap();
    assert!(drains && why.starts_with("t-0"), "{why}");
    assert_eq!(fixture.image().nodes[&NodeId(3)].state, NodeState::Active, "it serves meanwhile");
    fixture.moves(&[1, 0]).await;
    assert_eq!(fixture.ask(3), None);
    let epoch = fixture.epoch(3);
    fixture.done(Command::FenceNodes { nodes: vec![(NodeId(3), epoch)] }).await;
    fixture.leaving.left(NodeId(3), epoch).await;
    assert!(!fixture.image().nodes.contains_key(&NodeId(3)));
    assert_eq!(fixture.notices(), [(3, Notice::Drained)]);
}

#[tokio::test]
async fn a_set_that_grows_again_takes_the_drain_back() {
    let fixture = Fixture::new(4, &[3, 0]).await;
    fixture.says(3, Stop::ScaleIn);
    fixture.ask(3);
    fixture.look().await;
    assert!(fixture.drains(3));
    fixture.says(3, Stop::Unknown);
    fixture.look().await;
    assert!(fixture.drains(3), "nobody said so");
    fixture.says(3, Stop::Restart);
    fixture.look().await;
    assert!(!fixture.drains(3));
    assert_eq!(fixture.notices().pop(), Some((3, Notice::DrainCancelled)));
    // It is stopped nevertheless, and comes back: a restart.
    fixture.ask(3);
    fixture.look().await;
    assert_eq!(fixture.ask(3), None);
    fixture.leaving.left(NodeId(3), fixture.epoch(3)).await;
    assert!(fixture.image().nodes.contains_key(&NodeId(3)));
}

#[tokio::test]
async fn a_scale_in_that_costs_a_replica_is_refused_and_is_a_restart() {
    let fixture = Fixture::new(3, &[0, 1, 2]).await;
    fixture.says(2, Stop::ScaleIn);
    fixture.ask(2);
    fixture.look().await;
    assert!(!fixture.drains(2));
    let notices = fixture.notices();
    let [(2, Notice::DrainRefused(why))] = &notices[..] else { panic!("{notices:?}") };
    assert!(why.contains("'t'"), "{why}");
    assert_eq!(fixture.ask(2), None, "as any restart");
}

#[tokio::test]
async fn an_operators_drain_is_not_taken_back_by_a_restart() {
    let fixture = Fixture::new(4, &[3, 0]).await;
    fixture.done(Command::SetDraining { node: NodeId(3), draining: true, scaled_in: false }).await;
    fixture.says(3, Stop::Restart);
    fixture.look().await;
    assert!(fixture.image().nodes[&NodeId(3)].draining);
    let (_, drains) = fixture.ask(3).unwrap();
    assert!(drains, "who stops it waits until it has nothing");
    fixture.leaving.left(NodeId(3), fixture.epoch(3)).await;
    assert!(fixture.image().nodes.contains_key(&NodeId(3)), "an operator forgets it");
}

/// Both asked before the first was seen to stop, and an ISR of three came down to one.
#[tokio::test]
async fn two_that_ask_at_once_are_not_both_let_go() {
    let fixture = Fixture::new(3, &[0, 1, 2]).await;
    (0..3).for_each(|id| fixture.says(id, Stop::Restart));
    fixture.ask(0);
    fixture.ask(1);
    fixture.look().await;
    assert_eq!(fixture.ask(0), None);
    assert_eq!(fixture.ask(1), Some(("node 0 to stop first".to_owned(), false)));
    fixture.done(Command::StopNode { node: NodeId(0), epoch: fixture.epoch(0) }).await;
    let (why, _) = fixture.ask(1).unwrap();
    assert_eq!(why, "t-0 to have 2 other replicas in sync, it has 1");
}

#[tokio::test]
async fn a_restart_waits_for_others_unless_everything_stops() {
    let fixture = Fixture::new(3, &[0, 1, 2]).await;
    (0..3).for_each(|id| fixture.says(id, Stop::Restart));
    fixture.done(Command::StopNode { node: NodeId(0), epoch: fixture.epoch(0) }).await;
    fixture.ask(1);
    fixture.look().await;
    let (why, drains) = fixture.ask(1).unwrap();
    assert_eq!((why.as_str(), drains), ("t-0 to have 2 other replicas in sync, it has 1", false));
    fixture.ask(2);
    fixture.look().await;
    assert_eq!((fixture.ask(1), fixture.ask(2)), (None, None), "all that are left ask");
}

//! What commands do to an image.

mod balance;
mod elections;
mod isr;
mod leaving;
mod nodes;
mod preferred;
mod properties;
mod reassignment;
mod recovery;
mod topics;

use domain::{
    ClusterId, ConfigOverrides, DirectoryId, LeaderEpoch, NodeEpoch, NodeId, Offset, PartitionIndex, TopicId,
    TopicName,
};
use uuid::Uuid;

use crate::{
    AlterRefusalKind, Applied, Command, ConfigChange, ConfigOperation, ElectRefusalKind, ElectionKind,
    Endpoint, Image, IsrChange, NodeRegistration, NodeState, Partition, RefusalKind, ReplicaReport, Standing,
    TopicSpec,
};

/// A first registration: the folder was formatted just now.
fn registration(node: i32, directory: u128) -> NodeRegistration {
    let endpoint = |port| Endpoint { host: format!("node-{node}"), port };
    NodeRegistration {
        node: NodeId(node),
        cluster_id: None,
        directory: directory_id(directory),
        kafka: endpoint(9092),
        http: endpoint(9600),
        rack: None,
        previous_epoch: None,
        intact: false,
        damaged: Vec::new(),
        incarnation: None,
    }
}

fn directory_id(directory: u128) -> DirectoryId {
    DirectoryId(Uuid::from_u128(directory))
}

fn name(name: &str) -> TopicName {
    TopicName::new(name).unwrap()
}

fn topic(id: u128, topic: &str, partitions: i32) -> TopicSpec {
    TopicSpec {
        id: TopicId(Uuid::from_u128(id)),
        name: name(topic),
        partitions: Some(partitions),
        replication_factor: Some(1),
        assignments: vec![],
        configs: Default::default(),
    }
}

fn nodes(ids: &[i32]) -> Vec<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}

fn done(image: &mut Image, command: Command) -> Applied {
    image.apply(&command).result.unwrap()
}

fn refused(image: &mut Image, command: Command) -> RefusalKind {
    let before = image.clone();
    let outcome = image.apply(&command);
    assert_eq!(*image, before, "a refused command changes nothing");
    assert!(outcome.changes.is_empty());
    outcome.result.unwrap_err().kind
}

/// A cluster with active nodes 0 to `nodes` - 1, whose epochs are their ids.
fn cluster(nodes: i32) -> Image {
    let mut image = Image::default();
    done(&mut image, Command::NameCluster { cluster_id: ClusterId(Uuid::from_u128(1)) });
    for node in 0..nodes {
        done(&mut image, Command::RegisterNode(registration(node, 100 + node as u128)));
        done(&mut image, Command::UnfenceNode { node: NodeId(node), epoch: NodeEpoch(node.into()) });
    }
    image
}

/// A cluster of `replicas` active nodes with the one partition t-0 on all of them, led by node 0.
fn replicated(replicas: i32, min_isr: u32) -> Image {
    let mut image = cluster(replicas);
    let spec = TopicSpec {
        partitions: None,
        replication_factor: None,
        assignments: vec![(0..replicas).map(NodeId).collect()],
        configs: ConfigOverrides::from([("min.insync.replicas".to_owned(), min_isr.to_string())]),
        ..topic(7, "t", 1)
    };
    done(&mut image, Command::CreateTopic(spec));
    image
}

fn t0(image: &Image) -> &Partition {
    image.partition("t", PartitionIndex(0)).unwrap()
}

/// Leader (-1: none), ISR and ELR of t-0.
fn state(image: &Image) -> (i32, Vec<i32>, Vec<i32>) {
    let ids = |nodes: &[NodeId]| nodes.iter().map(|n| n.0).collect();
    let partition = t0(image);
    (partition.leader.map_or(-1, |n| n.0), ids(&partition.isr), ids(&partition.elr))
}

/// Those of t-0 that are waited for.
fn last_known(image: &Image) -> Vec<i32> {
    t0(image).last_known.iter().filter(|k| k.waited_for).map(|k| k.node.0).collect()
}

fn epoch_of(image: &Image, node: i32) -> NodeEpoch {
    image.nodes.get(&NodeId(node)).map_or(NodeEpoch(-1), |n| n.epoch)
}

fn fence(image: &mut Image, node: i32) {
    let epoch = epoch_of(image, node);
    done(image, Command::FenceNode { node: NodeId(node), epoch });
}

fn unfence(image: &mut Image, node: i32) {
    let epoch = epoch_of(image, node);
    done(image, Command::UnfenceNode { node: NodeId(node), epoch });
}

fn stop(image: &mut Image, node: i32) {
    let epoch = epoch_of(image, node);
    done(image, Command::StopNode { node: NodeId(node), epoch });
}

fn register(image: &mut Image, registration: NodeRegistration) -> Standing {
    match done(image, Command::RegisterNode(registration)) {
        Applied::Registered { standing, .. } => standing,
        other => panic!("{other:?}"),
    }
}

/// What the node says when it comes back on its disk, having lost nothing.
fn back(image: &Image, node: i32) -> NodeRegistration {
    let known = &image.nodes[&NodeId(node)];
    NodeRegistration {
        directory: known.directory,
        previous_epoch: Some(known.epoch),
        intact: true,
        damaged: Vec::new(),
        incarnation: None,
        ..registration(node, 0)
    }
}

/// The node's process died and starts again: the page cache is still there.
fn restart(image: &mut Image, node: i32) {
    let registration = back(image, node);
    assert_eq!(register(image, registration), Standing::Kept);
}

/// The node's machine lost its power and starts again.
fn power_cut(image: &mut Image, node: i32) {
    let registration = NodeRegistration { intact: false, ..back(image, node) };
    assert_eq!(register(image, registration), Standing::NotIntact);
}

/// The node comes back with an empty disk.
fn wipe(image: &mut Image, node: i32) {
    let directory = image.nodes[&NodeId(node)].directory.0.as_u128() + 1_000;
    assert_eq!(register(image, registration(node, directory)), Standing::OtherDirectory);
}

/// What the leader of t-0 proposes, with the epochs as they are.
fn proposal(image: &Image, isr: &[i32]) -> IsrChange {
    let partition = t0(image);
    IsrChange {
        topic: image.topics["t"].id,
        partition: PartitionIndex(0),
        leader_epoch: partition.leader_epoch,
        partition_epoch: partition.epoch,
        isr: isr.iter().map(|n| (NodeId(*n), epoch_of(image, *n))).collect(),
    }
}

fn alter(image: &mut Image, sender: i32, change: IsrChange) -> Result<Partition, AlterRefusalKind> {
    let node_epoch = epoch_of(image, sender);
    let command = Command::AlterPartitions { node: NodeId(sender), node_epoch, changes: vec![change] };
    let before = image.clone();
    let outcome = image.apply(&command);
    let Applied::Altered(results) = outcome.result.unwrap() else { panic!() };
    match results.into_iter().next().unwrap() {
        Ok(partition) => {
            assert_eq!(t0(image), &partition, "the answer carries the whole new state");
            Ok(partition)
        }
        Err(refusal) => {
            assert_eq!(*image, before, "a refused proposal changes nothing");
            assert!(outcome.changes.is_empty());
            Err(refusal.kind)
        }
    }
}

/// The leader of t-0 proposes this ISR.
fn propose(image: &mut Image, isr: &[i32]) -> Result<Partition, AlterRefusalKind> {
    let leader = t0(image).leader.unwrap().0;
    let change = proposal(image, isr);
    alter(image, leader, change)
}

/// The node says where its log of t-0 ends, all of it of one epoch (-1: none).
fn report(image: &mut Image, node: i32, last_epoch: i32, log_end: i64) {
    let epochs = if last_epoch < 0 { vec![] } else { vec![(last_epoch, 0)] };
    report_epochs(image, node, &epochs, log_end);
}

fn report_epochs(image: &mut Image, node: i32, epochs: &[(i32, i64)], log_end: i64) {
    report_from(image, node, 0, epochs, log_end);
}

fn report_from(image: &mut Image, node: i32, log_start: i64, epochs: &[(i32, i64)], log_end: i64) {
    let (epoch, topic) = (epoch_of(image, node), image.topics["t"].id);
    let epochs = epochs.iter().map(|(epoch, start)| (LeaderEpoch(*epoch), Offset(*start))).collect();
    let (partition, log_start, log_end) = (PartitionIndex(0), Offset(log_start), Offset(log_end));
    let leader_epoch = t0(image).leader_epoch;
    let end = ReplicaReport { topic, partition, leader_epoch, log_start, log_end, epochs };
    done(image, Command::ReportReplicas { node: NodeId(node), epoch, ends: vec![end] });
}

fn elect(image: &mut Image, kind: ElectionKind) -> Result<(), ElectRefusalKind> {
    let partitions = vec![(name("t"), PartitionIndex(0))];
    let Applied::Elected(results) = done(image, Command::ElectLeaders { kind, partitions }) else { panic!() };
    results.into_iter().next().unwrap().map_err(|refusal| refusal.kind)
}

fn reassign(image: &mut Image, target: Option<&[i32]>) -> Result<(), RefusalKind> {
    let changes = vec![(name("t"), PartitionIndex(0), target.map(nodes))];
    let Applied::Reassigned(results) = done(image, Command::Reassign { changes }) else { panic!() };
    results.into_iter().next().unwrap().map_err(|refusal| refusal.kind)
}

/// Sets a topic's setting, or with `None` the default of all topics.
fn configure(image: &mut Image, topic: Option<&str>, setting: &str, value: &str) {
    let change = ConfigChange { name: setting.to_owned(), operation: ConfigOperation::Set(value.to_owned()) };
    done(image, Command::AlterConfigs { topic: topic.map(name), changes: vec![change] });
}

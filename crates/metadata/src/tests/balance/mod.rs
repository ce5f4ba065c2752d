//! Which replicas move when nodes come, go and fill up.

mod dead_ends;
mod drains;
mod goals;
mod limits;
mod properties;
mod simulation;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::*;
use crate::{BalanceConfig, Disk, Move, MoveLimits, Plan, Stuck, StuckReason, Usage, Why};

const GIB: u64 = 1 << 30;

/// Active nodes from 0 on, in these racks.
fn in_racks(racks: &[&str]) -> Image {
    let mut image = cluster(0);
    racks.iter().for_each(|rack| join(&mut image, Some(rack)));
    image
}

/// One more active node.
fn join(image: &mut Image, rack: Option<&str>) {
    let node = i32::try_from(image.nodes.len()).unwrap();
    let rack = rack.map(str::to_owned);
    done(image, Command::RegisterNode(NodeRegistration { rack, ..registration(node, 100 + node as u128) }));
    unfence(image, node);
}

/// A topic whose partitions are on these nodes.
fn assign(image: &mut Image, topic_name: &str, assignments: &[&[i32]]) {
    let id = image.topics.len() as u128 + 1;
    let assignments = assignments.iter().map(|replicas| nodes(replicas)).collect();
    let spec =
        TopicSpec { partitions: None, replication_factor: None, assignments, ..topic(id, topic_name, 1) };
    done(image, Command::CreateTopic(spec));
}

/// A topic that is placed as new ones are.
fn create(image: &mut Image, topic_name: &str, partitions: i32, factor: i16) {
    let id = image.topics.len() as u128 + 1;
    let spec = TopicSpec { replication_factor: Some(factor), ..topic(id, topic_name, partitions) };
    done(image, Command::CreateTopic(spec));
}

fn set_draining(image: &mut Image, node: i32, draining: bool) {
    Arc::make_mut(image.nodes.get_mut(&NodeId(node)).unwrap()).draining = draining;
}

fn plan(image: &Image) -> Plan {
    image.plan(&Usage::default(), &BalanceConfig::default())
}

/// Topic, partition, from, to and why of each move.
fn told(moves: &[Move]) -> Vec<(String, Vec<i32>, Vec<i32>, Why)> {
    let ids = |nodes: &[NodeId]| nodes.iter().map(|n| n.0).collect();
    let told = |m: &Move| (format!("{}-{}", m.topic, m.partition), ids(&m.from), ids(&m.to), m.why);
    moves.iter().map(told).collect()
}

fn begin(image: &mut Image, next: &Move) {
    let changes = vec![(next.topic.clone(), next.partition, Some(next.to.clone()))];
    let Applied::Reassigned(results) = done(image, Command::Reassign { changes }) else { panic!() };
    assert_eq!(results, [Ok(())], "{next:?}");
}

fn cancel(image: &mut Image, partition: &(TopicName, PartitionIndex)) {
    let changes = vec![(partition.0.clone(), partition.1, None)];
    let Applied::Reassigned(results) = done(image, Command::Reassign { changes }) else { panic!() };
    assert_eq!(results, [Ok(())], "{partition:?}");
}

/// All active replicas have caught up, and the leader takes them in.
fn catch_up(image: &mut Image, topic: &TopicName, number: PartitionIndex) {
    let known = &image.topics[topic];
    let partition = known.partition(number).unwrap();
    let Some(leader) = partition.leader.filter(|n| image.is_active(*n)) else { return };
    let active = |n: &&NodeId| image.is_active(**n);
    let change = IsrChange {
        topic: known.id,
        partition: number,
        leader_epoch: partition.leader_epoch,
        partition_epoch: partition.epoch,
        isr: partition.replicas.iter().filter(active).map(|n| (*n, epoch_of(image, n.0))).collect(),
    };
    let node_epoch = epoch_of(image, leader.0);
    let command = Command::AlterPartitions { node: leader, node_epoch, changes: vec![change] };
    let Applied::Altered(results) = done(image, command) else { panic!() };
    assert!(results[0].is_ok(), "{results:?}");
}

fn carry_out(image: &mut Image, next: &Move) {
    assert_eq!(image.partition(next.topic.as_str(), next.partition).unwrap().replicas, next.from);
    begin(image, next);
    if image.partition(next.topic.as_str(), next.partition).unwrap().is_reassigning() {
        catch_up(image, &next.topic, next.partition);
    }
    assert_eq!(image.partition(next.topic.as_str(), next.partition).unwrap().replicas, next.to);
}

fn carry_out_all(image: &mut Image, plan: &Plan) {
    plan.moves.iter().for_each(|next| carry_out(image, next));
}

fn partitions(image: &Image) -> impl Iterator<Item = (&TopicName, PartitionIndex, &Partition)> {
    image.topics.values().flat_map(|t| t.numbered().map(|(number, p)| (&t.name, number, p)))
}

/// How many replicas each node has when all that is under way is done.
fn replicas(image: &Image) -> BTreeMap<i32, usize> {
    count(image, |p| p.target_replicas())
}

/// How many partitions each node is the preferred leader of.
fn preferred(image: &Image) -> BTreeMap<i32, usize> {
    count(image, |p| p.target_replicas().into_iter().take(1).collect())
}

fn count(image: &Image, named: impl Fn(&Partition) -> Vec<NodeId>) -> BTreeMap<i32, usize> {
    let mut counts: BTreeMap<i32, usize> = image.nodes.keys().map(|n| (n.0, 0)).collect();
    for node in partitions(image).flat_map(|(_, _, p)| named(p)) {
        *counts.entry(node.0).or_default() += 1;
    }
    counts
}

/// The most minus the fewest over the nodes that take replicas.
fn spread(image: &Image, counts: &BTreeMap<i32, usize>) -> usize {
    let counts: Vec<usize> = image.placeable_nodes().map(|n| counts[&n.id.0]).collect();
    counts.iter().max().unwrap_or(&0) - counts.iter().min().unwrap_or(&0)
}

/// In how many racks these nodes are.
fn racks(image: &Image, replicas: &[NodeId]) -> usize {
    let rack = |n: &NodeId| image.nodes[n].rack.clone().ok_or(*n);
    replicas.iter().map(rack).collect::<BTreeSet<_>>().len()
}

fn moved(moves: &[Move]) -> usize {
    moves.iter().map(|m| m.added().count()).sum()
}

/// Disks of this size with what the sizes of the replicas make of them.
fn usage(image: &Image, total_bytes: u64, size: impl Fn(&TopicName, PartitionIndex) -> u64) -> Usage {
    let mut usage = Usage::default();
    for node in image.nodes.keys() {
        usage.disks.insert(*node, Disk { used_bytes: 0, total_bytes });
    }
    for (name, number, partition) in partitions(image) {
        let bytes = size(name, number);
        usage.sizes.insert((image.topics[name].id, number), bytes);
        partition.target_replicas().iter().for_each(|n| usage.disks.get_mut(n).unwrap().used_bytes += bytes);
    }
    usage
}

fn disk_spread(usage: &Usage) -> u64 {
    let used = || usage.disks.values().map(|d| d.used_bytes);
    used().max().unwrap_or(0) - used().min().unwrap_or(0)
}

/// Xorshift, from a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides.max(1) as u64) as usize
    }
}

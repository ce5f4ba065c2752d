//! What holds whatever is asked, in whatever order.

use std::collections::{BTreeMap, BTreeSet};

use domain::PartitionEpoch;
use proptest::prelude::*;

use super::*;
use crate::{Changes, LastKnown, placement::Load};

/// A wish that becomes a command in the light of the image, so that most are not refused.
#[derive(Clone, Debug)]
enum Op {
    Register { node: i32, proof: u8 },
    Fence(i32),
    Unfence(i32),
    Stop(i32),
    Alter { partition: Pick, members: u8, stale: u8 },
    Report { node: i32, last_epoch: i32, log_end: i64, stale: bool },
    Elect { partition: Pick, unclean: bool },
    Reassign { partition: Pick, target: Option<Vec<i32>> },
    Configure { topic: Option<usize>, min_isr: u8, unclean: bool },
    Create { topic: usize, id: u128, partitions: i32, factor: i16 },
    Delete(usize),
    Add { topic: usize, count: i32 },
    ProducerIds(i32),
}

#[derive(Clone, Copy, Debug)]
struct Pick {
    topic: usize,
    partition: i32,
}

const TOPICS: [&str; 3] = ["t", "a", "b"];
const NODES: i32 = 5;

fn any_op() -> impl Strategy<Value = Op> {
    let node = || 0..NODES;
    let pick = || (0..2usize, 0..2i32).prop_map(|(topic, partition)| Pick { topic, partition });
    prop_oneof![
        4 => (node(), 0..8u8).prop_map(|(node, proof)| Op::Register { node, proof }),
        5 => node().prop_map(Op::Fence),
        9 => node().prop_map(Op::Unfence),
        2 => node().prop_map(Op::Stop),
        8 => (pick(), any::<u8>(), 0..20u8)
            .prop_map(|(partition, members, stale)| Op::Alter { partition, members, stale }),
        4 => (node(), -1..4i32, 0..9i64, prop::bool::weighted(0.1))
            .prop_map(|(node, last_epoch, log_end, stale)| Op::Report { node, last_epoch, log_end, stale }),
        2 => (pick(), prop::bool::weighted(0.2)).prop_map(|(partition, unclean)| Op::Elect { partition, unclean }),
        3 => (pick(), prop::option::weighted(0.8, prop::collection::vec(0..6i32, 0..4)))
            .prop_map(|(partition, target)| Op::Reassign { partition, target }),
        2 => (prop::option::of(0..2usize), 1..4u8, prop::bool::weighted(0.1))
            .prop_map(|(topic, min_isr, unclean)| Op::Configure { topic, min_isr, unclean }),
        1 => (0..3usize, 0..5u128, -1..4i32, -1..5i16)
            .prop_map(|(topic, id, partitions, factor)| Op::Create { topic, id, partitions, factor }),
        1 => (1..3usize).prop_map(Op::Delete),
        1 => (0..3usize, 0..4i32).prop_map(|(topic, count)| Op::Add { topic, count }),
        1 => (-1..9i32).prop_map(Op::ProducerIds),
    ]
}

fn command(image: &Image, op: &Op) -> Command {
    let epoch = |node: &i32| (NodeId(*node), epoch_of(image, *node));
    match op {
        Op::Register { node, proof } => Command::RegisterNode(coming_back(image, *node, *proof)),
        Op::Fence(node) => {
            let (node, epoch) = epoch(node);
            Command::FenceNode { node, epoch }
        }
        Op::Unfence(node) => {
            let (node, epoch) = epoch(node);
            Command::UnfenceNode { node, epoch }
        }
        Op::Stop(node) => {
            let (node, epoch) = epoch(node);
            Command::StopNode { node, epoch }
        }
        Op::Alter { partition, members, stale } => proposal_for(image, *partition, *members, *stale),
        Op::Report { node, last_epoch, log_end, stale } => {
            let (node, epoch) = epoch(node);
            let epoch = NodeEpoch(epoch.0 - i64::from(*stale));
            let all =
                image.topics.values().flat_map(|t| t.numbered().map(|(n, p)| (t.id, n, p.leader_epoch)));
            let epochs: Vec<_> = (0..=*last_epoch).map(|e| (LeaderEpoch(e), Offset(i64::from(e)))).collect();
            let ends = all.map(|(topic, partition, leader_epoch)| ReplicaReport {
                topic,
                partition,
                leader_epoch,
                log_start: Offset(0),
                log_end: Offset(*log_end),
                epochs: epochs.clone(),
            });
            Command::ReportReplicas { node, epoch, ends: ends.collect() }
        }
        Op::Elect { partition, unclean } => Command::ElectLeaders {
            kind: if *unclean { ElectionKind::Unclean } else { ElectionKind::Preferred },
            partitions: vec![(name(TOPICS[partition.topic]), PartitionIndex(partition.partition))],
        },
        Op::Reassign { partition, target } => Command::Reassign {
            changes: vec![(
                name(TOPICS[partition.topic]),
                PartitionIndex(partition.partition),
                target.as_deref().map(nodes),
            )],
        },
        Op::Configure { topic, min_isr, unclean } => {
            let set = |name: &str, value: String| ConfigChange {
                name: name.to_owned(),
                operation: ConfigOperation::Set(value),
            };
            let changes = vec![
                set("min.insync.replicas", min_isr.to_string()),
                set("unclean.leader.election.enable", unclean.to_string()),
            ];
            Command::AlterConfigs { topic: topic.map(|t| name(TOPICS[t])), changes }
        }
        Op::Create { topic: t, id, partitions, factor } => Command::CreateTopic(TopicSpec {
            replication_factor: Some(*factor),
            ..topic(*id, TOPICS[*t], *partitions)
        }),
        Op::Delete(topic) => Command::DeleteTopic { name: name(TOPICS[*topic]) },
        Op::Add { topic, count } => {
            Command::AddPartitions { topic: name(TOPICS[*topic]), count: *count, assignments: vec![] }
        }
        Op::ProducerIds(count) => Command::AllocateProducerIds { count: *count },
    }
}

/// Mostly with proof; else without, with an older epoch, or with another folder.
fn coming_back(image: &Image, node: i32, proof: u8) -> NodeRegistration {
    let Some(known) = image.nodes.get(&NodeId(node)) else { return registration(node, node as u128) };
    let good = back(image, node);
    match proof {
        0 | 1 => NodeRegistration { intact: false, ..good },
        2 => NodeRegistration { previous_epoch: Some(NodeEpoch(known.epoch.0 - 1)), ..good },
        3 => registration(node, (known.directory.0.as_u128() + 10) % 30),
        _ => good,
    }
}

fn proposal_for(image: &Image, pick: Pick, members: u8, stale: u8) -> Command {
    let topic = image.topics.get(TOPICS[pick.topic]);
    let partition = topic.and_then(|t| t.partition(PartitionIndex(pick.partition)));
    let sender = partition.and_then(|p| p.leader).unwrap_or(NodeId(0));
    let chosen = (0..6).filter(|n| members & (1 << n) != 0 || (stale < 17 && *n == sender.0));
    let replica = |n: &i32| stale > 16 || partition.is_some_and(|p| p.replicas.contains(&NodeId(*n)));
    let member = |n: i32| (NodeId(n), NodeEpoch(epoch_of(image, n).0 - i64::from(stale == 1)));
    let change = IsrChange {
        topic: topic.map_or(TopicId(Uuid::nil()), |t| t.id),
        partition: PartitionIndex(pick.partition),
        leader_epoch: LeaderEpoch(partition.map_or(0, |p| p.leader_epoch.0) - i32::from(stale == 2)),
        partition_epoch: PartitionEpoch(partition.map_or(0, |p| p.epoch.0) - i32::from(stale == 3)),
        isr: chosen.filter(replica).map(member).collect(),
    };
    Command::AlterPartitions { node: sender, node_epoch: epoch_of(image, sender.0), changes: vec![change] }
}

/// Three active nodes and a topic with two partitions of three replicas each.
fn start() -> Image {
    let mut image = replicated(3, 2);
    done(&mut image, Command::AddPartitions { topic: name("t"), count: 2, assignments: vec![] });
    image
}

fn contains_all(set: &[NodeId], members: &[NodeId]) -> bool {
    members.iter().all(|n| set.contains(n))
}

fn well_formed(image: &Image, topic: &crate::Topic, partition: &Partition) -> Result<(), TestCaseError> {
    let Partition {
        replicas, isr, elr, last_known, unproven, former, leader, min_isr, adding, removing, ..
    } = partition;
    let state = |n: &NodeId| image.nodes.get(n).map(|n| n.state);
    for list in [replicas, isr, elr, adding, removing] {
        let mut sorted = list.clone();
        sorted.sort();
        sorted.dedup();
        prop_assert_eq!(sorted.len(), list.len(), "no doubles");
        prop_assert!(contains_all(replicas, list));
    }
    prop_assert!(!replicas.is_empty());
    let setting = image.topic_config(topic).min_insync_replicas as usize;
    prop_assert_eq!(*min_isr as usize, setting.min(partition.original_replicas().len()));
    prop_assert!(elr.iter().all(|n| !isr.contains(n)));
    if let Some(leader) = leader {
        prop_assert!(isr.contains(leader));
    }
    // A fenced node is in no ISR, and a stopping one only alone.
    prop_assert!(isr.iter().all(|n| state(n) != Some(NodeState::Fenced)));
    prop_assert!(isr.len() <= 1 || isr.iter().all(|n| image.is_active(*n)));
    prop_assert!(leader.is_some() || (isr.is_empty() && elr.iter().all(|n| !image.is_active(*n))));
    if isr.len() >= *min_isr as usize {
        prop_assert!(elr.is_empty() && last_known.is_empty() && unproven.is_empty());
    }
    prop_assert_eq!(partition.is_lost(), !last_known.is_empty());
    prop_assert!(!partition.is_lost() || (unproven.is_empty() && former.is_empty()));
    let out = |(n, _): &(NodeId, DirectoryId)| replicas.contains(n) && !isr.contains(n) && !elr.contains(n);
    prop_assert!(unproven.iter().all(out) && former.iter().all(out));
    prop_assert!(last_known.iter().all(|k| replicas.contains(&k.node)));
    // A node is asked once for each disk: one that is waited for, and the one that it has.
    let disks: BTreeSet<_> = last_known.iter().map(|k| (k.node, k.directory)).collect();
    prop_assert_eq!(disks.len(), last_known.len());
    let now = |k: &LastKnown| image.nodes[&k.node].directory == k.directory;
    prop_assert!(last_known.iter().all(|k| k.waited_for || now(k)));
    prop_assert!(adding.iter().all(|n| !removing.contains(n)));
    Ok(())
}

/// Who may have what was committed before the change: members and those who were proposed and accepted.
fn step_is_safe(
    image: &Image,
    command: &Command,
    before: &Partition,
    after: &Partition,
    topic: &crate::Topic,
) -> Result<(), TestCaseError> {
    prop_assert!(after.leader_epoch >= before.leader_epoch);
    prop_assert!(after.leader == before.leader || after.leader_epoch > before.leader_epoch);
    prop_assert_eq!(after.epoch > before.epoch, after != before);
    prop_assert!(after.epoch.0 <= before.epoch.0 + 1 && after.leader_epoch.0 <= before.leader_epoch.0 + 1);
    let left = !contains_all(&after.replicas, &before.replicas);
    prop_assert!(!left || after.leader_epoch > before.leader_epoch);
    let mut complete: Vec<NodeId> = before.isr.iter().chain(&before.elr).copied().collect();
    if let Command::AlterPartitions { changes, .. } = command {
        let enough = after.isr.len() >= after.min_isr as usize;
        let forgotten = after.unproven.is_empty() && after.former.is_empty();
        prop_assert!(after == before || !enough || forgotten, "a leader that lives has everything");
        complete.extend(changes.iter().flat_map(|c| c.isr.iter().map(|(n, _)| *n)));
    } else if let Some(leader) = after.leader.filter(|l| after.recovering && !complete.contains(l)) {
        // Loud: with the consent of the config or an operator, or by the last known members' logs.
        let consent = image.topic_config(topic).unclean_leader_election
            || matches!(command, Command::ElectLeaders { kind: ElectionKind::Unclean, .. });
        prop_assert!(consent || before.last_known.iter().any(|k| k.node == leader));
        complete.push(leader);
    }
    prop_assert!(contains_all(&complete, &after.isr) && contains_all(&complete, &after.elr));
    if let Command::RegisterNode(registration) = command {
        prop_assert!(!after.isr.contains(&registration.node));
        prop_assert!(after.leader != Some(registration.node));
    }
    Ok(())
}

fn counted(image: &Image) -> BTreeMap<NodeId, Load> {
    let mut loads: BTreeMap<NodeId, Load> = BTreeMap::new();
    for partition in image.topics.values().flat_map(|t| t.partitions.iter()) {
        for (place, node) in partition.replicas.iter().enumerate() {
            loads.entry(*node).or_default().more(place == 0);
        }
    }
    loads
}

proptest! {
    #[test]
    fn the_rules_hold_after_every_command(ops in prop::collection::vec(any_op(), 0..120)) {
        let mut image = start();
        for op in &ops {
            let before = image.clone();
            let command = command(&image, op);
            let outcome = image.apply(&command);
            if outcome.result.is_err() {
                prop_assert_eq!(&image, &before);
                prop_assert!(outcome.changes.is_empty());
                continue;
            }
            for topic in image.topics.values() {
                for (number, after) in topic.numbered() {
                    well_formed(&image, topic, after)?;
                    if let Some(before) = before.topic_by_id(topic.id).and_then(|t| t.partition(number)) {
                        step_is_safe(&image, &command, before, after, topic)?;
                    }
                }
            }
            if let (Ok(Applied::Registered { standing, .. }), Command::RegisterNode(r)) = (&outcome.result, &command)
                && *standing != Standing::Kept
            {
                let mut partitions = image.topics.values().flat_map(|t| t.partitions.iter());
                prop_assert!(partitions.all(|p| !p.elr.contains(&r.node)));
            }
            // Nothing is left undone: looking again changes nothing.
            let mut again = image.clone();
            done(&mut again, Command::AlterConfigs { topic: None, changes: vec![] });
            prop_assert_eq!(&again, &image);
            let loads = image.loads.iter().filter(|(_, l)| **l != Load::default());
            prop_assert_eq!(loads.map(|(n, l)| (*n, *l)).collect::<BTreeMap<_, _>>(), counted(&image));
        }
    }

    /// A watcher that adopts each delta, one that adopts them merged, and one that starts from a snapshot see the same.
    #[test]
    fn deltas_lead_to_the_controllers_image(ops in prop::collection::vec(any_op(), 0..80)) {
        let mut image = start();
        let mut step_by_step = Image::default();
        step_by_step.adopt(&image.snapshot());
        let mut at_once = step_by_step.clone();
        let mut all = Changes::default();
        for (version, op) in (1..).zip(&ops) {
            image.version = version;
            let outcome = image.apply(&command(&image.clone(), op));
            step_by_step.adopt(&image.delta(&outcome.changes));
            all.merge(outcome.changes);
        }
        at_once.adopt(&image.delta(&all));
        let mut fresh = Image::default();
        fresh.adopt(&image.snapshot());
        prop_assert_eq!(&step_by_step, &fresh);
        prop_assert_eq!(&at_once, &fresh);
    }

    /// A snapshot that is stored and read again is the same image.
    #[test]
    fn an_image_survives_json(ops in prop::collection::vec(any_op(), 0..40)) {
        let mut image = start();
        ops.iter().for_each(|op| drop(image.apply(&command(&image.clone(), op))));
        let stored = serde_json::to_vec(&image).unwrap();
        prop_assert_eq!(serde_json::from_slice::<Image>(&stored).unwrap(), image);
    }

    /// With every node back on its disk and every log reported, every partition is led.
    #[test]
    fn every_partition_is_led_again_once_all_are_back(ops in prop::collection::vec(any_op(), 0..80)) {
        let mut image = start();
        for op in &ops {
            // A disk that is gone for good is an operator's case.
            if !matches!(op, Op::Register { proof: 3, .. }) {
                image.apply(&command(&image.clone(), op));
            }
        }
        let ids: Vec<i32> = image.nodes.keys().map(|n| n.0).collect();
        for node in &ids {
            fence(&mut image, *node);
            power_cut(&mut image, *node);
            unfence(&mut image, *node);
        }
        for node in ids {
            let report = Op::Report { node, last_epoch: 1, log_end: 5, stale: false };
            let command = command(&image, &report);
            done(&mut image, command);
        }
        let mut partitions = image.topics.values().flat_map(|t| t.partitions.iter());
        prop_assert!(partitions.all(|p| p.leader.is_some()));
    }
}

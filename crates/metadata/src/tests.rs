//! What commands do to an image.

use domain::{ClusterId, DirectoryId, LeaderEpoch, NodeEpoch, NodeId, PartitionIndex, TopicId, TopicName};
use proptest::prelude::*;
use uuid::Uuid;

use crate::{
    Applied, Command, ConfigChange, ConfigOperation, Endpoint, Image, NodeRegistration, RefusalKind,
    TopicSpec,
};

fn registration(node: i32, directory: u128) -> Command {
    let endpoint = |port| Endpoint { host: format!("node-{node}"), port };
    Command::RegisterNode(NodeRegistration {
        node: NodeId(node),
        cluster_id: None,
        directory: DirectoryId(Uuid::from_u128(directory)),
        kafka: endpoint(9092),
        http: endpoint(9600),
        rack: None,
    })
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

/// A cluster with active nodes 0 to `nodes` - 1, whose epochs are their ids.
fn cluster(nodes: i32) -> Image {
    let mut image = Image::default();
    done(&mut image, Command::NameCluster { cluster_id: ClusterId(Uuid::from_u128(1)) });
    for node in 0..nodes {
        done(&mut image, registration(node, 100 + node as u128));
        done(&mut image, Command::UnfenceNode { node: NodeId(node), epoch: NodeEpoch(node.into()) });
    }
    image
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

#[test]
fn a_topic_is_spread_over_the_active_nodes_and_led_at_once() {
    let mut image = cluster(3);
    done(&mut image, Command::CreateTopic(topic(7, "t", 6)));
    let leaders: Vec<i32> =
        image.topics["t"].partitions.iter().map(|p| p.leader.map_or(-1, |n| n.0)).collect();
    assert_eq!(leaders, [0, 1, 2, 0, 1, 2]);
    assert!(image.topics["t"].partitions.iter().all(|p| p.leader_epoch == LeaderEpoch(0)));
}

#[test]
fn the_same_request_again_is_not_a_second_topic() {
    let mut image = cluster(1);
    let first = done(&mut image, Command::CreateTopic(topic(7, "t", 2)));
    let before = image.clone();
    assert_eq!(done(&mut image, Command::CreateTopic(topic(7, "t", 2))), first);
    assert_eq!(image, before);
    assert_eq!(refused(&mut image, Command::CreateTopic(topic(8, "t", 2))), RefusalKind::TopicExists);
}

#[test]
fn what_cannot_be_created_is_refused() {
    let mut image = cluster(1);
    let refusal = |image: &mut Image, change: fn(&mut TopicSpec)| {
        let mut spec = topic(7, "a.b", 1);
        change(&mut spec);
        refused(image, Command::CreateTopic(spec))
    };
    assert_eq!(refusal(&mut image, |s| s.partitions = Some(0)), RefusalKind::InvalidPartitions);
    assert_eq!(refusal(&mut image, |s| s.partitions = Some(i32::MAX)), RefusalKind::PolicyViolation);
    assert_eq!(
        refusal(&mut image, |s| s.replication_factor = Some(3)),
        RefusalKind::InvalidReplicationFactor
    );
    assert_eq!(
        refusal(&mut image, |s| s.replication_factor = Some(-2)),
        RefusalKind::InvalidReplicationFactor
    );
    let unknown = |s: &mut TopicSpec| drop(s.configs.insert("no.such".into(), "1".into()));
    assert_eq!(refusal(&mut image, unknown), RefusalKind::InvalidConfig);
    let placed = |s: &mut TopicSpec| {
        (s.partitions, s.replication_factor, s.assignments) = (None, None, vec![vec![NodeId(9)]]);
    };
    assert_eq!(refusal(&mut image, placed), RefusalKind::InvalidReplicaAssignment);
    done(&mut image, Command::CreateTopic(topic(1, "a_b", 1)));
    assert_eq!(refusal(&mut image, |_| ()), RefusalKind::InvalidTopicName);
    assert_eq!(
        refused(&mut cluster(0), Command::CreateTopic(topic(1, "t", 1))),
        RefusalKind::InvalidReplicationFactor
    );
}

#[test]
fn a_fenced_nodes_partitions_have_no_leader_until_it_comes_back() {
    let mut image = cluster(1);
    done(&mut image, Command::CreateTopic(topic(7, "t", 1)));
    done(&mut image, Command::FenceNode { node: NodeId(0), epoch: NodeEpoch(0) });
    let partition = image.partition("t", PartitionIndex(0)).unwrap();
    assert_eq!((partition.leader, partition.leader_epoch), (None, LeaderEpoch(1)));
    assert_eq!(partition.isr, [NodeId(0)], "only this node has the data");
    done(&mut image, registration(0, 100));
    done(&mut image, Command::UnfenceNode { node: NodeId(0), epoch: NodeEpoch(1) });
    let partition = image.partition("t", PartitionIndex(0)).unwrap();
    assert_eq!((partition.leader, partition.leader_epoch), (Some(NodeId(0)), LeaderEpoch(2)));
}

#[test]
fn a_new_incarnation_never_leads_in_the_epoch_of_the_old() {
    let mut image = cluster(1);
    done(&mut image, Command::CreateTopic(topic(7, "t", 1)));
    let epoch = |image: &Image| image.partition("t", PartitionIndex(0)).unwrap().leader_epoch;
    let before = epoch(&image);
    // It died and came back before anybody noticed.
    done(&mut image, registration(0, 100));
    assert!(epoch(&image) > before);
    assert_eq!(
        refused(&mut image, Command::FenceNode { node: NodeId(0), epoch: NodeEpoch(0) }),
        RefusalKind::StaleNodeEpoch
    );
}

#[test]
fn a_node_id_belongs_to_one_folder() {
    let mut image = cluster(1);
    done(&mut image, Command::CreateTopic(topic(7, "t", 1)));
    assert_eq!(refused(&mut image, registration(0, 999)), RefusalKind::NodeIdInUse);
    done(&mut image, Command::FenceNode { node: NodeId(0), epoch: NodeEpoch(0) });
    // An empty disk must not become the leader of what the old one holds.
    assert_eq!(refused(&mut image, registration(0, 999)), RefusalKind::DirectoryMissing);
    done(&mut image, Command::DeleteTopic { name: name("t") });
    done(&mut image, registration(0, 999));
}

#[test]
fn a_folder_of_another_cluster_is_refused() {
    let mut image = cluster(1);
    let Command::RegisterNode(mut foreign) = registration(1, 5) else { unreachable!() };
    foreign.cluster_id = Some(ClusterId(Uuid::from_u128(2)));
    assert_eq!(refused(&mut image, Command::RegisterNode(foreign)), RefusalKind::WrongCluster);
}

#[test]
fn partitions_are_added_and_never_taken_away() {
    let mut image = cluster(2);
    done(&mut image, Command::CreateTopic(topic(7, "t", 2)));
    let add = |count| Command::AddPartitions { topic: name("t"), count, assignments: vec![] };
    done(&mut image, add(5));
    assert_eq!(image.topics["t"].partitions.len(), 5);
    assert_eq!(refused(&mut image, add(5)), RefusalKind::InvalidPartitions);
    assert_eq!(refused(&mut image, add(-1)), RefusalKind::InvalidPartitions);
}

#[test]
fn settings_change_all_at_once_or_not_at_all() {
    let mut image = cluster(1);
    done(&mut image, Command::CreateTopic(topic(7, "t", 1)));
    let change = |name: &str, operation| ConfigChange { name: name.into(), operation };
    let alter = |changes| Command::AlterConfigs { topic: Some(name("t")), changes };
    let set = |v: &str| ConfigOperation::Set(v.into());
    done(
        &mut image,
        alter(vec![
            change("retention.ms", set("5")),
            change("cleanup.policy", ConfigOperation::Append("compact".into())),
        ]),
    );
    assert_eq!(image.topics["t"].configs["cleanup.policy"], "delete,compact");
    let half = alter(vec![change("retention.ms", set("6")), change("segment.bytes", set("no"))]);
    assert_eq!(refused(&mut image, half), RefusalKind::InvalidConfig);
    done(&mut image, alter(vec![change("retention.ms", ConfigOperation::Delete)]));
    assert!(!image.topics["t"].configs.contains_key("retention.ms"));
}

#[test]
fn producer_ids_are_handed_out_once() {
    let mut image = cluster(1);
    let first = done(&mut image, Command::AllocateProducerIds { count: 1_000 });
    let second = done(&mut image, Command::AllocateProducerIds { count: 10 });
    assert_eq!(first, Applied::ProducerIds { first: domain::ProducerId(0), count: 1_000 });
    assert_eq!(second, Applied::ProducerIds { first: domain::ProducerId(1_000), count: 10 });
    assert_eq!(refused(&mut image, Command::AllocateProducerIds { count: 0 }), RefusalKind::InvalidRequest);
}

fn any_command() -> impl Strategy<Value = Command> {
    let topic_name = prop::sample::select(vec!["a", "b", "c"]);
    let node = 0..4i32;
    prop_oneof![
        (node.clone(), 0..2u128).prop_map(|(n, d)| registration(n, n as u128 * 2 + d)),
        (node.clone(), 0..12i64)
            .prop_map(|(n, e)| Command::FenceNode { node: NodeId(n), epoch: NodeEpoch(e) }),
        (node, 0..12i64).prop_map(|(n, e)| Command::UnfenceNode { node: NodeId(n), epoch: NodeEpoch(e) }),
        (0..6u128, topic_name.clone(), -1..9i32).prop_map(|(id, t, p)| Command::CreateTopic(topic(id, t, p))),
        topic_name.clone().prop_map(|t| Command::DeleteTopic { name: name(t) }),
        (topic_name, 0..12i32).prop_map(|(t, count)| Command::AddPartitions {
            topic: name(t),
            count,
            assignments: vec![]
        }),
        (-1..9i32).prop_map(|count| Command::AllocateProducerIds { count }),
    ]
}

proptest! {
    /// A watcher that adopts each delta, one that adopts them merged, and one that starts from a snapshot see the same.
    #[test]
    fn deltas_lead_to_the_controllers_image(commands in prop::collection::vec(any_command(), 0..60)) {
        let mut image = cluster(2);
        let mut step_by_step = Image::default();
        step_by_step.adopt(&image.snapshot());
        let mut at_once = step_by_step.clone();
        let mut all = crate::Changes::default();
        for (index, command) in commands.iter().enumerate() {
            image.version = index as u64 + 1;
            let outcome = image.apply(command);
            step_by_step.adopt(&image.delta(&outcome.changes));
            all.merge(outcome.changes);
        }
        at_once.adopt(&image.delta(&all));
        let mut fresh = Image::default();
        fresh.adopt(&image.snapshot());
        prop_assert_eq!(&step_by_step, &fresh);
        prop_assert_eq!(&at_once, &fresh);
    }

    /// A leader is always an active, in-sync replica, and epochs only go up.
    #[test]
    fn leaders_are_in_sync_and_epochs_only_go_up(commands in prop::collection::vec(any_command(), 0..60)) {
        let mut image = cluster(2);
        for command in &commands {
            let before = image.clone();
            image.apply(command);
            for topic in image.topics.values() {
                for (number, partition) in topic.numbered() {
                    if let Some(leader) = partition.leader {
                        prop_assert!(partition.isr.contains(&leader));
                        prop_assert!(image.is_active(leader));
                    }
                    let earlier = before.topic_by_id(topic.id).and_then(|t| t.partition(number));
                    if let Some(earlier) = earlier {
                        prop_assert!(partition.leader_epoch >= earlier.leader_epoch);
                        prop_assert!(partition.leader == earlier.leader || partition.leader_epoch > earlier.leader_epoch);
                        prop_assert!(partition == earlier || partition.epoch > earlier.epoch);
                    }
                }
            }
        }
    }

    /// A snapshot that is stored and read again is the same image.
    #[test]
    fn an_image_survives_json(commands in prop::collection::vec(any_command(), 0..40)) {
        let mut image = cluster(2);
        commands.iter().for_each(|c| drop(image.apply(c)));
        let stored = serde_json::to_vec(&image).unwrap();
        prop_assert_eq!(serde_json::from_slice::<Image>(&stored).unwrap(), image);
    }
}

//! Topics, settings and producer ids.

use super::*;

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

#[test]
fn a_topic_has_three_replicas_unless_it_asks_for_more_or_fewer() {
    let factor = |nodes: i32, asked: Option<i16>| {
        let spec = TopicSpec { replication_factor: asked, ..topic(7, "t", 1) };
        match done(&mut cluster(nodes), Command::CreateTopic(spec)) {
            Applied::TopicCreated { replication_factor, .. } => replication_factor,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!([factor(1, None), factor(2, None), factor(5, None)], [1, 2, 3]);
    assert_eq!([factor(5, Some(-1)), factor(5, Some(5)), factor(5, Some(1))], [3, 5, 1]);
}

#[test]
fn more_replicas_than_active_nodes_are_refused_with_both_numbers() {
    let mut image = cluster(4);
    fence(&mut image, 3);
    let spec = TopicSpec { replication_factor: Some(4), ..topic(7, "t", 1) };
    let refusal = image.apply(&Command::CreateTopic(spec)).result.unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::InvalidReplicationFactor);
    assert_eq!(refusal.message, "replication factor 4 needs 4 active storage nodes, there are 3");
}

#[test]
fn all_replicas_of_a_new_partition_are_in_sync() {
    let image = replicated(3, 2);
    assert_eq!(state(&image), (0, vec![0, 1, 2], vec![]));
    assert_eq!((t0(&image).min_isr, t0(&image).leader_epoch), (2, LeaderEpoch(0)));
}

#[test]
fn replicas_that_are_given_must_fit() {
    let mut image = cluster(3);
    fence(&mut image, 2);
    let mut given = |lists: &[&[i32]]| {
        let assignments = lists.iter().map(|l| nodes(l)).collect();
        let spec = TopicSpec { partitions: None, replication_factor: None, assignments, ..topic(7, "t", 1) };
        refused(&mut image, Command::CreateTopic(spec))
    };
    let unfit: [&[&[i32]]; 5] = [&[&[0, 0]], &[&[0, 9]], &[&[0, 2]], &[&[0, 1], &[1]], &[&[]]];
    for lists in unfit {
        assert_eq!(given(lists), RefusalKind::InvalidReplicaAssignment, "{lists:?}");
    }
}

#[test]
fn new_partitions_get_the_factor_of_the_first() {
    let mut image = replicated(3, 1);
    let add = |count, assignments| Command::AddPartitions { topic: name("t"), count, assignments };
    done(&mut image, add(2, vec![]));
    done(&mut image, add(3, vec![nodes(&[2, 1, 0])]));
    assert!(image.topics["t"].partitions.iter().all(|p| p.replicas.len() == 3 && p.leader.is_some()));
    assert_eq!(refused(&mut image, add(4, vec![nodes(&[2, 1])])), RefusalKind::InvalidReplicaAssignment);
}

#[test]
fn the_smallest_isr_is_never_larger_than_the_replication_factor() {
    let mut image = replicated(2, 3);
    assert_eq!(t0(&image).min_isr, 2);
    configure(&mut image, Some("t"), "min.insync.replicas", "1");
    assert_eq!(t0(&image).min_isr, 1);
}

#[test]
fn a_new_cluster_default_reaches_the_topics_that_have_no_setting_of_their_own() {
    let mut image = replicated(3, 2);
    done(&mut image, Command::CreateTopic(TopicSpec { replication_factor: Some(3), ..topic(8, "u", 1) }));
    let before = t0(&image).clone();
    configure(&mut image, None, "min.insync.replicas", "3");
    assert_eq!(t0(&image), &before);
    let other = image.partition("u", PartitionIndex(0)).unwrap();
    assert_eq!((other.min_isr, other.epoch, other.leader_epoch), (3, before.epoch.next(), LeaderEpoch(0)));
}

#[test]
fn the_topic_that_groups_keep_their_positions_in_is_neither_deleted_nor_grown_nor_let_age() {
    let mut image = cluster(1);
    let name = TopicName::new(domain::OFFSETS_TOPIC).unwrap();
    let mut spec = topic(7, domain::OFFSETS_TOPIC, 2);
    assert_eq!(refused(&mut image, Command::CreateTopic(spec.clone())), RefusalKind::InvalidConfig);
    spec.configs.insert("cleanup.policy".into(), "compact".into());
    done(&mut image, Command::CreateTopic(spec));
    let before = image.clone();
    let delete = Command::DeleteTopic { name: name.clone() };
    assert_eq!(refused(&mut image, delete), RefusalKind::PolicyViolation);
    let grow = Command::AddPartitions { topic: name.clone(), count: 3, assignments: Vec::new() };
    assert_eq!(refused(&mut image, grow), RefusalKind::PolicyViolation);
    let policy = |operation| {
        let changes = vec![ConfigChange { name: "cleanup.policy".into(), operation }];
        Command::AlterConfigs { topic: Some(name.clone()), changes }
    };
    for operation in [
        ConfigOperation::Delete,
        ConfigOperation::Set("delete".into()),
        ConfigOperation::Append("delete".into()),
    ] {
        assert_eq!(refused(&mut image, policy(operation)), RefusalKind::InvalidConfig);
    }
    assert_eq!(image, before);
    done(&mut image, policy(ConfigOperation::Set("compact".into())));
}

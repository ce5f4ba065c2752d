#![allow(clippy::unwrap_used)]

mod fixture;

use std::{collections::BTreeMap, fs};

use commitlog::{CheckpointKind, CleanShutdown, DataDir, DataDirError, Incarnation, MetaProperties, boot_id};
use domain::{ClusterId, DirectoryId, NodeEpoch, NodeId, Offset, PartitionIndex, TopicName, TopicPartition};
use fixture::names;
use uuid::Uuid;

fn tp(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(TopicName::new(topic).unwrap(), PartitionIndex(partition))
}

#[test]
fn a_second_opening_of_the_same_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let first = DataDir::open(folder.path().join("data")).unwrap();
    let refused = DataDir::open(first.path()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!("data folder {} is in use by another process", first.path().display())
    );
    let path = first.path().to_owned();
    drop(first);
    DataDir::open(path).unwrap();
}

#[test]
fn meta_properties_have_kafkas_text_and_name_the_owner() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let [mine, other] = [1, 2].map(|n| ClusterId(Uuid::from_u128(n)));
    assert_eq!(data.check_owner(mine, NodeId(3)).unwrap(), None);
    let properties = MetaProperties {
        cluster_id: mine,
        node_id: NodeId(3),
        directory_id: DirectoryId(Uuid::from_u128(9)),
    };
    data.format(&properties).unwrap();
    let path = folder.path().join("meta.properties");
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        "cluster.id=AAAAAAAAAAAAAAAAAAAAAQ\ndirectory.id=AAAAAAAAAAAAAAAAAAAACQ\nnode.id=3\nversion=1\n"
    );
    assert_eq!(data.check_owner(mine, NodeId(3)).unwrap(), Some(properties));
    let folder_name = folder.path().display();
    assert_eq!(
        data.check_owner(other, NodeId(3)).unwrap_err().to_string(),
        format!("data folder {folder_name} belongs to cluster {mine}, not {other}")
    );
    assert_eq!(
        data.check_owner(mine, NodeId(1)).unwrap_err().to_string(),
        format!("data folder {folder_name} belongs to node 3, not 1")
    );
    fs::write(&path, "#\n#Tue Jan 02 2024\nnode.id=3\nversion=0\n").unwrap();
    assert_eq!(
        data.meta_properties().unwrap_err().to_string(),
        format!("{}: version '0' is not known, only 1 is", path.display())
    );
}

#[test]
fn the_mark_of_a_clean_shutdown_is_taken_once() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    assert_eq!(data.take_clean_shutdown().unwrap(), None);
    data.write_clean_shutdown(NodeEpoch(42)).unwrap();
    let path = folder.path().join(".kafka_cleanshutdown");
    assert_eq!(fs::read_to_string(&path).unwrap(), r#"{"version":0,"brokerEpoch":42}"#);
    assert_eq!(data.take_clean_shutdown().unwrap(), Some(CleanShutdown { node_epoch: NodeEpoch(42) }));
    assert_eq!(data.take_clean_shutdown().unwrap(), None);
    for unknown in ["", "{}", r#"{"version":1,"brokerEpoch":42}"#] {
        fs::write(&path, unknown).unwrap();
        assert_eq!(data.take_clean_shutdown().unwrap(), None);
        assert!(!path.exists());
    }
}

#[test]
fn one_checkpoint_file_holds_all_partitions() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let offsets = BTreeMap::from([(tp("a", 1), Offset(5)), (tp("b-c", 0), Offset(7))]);
    for kind in [
        CheckpointKind::RecoveryPoint,
        CheckpointKind::LogStart,
        CheckpointKind::Replication,
        CheckpointKind::Cleaner,
    ] {
        assert_eq!(data.read_checkpoint(kind).unwrap(), BTreeMap::new());
        data.write_checkpoint(kind, &offsets).unwrap();
        assert_eq!(data.read_checkpoint(kind).unwrap(), offsets);
    }
    let expected = [
        ".lock",
        "cleaner-offset-checkpoint",
        "log-start-offset-checkpoint",
        "recovery-point-offset-checkpoint",
        "replication-offset-checkpoint",
    ];
    assert_eq!(names(folder.path()), expected);
    fs::write(folder.path().join(expected[3]), "0\n5\n").unwrap();
    let refused = data.read_checkpoint(CheckpointKind::RecoveryPoint);
    assert!(matches!(refused, Err(DataDirError::IllFormed { .. })), "{refused:?}");
}

#[test]
fn deleted_partitions_are_put_aside_and_removed_later() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let long = "x".repeat(249);
    for name in ["b-7", "a-b-0", "a-b-00x", "lost+found", &format!("{long}-3")] {
        fs::create_dir(folder.path().join(name)).unwrap();
    }
    let listed = |data: &DataDir| -> Vec<_> {
        data.list_partitions().unwrap().into_iter().map(|found| found.partition).collect()
    };
    assert_eq!(listed(&data), [tp("a-b", 0), tp("b", 7), tp(&long, 3)]);
    let retired = data.retire_partition(&tp("b", 7), Uuid::from_u128(0xab)).unwrap();
    assert_eq!(retired, folder.path().join("b-7.000000000000000000000000000000ab-delete"));
    let retired = data.retire_partition(&tp(&long, 3), Uuid::from_u128(1)).unwrap();
    assert_eq!(retired.file_name().unwrap().len(), 255);
    fs::create_dir(data.partition_path(&tp("b", 7))).unwrap();
    assert_eq!(listed(&data), [tp("a-b", 0), tp("b", 7)]);
    assert_eq!(data.list_retired().unwrap().len(), 2);
    assert_eq!(data.remove_retired().unwrap(), 2);
    assert_eq!(data.remove_retired().unwrap(), 0);
    assert!(data.free_bytes().unwrap() > 0);
}

#[test]
fn a_quarantined_partition_stays_until_its_next_quarantine() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let (one, other) = (tp("b-1", 7), tp("b", 7));
    let quarantine = |partition: &TopicPartition, unique| {
        fs::create_dir(data.partition_path(partition)).unwrap();
        fs::write(data.partition_path(partition).join("damaged"), "").unwrap();
        data.quarantine_partition(partition, Uuid::from_u128(unique)).unwrap()
    };
    let first = quarantine(&one, 0xab);
    assert_eq!(first, folder.path().join("b-1-7.000000000000000000000000000000ab-quarantine"));
    let unrelated = quarantine(&other, 1);
    fs::create_dir(data.partition_path(&one)).unwrap();
    let listed: Vec<_> = data.list_partitions().unwrap().into_iter().map(|found| found.partition).collect();
    assert_eq!((listed, data.remove_retired().unwrap()), (vec![one.clone()], 0));
    assert!(first.join("damaged").exists() && unrelated.exists());
    let second = data.quarantine_partition(&one, Uuid::from_u128(2)).unwrap();
    assert!(!first.exists() && second.exists() && unrelated.exists());
    assert!(data.quarantine_partition(&one, Uuid::from_u128(3)).is_err(), "there is nothing to put aside");
    assert!(second.exists());
}

#[test]
fn quarantined_partitions_whose_long_names_were_cut_are_told_apart_by_their_topics_id() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let long = "x".repeat(245);
    let quarantine = |name: &str, topic_id: &str, unique| {
        let partition = tp(&format!("{long}{name}"), 0);
        fs::create_dir(data.partition_path(&partition)).unwrap();
        let metadata = format!("version: 0\ntopic_id: {topic_id}");
        fs::write(data.partition_path(&partition).join("partition.metadata"), metadata).unwrap();
        data.quarantine_partition(&partition, Uuid::from_u128(unique)).unwrap()
    };
    let [first, second] = ["AAAAAAAAAAAAAAAAAAAAAQ", "AAAAAAAAAAAAAAAAAAAAAg"];
    let copies = [quarantine("a", first, 1), quarantine("b", second, 2), quarantine("a", first, 3)];
    assert_eq!(copies.map(|copy| copy.exists()), [false, true, true]);
}

#[test]
fn the_last_incarnation_is_remembered_for_its_own_folder_only() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    assert_eq!(data.read_incarnation(), None);
    let [mine, other] = [9, 8].map(|n| DirectoryId(Uuid::from_u128(n)));
    let format = |directory_id| {
        let cluster_id = ClusterId(Uuid::from_u128(1));
        data.format(&MetaProperties { cluster_id, node_id: NodeId(3), directory_id }).unwrap();
    };
    format(mine);
    for node_epoch in [4, 5].map(NodeEpoch) {
        let incarnation = Incarnation { directory: mine, node_epoch, boot_id: boot_id() };
        data.record_incarnation(&incarnation).unwrap();
        assert_eq!(data.read_incarnation(), Some(incarnation));
    }
    assert_eq!(names(folder.path()), [".lock", "incarnation.json", "meta.properties"]);
    format(other);
    assert_eq!(data.read_incarnation(), None);
    format(mine);
    assert!(data.read_incarnation().is_some());
    for ill_formed in ["", "{}", r#"{"version":2}"#] {
        fs::write(folder.path().join("incarnation.json"), ill_formed).unwrap();
        assert_eq!(data.read_incarnation(), None);
    }
}

/// A node that was killed while it made a partition did not start again: the folder was there and its topic id was not, or
/// the file that it belongs into was, and had nothing in it.
#[test]
fn a_partition_that_a_crash_left_unborn_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let dir = DataDir::open(folder.path()).unwrap();
    let orders = folder.path().join("orders-0");
    let left = |files: &[(&str, &str)]| {
        fs::create_dir_all(&orders).unwrap();
        files.iter().for_each(|(name, content)| fs::write(orders.join(name), content).unwrap());
        (dir.remove_unborn().unwrap(), orders.exists())
    };
    assert_eq!(left(&[]), (1, false));
    assert_eq!(left(&[("partition.metadata.tmp", "vers")]), (1, false));
    assert_eq!(left(&[("partition.metadata", "")]), (1, false));
    assert_eq!(left(&[("partition.metadata", ""), ("00000000000000000000.log", "")]), (1, false));
    // With something in a log it is damage, which nobody removes.
    assert_eq!(left(&[("partition.metadata", ""), ("00000000000000000000.log", "x")]), (0, true));
    assert_eq!(dir.list_partitions().unwrap().len(), 1);
}

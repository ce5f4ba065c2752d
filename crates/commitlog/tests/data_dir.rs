#![allow(clippy::unwrap_used)]

mod fixture;

use std::{collections::BTreeMap, fs};

use commitlog::{CheckpointKind, CleanShutdown, DataDir, DataDirError, MetaProperties};
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
    for kind in [CheckpointKind::RecoveryPoint, CheckpointKind::LogStart, CheckpointKind::Replication] {
        assert_eq!(data.read_checkpoint(kind).unwrap(), BTreeMap::new());
        data.write_checkpoint(kind, &offsets).unwrap();
        assert_eq!(data.read_checkpoint(kind).unwrap(), offsets);
    }
    let expected = [
        ".lock",
        "log-start-offset-checkpoint",
        "recovery-point-offset-checkpoint",
        "replication-offset-checkpoint",
    ];
    assert_eq!(names(folder.path()), expected);
    fs::write(folder.path().join(expected[2]), "0\n5\n").unwrap();
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

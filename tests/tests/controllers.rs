//! The controller group: three members, one dies, all die, one was away, one was wiped.

use std::time::Duration;

use domain::{TopicId, TopicName};
use metadata::TopicSpec;
use rpc::ControllerError;
use tests::{Cluster, ClusterSpec, wait_until};

const THREE: ClusterSpec = ClusterSpec { controllers: 3, storage_nodes: 1, gateways: 0 };
const WITHIN: Duration = Duration::from_secs(20);

fn spec(topic: &str) -> TopicSpec {
    TopicSpec {
        id: TopicId(uuid::Uuid::new_v4()),
        name: TopicName::new(topic).unwrap(),
        partitions: Some(2),
        replication_factor: None,
        assignments: vec![],
        configs: Default::default(),
    }
}

async fn leader_name(cluster: &Cluster) -> String {
    let controllers = cluster.controllers().describe_controllers(WITHIN).await.unwrap();
    let leader = controllers.iter().find(|c| c.leader).expect("there is a leader");
    format!("controller-{}", leader.ordinal)
}

async fn topics(cluster: &Cluster, node: usize) -> Vec<String> {
    let request = wire::messages::MetadataRequest::default().with_topics(None);
    let answer = cluster.kafka(node).call(request).await.expect("Metadata is answered");
    answer.topics.iter().filter_map(|t| Some(t.name.as_ref()?.to_string())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn any_one_of_three_may_die_and_all_three_may_restart() {
    let mut cluster = Cluster::start(THREE).await;
    cluster.controllers().create_topic(&spec("before"), false, WITHIN).await.unwrap();
    for victim in 0..3 {
        let victim = format!("controller-{victim}");
        cluster.kill(&victim);
        let name = format!("without-{victim}");
        cluster.controllers().create_topic(&spec(&name), false, WITHIN).await.unwrap();
        cluster.start_one(&victim);
    }
    cluster.kill_all();
    cluster.start_all();
    cluster.ready().await;
    let mut found = topics(&cluster, 0).await;
    found.sort();
    assert_eq!(found, ["before", "without-controller-0", "without-controller-1", "without-controller-2"]);
    cluster.controllers().create_topic(&spec("after"), false, WITHIN).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_created_while_the_leader_dies_exists_once_or_not_at_all() {
    let mut cluster = Cluster::start(THREE).await;
    for round in 0..5 {
        let leader = leader_name(&cluster).await;
        let name = format!("t{round}");
        let (controllers, topic) = (cluster.controllers(), spec(&name));
        let creating = tokio::spawn(async move { controllers.create_topic(&topic, false, WITHIN).await });
        // Somewhere in the middle of it: at another moment in every round.
        tokio::time::sleep(Duration::from_micros(700 * round)).await;
        cluster.kill(&leader);
        let told = creating.await.unwrap();
        let count = |topics: Vec<String>| topics.iter().filter(|t| **t == name).count();
        match &told {
            Ok(_) => {
                wait_until("the node sees the topic", WITHIN, || async {
                    count(topics(&cluster, 0).await) == 1
                })
                .await;
            }
            Err(ControllerError::Refused(refusal)) => panic!("{refusal}"),
            // The client knows that it does not know; there is one or none.
            Err(_) => assert!(count(topics(&cluster, 0).await) <= 1),
        }
        // The controllers say the same as what was told.
        let described = cluster.controllers().describe_topic(&TopicName::new(&name).unwrap(), WITHIN).await;
        match (described, told) {
            (Ok(described), Ok(told)) => assert_eq!(described.id.0.as_bytes().as_slice(), told.id),
            (Err(ControllerError::Refused(_)), Err(_)) | (Ok(_), Err(_)) => {}
            (described, told) => panic!("{described:?} after {told:?}"),
        }
        cluster.start_one(&leader);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_was_away_catches_up_by_a_snapshot() {
    let mut cluster = Cluster::start_with(THREE, &[("controller.raft_snapshot_entries", "20")]).await;
    let leader = leader_name(&cluster).await;
    let away = (0..3).map(|n| format!("controller-{n}")).find(|n| *n != leader).unwrap();
    cluster.kill(&away);
    for n in 0..60 {
        cluster.controllers().create_topic(&spec(&format!("t{n}")), false, WITHIN).await.unwrap();
    }
    cluster.start_one(&away);
    // With another member gone, the one that was away must take part, and so must know everything.
    let other = (0..3).map(|n| format!("controller-{n}")).find(|n| *n != leader && *n != away).unwrap();
    cluster.kill(&other);
    cluster.controllers().create_topic(&spec("after"), false, Duration::from_secs(30)).await.unwrap();
    wait_until("all topics are seen", WITHIN, || async { topics(&cluster, 0).await.len() == 61 }).await;
    // And it knows them by itself: alone with the third, without the leader that sent them.
    cluster.start_one(&other);
    cluster.controllers().create_topic(&spec("more"), false, WITHIN).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_member_joins_again_under_a_new_id() {
    let mut cluster = Cluster::start(THREE).await;
    cluster.controllers().create_topic(&spec("before"), false, WITHIN).await.unwrap();
    let leader = leader_name(&cluster).await;
    let wiped = (0..3).map(|n| format!("controller-{n}")).find(|n| *n != leader).unwrap();
    let described = async || cluster_members(&cluster.controllers()).await;
    let before = described().await;
    cluster.kill(&wiped);
    std::fs::remove_dir_all(cluster.folder().join(&wiped)).unwrap();
    cluster.start_one(&wiped);
    let ordinal: u32 = wiped.trim_start_matches("controller-").parse().unwrap();
    let controllers = cluster.controllers();
    wait_until("it is a voter under another id, and the old id is none", WITHIN, || async {
        let now = cluster_members(&controllers).await;
        let voters: Vec<_> = now.iter().filter(|(_, _, voter)| *voter).collect();
        voters.len() == 3
            && voters.iter().any(|(o, id, _)| *o == ordinal && !before.iter().any(|(_, old, _)| old == id))
    })
    .await;
    cluster.controllers().create_topic(&spec("after"), false, WITHIN).await.unwrap();
}

async fn cluster_members(controllers: &rpc::ControllerClient) -> Vec<(u32, u64, bool)> {
    let described = controllers.describe_controllers(WITHIN).await.unwrap_or_default();
    described.iter().map(|c| (c.ordinal, c.raft_id, c.voter)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_storage_node_loses_its_leaderships_and_gets_them_back() {
    let mut cluster = Cluster::start(ClusterSpec { controllers: 1, storage_nodes: 2, gateways: 0 }).await;
    let single = TopicSpec { replication_factor: Some(1), ..spec("t") };
    cluster.controllers().create_topic(&single, false, WITHIN).await.unwrap();
    let leaders = async |cluster: &Cluster| {
        let request = wire::messages::MetadataRequest::default().with_topics(None);
        let answer = cluster.kafka(0).call(request).await.unwrap();
        let partitions = answer.topics.iter().flat_map(|t| &t.partitions);
        partitions.map(|p| p.leader_id.0).collect::<Vec<i32>>()
    };
    wait_until("both lead", WITHIN, || async { leaders(&cluster).await == [0, 1] }).await;
    cluster.kill("storage-node-1");
    wait_until("the dead one leads nothing", WITHIN, || async { leaders(&cluster).await == [0, -1] }).await;
    cluster.start_one("storage-node-1");
    wait_until("it leads again", WITHIN, || async { leaders(&cluster).await == [0, 1] }).await;
}

/// A node that registered between the first election and the naming of the cluster was refused for good, and ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_comes_before_the_cluster_has_its_name_waits() {
    for _ in 0..15 {
        let mut cluster =
            Cluster::prepare(ClusterSpec { controllers: 1, storage_nodes: 3, gateways: 0 }, &[]);
        cluster.start_all();
        cluster.ready().await;
    }
}

/// While it registered anew it did not listen to SIGTERM.
#[tokio::test(flavor = "multi_thread")]
async fn a_displaced_node_still_ends_on_sigterm() {
    let mut cluster = Cluster::start(ClusterSpec { controllers: 1, storage_nodes: 2, gateways: 0 }).await;
    // Another folder takes node 1's place while it is paused.
    cluster.process("storage-node-1").signal(rustix::process::Signal::STOP);
    let controllers = cluster.controllers();
    let request = metadata::NodeRegistration {
        node: domain::NodeId(1),
        cluster_id: None,
        directory: domain::DirectoryId(uuid::Uuid::new_v4()),
        kafka: metadata::Endpoint { host: "127.0.0.1".into(), port: 1 },
        http: metadata::Endpoint { host: "127.0.0.1".into(), port: 1 },
        rack: None,
        previous_epoch: None,
        intact: true,
        damaged: Vec::new(),
        incarnation: None,
    };
    wait_until("the place is free and taken", WITHIN, || async {
        controllers.register(&request, None, Duration::from_secs(2)).await.is_ok()
    })
    .await;
    let node = cluster.process("storage-node-1");
    node.signal(rustix::process::Signal::CONT);
    assert!(node.terminate(Duration::from_secs(9)));
}

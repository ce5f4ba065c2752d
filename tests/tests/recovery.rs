//! What is left after everything went down, and what is made of it. A power cut is a kill, another boot id, and logs that are
//! shorter than they were.

use domain::NodeId;
use serde_json::{Value, json};
use tests::{
    Cluster,
    replicated::{
        MAGIC_AT, THREE, WITHIN, fill, flip_a_bit, in_sync, leader, log_file, node, partition, position_of,
        replicated, values,
    },
    wait_until,
};

/// A partition `t-0` on three nodes, one of which is enough to commit.
async fn with_min_one() -> Cluster {
    let cluster = Cluster::start(THREE).await;
    assert_eq!(cluster.kafka(0).create_replicated("t", 1, 3, &[("min.insync.replicas", "1")]).await, 0);
    in_sync(&cluster, 3).await;
    cluster
}

/// The node's machine has lost its power since the node ran: its kernel is another.
fn other_boot(cluster: &Cluster, n: usize) {
    let path = cluster.folder().join(node(n)).join("incarnation.json");
    let mut incarnation: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    incarnation["boot_id"] = "another".into();
    std::fs::write(&path, incarnation.to_string()).unwrap();
}

fn power_cut(cluster: &mut Cluster) {
    (0..3).for_each(|n| cluster.process(&node(n)).signal(rustix::process::Signal::KILL));
    (0..3).for_each(|n| cluster.kill(&node(n)));
    (0..3).for_each(|n| other_boot(cluster, n));
}

async fn nobody_leads(cluster: &Cluster) {
    wait_until("the controller has noticed", WITHIN, || async {
        partition(cluster, "t", 0).await.leader.is_none()
    })
    .await;
}

/// The node leads, and answers.
async fn leads(cluster: &Cluster, n: usize) {
    wait_until("it leads", WITHIN, || async {
        let leads = partition(cluster, "t", 0).await.leader == Some(NodeId(n as i32));
        let fetched = cluster.kafka(n).fetch("t", 0, 0, 0).await;
        leads && fetched.is_ok_and(|data| data.error_code == 0)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_log_leads_after_a_power_cut_whoever_was_fenced_or_came_back_last() {
    for controller_too in [false, true] {
        let mut cluster = with_min_one().await;
        fill(&cluster.kafka(leader(&cluster).await), 0, 100).await;
        if controller_too {
            cluster.kill("controller-0");
        }
        power_cut(&mut cluster);
        if controller_too {
            cluster.start_one("controller-0");
        } else {
            nobody_leads(&cluster).await;
        }
        // Two of them had written nothing back.
        for n in [1, 2] {
            std::fs::File::create(log_file(&cluster, n, 0)).unwrap();
        }
        (0..3).for_each(|n| cluster.start_one(&node(n)));
        in_sync(&cluster, 3).await;
        assert_eq!(values(&cluster, 0).await.len(), 100, "the controller went down, too: {controller_too}");
    }
}

/// It was the only one in sync when the damage was found.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_replica_that_leads_alone_is_put_aside_once_another_is_in_sync() {
    let mut cluster = with_min_one().await;
    let first = leader(&cluster).await;
    fill(&cluster.kafka(first), 0, 100).await;
    let others: Vec<usize> = (0..3).filter(|n| *n != first).collect();
    others.iter().for_each(|n| cluster.kill(&node(*n)));
    in_sync(&cluster, 1).await;
    // An orderly end checkpoints what is flushed; then a crash, and a bit that flips in what was flushed, long ago.
    cluster.terminate(&node(first));
    cluster.start_one(&node(first));
    leads(&cluster, first).await;
    cluster.kill(&node(first));
    flip_a_bit(&cluster, first, 50, MAGIC_AT);
    cluster.start_one(&node(first));
    let log = cluster.folder().join(format!("{}.log", node(first)));
    let told = |what: &'static str| {
        let log = log.clone();
        move || std::future::ready(std::fs::read_to_string(&log).is_ok_and(|text| text.contains(what)))
    };
    wait_until("the damage is found", WITHIN, told("no other replica is in sync")).await;
    others.iter().for_each(|n| cluster.start_one(&node(*n)));
    wait_until("the damaged replica is fetched again", WITHIN, told("put a damaged replica aside")).await;
    in_sync(&cluster, 3).await;
    assert_eq!(values(&cluster, 0).await.len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_damaged_log_does_not_keep_a_partition_without_a_leader() {
    let mut cluster = replicated(1).await;
    fill(&cluster.kafka(leader(&cluster).await), 0, 100).await;
    // Ends in order, so that what there is counts as flushed.
    for n in 0..3 {
        cluster.terminate(&node(n));
        cluster.start_one(&node(n));
        in_sync(&cluster, 3).await;
    }
    power_cut(&mut cluster);
    nobody_leads(&cluster).await;
    let path = log_file(&cluster, 2, 0);
    let log = std::fs::read(&path).unwrap();
    std::fs::write(&path, &log[..position_of(&log, 50)]).unwrap();
    (0..3).for_each(|n| cluster.start_one(&node(n)));
    in_sync(&cluster, 3).await;
    assert_eq!(values(&cluster, 0).await.len(), 100);
}

/// The last one in sync does not come back, and somebody decides to go on with what there is.
#[tokio::test(flavor = "multi_thread")]
async fn an_operator_elects_who_is_there() {
    let mut cluster = with_min_one().await;
    let first = leader(&cluster).await;
    let other = (first + 1) % 3;
    fill(&cluster.kafka(first), 0, 10).await;
    (0..3).filter(|n| *n != first).for_each(|n| cluster.kill(&node(n)));
    in_sync(&cluster, 1).await;
    cluster.kill(&node(first));
    nobody_leads(&cluster).await;
    cluster.start_one(&node(other));
    let (rest, elections) = (cluster.rest(0), "/admin/v1/topics/t/elections");
    let elected = |body: Value| {
        let rest = rest.clone();
        async move { rest.post(elections, &body).await }
    };
    wait_until("it is there", WITHIN, || async {
        elected(json!({ "unclean": true })).await.1["elections"][0]["elected"] == true
    })
    .await;
    assert_eq!(partition(&cluster, "t", 0).await.leader, Some(NodeId(other as i32)));
    let (status, again) = elected(json!({ "partitions": [0, 7], "unclean": true })).await;
    let messages = [format!("node {other} leads"), "partition t-7 does not exist".to_owned()];
    let told = again["elections"].as_array().unwrap().iter().map(|e| e["message"].as_str().unwrap());
    assert_eq!(
        (status.as_u16(), told.collect::<Vec<_>>()),
        (200, messages.iter().map(String::as_str).collect())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_one_in_sync_serves_what_was_committed_after_it_was_killed() {
    let mut cluster = replicated(1).await;
    let rest = cluster.rest(0);
    wait_until("the gateway knows the topic", WITHIN, || async {
        rest.read_json("/topics/t/partitions/0/records?offset=0").await.0 == 200
    })
    .await;
    for n in 0..10 {
        rest.produce_value("t", 0, &n.into()).await.unwrap();
    }
    // A last one in sync that has not heard by then that everything is committed never learns it alone: two are needed.
    for n in 0..3 {
        let checkpoint = cluster.folder().join(node(n)).join("replication-offset-checkpoint");
        wait_until("the high watermark is checkpointed", WITHIN, || async {
            std::fs::read_to_string(&checkpoint).is_ok_and(|text| text.contains("t 0 10"))
        })
        .await;
    }
    for left in [2, 1] {
        let victim = leader(&cluster).await;
        cluster.kill(&node(victim));
        in_sync(&cluster, left).await;
    }
    let last = leader(&cluster).await;
    cluster.kill(&node(last));
    // While it is away there is nothing to show, and nobody is told that there is nothing.
    cluster.start_one(&node(last));
    leads(&cluster, last).await;
    wait_until("it serves what was committed", WITHIN, || async {
        let (status, records) = rest.read_json("/topics/t/partitions/0/records?offset=0").await;
        assert!(status != 200 || records.as_array().is_some_and(|r| !r.is_empty()), "{status} {records}");
        status == 200
    })
    .await;
    assert_eq!(cluster.kafka(last).read_all("t", 0, 0).await.len(), 10);
}

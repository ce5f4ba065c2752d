//! Consumer groups on real storage nodes, with librdkafka as their members.

use std::time::{Duration, Instant};

use group::{OFFSETS_TOPIC, partition_of};
use rustix::process::Signal;
use tests::{
    Cluster, ClusterSpec, KafkaClient, batch_of,
    consumer::{Member, Protocol, share_all},
    replicated::{WITHIN, node, partition, replicated},
    wait_until,
};
use wire::{
    ResponseError, StrBytes, WireTopicName,
    messages::{
        CreatePartitionsRequest, DeleteGroupsRequest, FindCoordinatorRequest, GroupId, ListGroupsRequest,
        OffsetCommitRequest, OffsetFetchRequest,
        create_partitions_request::CreatePartitionsTopic,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
    },
};

const PROTOCOLS: [Protocol; 3] = [Protocol::Eager, Protocol::Cooperative, Protocol::Consumer];

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// One storage node and the topic `t`.
async fn single(partitions: i32) -> Cluster {
    let spec = ClusterSpec { controllers: 1, storage_nodes: 1, gateways: 0 };
    let cluster = Cluster::start(spec).await;
    assert_eq!(cluster.kafka(0).create_topic("t", partitions).await, 0);
    cluster
}

/// Writes so many records to each partition, from number `from` on.
async fn fill(kafka: &KafkaClient, partitions: i32, from: i32, count: i32) {
    for partition in 0..partitions {
        let values: Vec<String> = (from..from + count).map(|n| format!("{partition}-{n}")).collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let answer = kafka.produce("t", partition, batch_of(&values), -1).await.unwrap();
        assert_eq!(answer.error_code, 0);
    }
}

/// Commits a position of `t-0` as a consumer outside of the group would (kafka-consumer-groups --reset-offsets).
async fn commit(kafka: &KafkaClient, group: &str, offset: i64) -> i16 {
    let partition = OffsetCommitRequestPartition::default().with_committed_offset(offset);
    let topic = OffsetCommitRequestTopic::default()
        .with_name(WireTopicName(text("t")))
        .with_partitions(vec![partition]);
    let request = OffsetCommitRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic]);
    match kafka.call(request).await {
        Ok(answer) => answer.topics[0].partitions[0].error_code,
        Err(_) => ResponseError::RequestTimedOut.code(),
    }
}

fn positions_of(group: &str) -> OffsetFetchRequest {
    let topic = OffsetFetchRequestTopics::default()
        .with_name(WireTopicName(text("t")))
        .with_partition_indexes(vec![0]);
    let asked = OffsetFetchRequestGroup::default()
        .with_group_id(GroupId(text(group)))
        .with_member_epoch(-1)
        .with_topics(Some(vec![topic]));
    OffsetFetchRequest::default().with_groups(vec![asked])
}

/// The position of `t-0`, or the error.
async fn fetched(kafka: &KafkaClient, group: &str) -> Result<i64, i16> {
    let answer = kafka.call(positions_of(group)).await.map_err(|_| ResponseError::RequestTimedOut.code())?;
    let group = &answer.groups[0];
    match group.error_code {
        0 => Ok(group.topics[0].partitions[0].committed_offset),
        code => Err(code),
    }
}

/// The node that coordinates the group.
async fn coordinator(kafka: &KafkaClient, group: &str) -> Option<usize> {
    let request = FindCoordinatorRequest::default().with_coordinator_keys(vec![text(group)]);
    let found = kafka.call(request).await.ok()?.coordinators.remove(0);
    (found.error_code == 0).then_some(found.node_id.0 as usize)
}

async fn coordinated(cluster: &Cluster, asked: usize, group: &str) -> usize {
    let kafka = cluster.kafka(asked);
    wait_until("the group has a coordinator", WITHIN, || async {
        match coordinator(&kafka, group).await {
            Some(n) => fetched(&cluster.kafka(n), group).await.is_ok(),
            None => false,
        }
    })
    .await;
    coordinator(&kafka, group).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn members_share_the_partitions_and_every_record_is_read() {
    let cluster = single(4).await;
    for protocol in PROTOCOLS {
        let group = format!("share-{protocol:?}");
        let join = || Member::join(&cluster.kafka_address(0), &group, "t", protocol);
        let (first, second) = (join(), join());
        wait_until(&format!("two {protocol:?} members share 4 partitions"), WITHIN, || async {
            share_all(&[&first, &second], 4) && first.owned().len() == 2
        })
        .await;
        fill(&cluster.kafka(0), 4, 0, 10).await;
        wait_until("everything is read", WITHIN, || async {
            let mut read: Vec<(i32, i64)> =
                first.seen().iter().chain(&second.seen()).map(|s| (s.partition, s.offset)).collect();
            read.sort_unstable();
            read.dedup();
            let ends = [0, 1, 2, 3].map(|p| read.iter().filter(|(n, _)| *n == p).count());
            ends.iter().all(|n| *n >= 10)
        })
        .await;
        second.leave();
        wait_until("the one that is left has everything", WITHIN, || async { share_all(&[&first], 4) }).await;
        let read = first.leave();
        let mut once = std::collections::BTreeSet::new();
        assert!(
            read.iter().all(|s| once.insert((s.partition, s.offset))),
            "{protocol:?}: a record came twice"
        );
    }
}

/// Publish and subscribe between groups, point to point within each: both protocols, directly and through the gateway.
#[tokio::test(flavor = "multi_thread")]
async fn many_groups_each_see_all_and_the_members_of_one_share() {
    const GROUPS: usize = 12;
    let cluster = Cluster::start(ClusterSpec { controllers: 1, storage_nodes: 1, gateways: 1 }).await;
    assert_eq!(cluster.kafka(0).create_topic("t", 4).await, 0);
    let groups: Vec<[Member; 2]> = (0..GROUPS)
        .map(|n| {
            let address =
                if n % 2 == 0 { cluster.kafka_address(0) } else { cluster.gateway_kafka_address(0) };
            [(); 2].map(|()| Member::join(&address, &format!("all-{n}"), "t", PROTOCOLS[n / 2 % 3]))
        })
        .collect();
    wait_until("two members of each group share 4 partitions", WITHIN, || async {
        groups.iter().all(|[one, two]| share_all(&[one, two], 4) && one.owned().len() == 2)
    })
    .await;
    fill(&cluster.kafka(0), 4, 0, 25).await;
    let all: Vec<(i32, i64)> = (0..4).flat_map(|p| (0..25).map(move |offset| (p, offset))).collect();
    let read = |[one, two]: &[Member; 2]| {
        let mut read: Vec<(i32, i64)> =
            one.seen().iter().chain(&two.seen()).map(|s| (s.partition, s.offset)).collect();
        read.sort_unstable();
        read
    };
    wait_until("each group has read everything", WITHIN, || async {
        groups.iter().all(|group| read(group).len() >= all.len())
    })
    .await;
    for (n, group) in groups.iter().enumerate() {
        assert_eq!(read(group), all, "group {n}");
        assert!(group.iter().all(|member| member.seen().len() == 50), "group {n}: one has read more");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_surplus_member_takes_over_within_a_second_of_a_leave() {
    let cluster = single(1).await;
    for protocol in PROTOCOLS {
        let group = format!("surplus-{protocol:?}");
        let join = || Member::join(&cluster.kafka_address(0), &group, "t", protocol);
        let (first, second) = (join(), join());
        wait_until("one of two has the partition", WITHIN, || async { share_all(&[&first, &second], 1) })
            .await;
        // The classic protocol's delay for the first members is over, and nobody moves any more.
        let (owner, surplus) = if first.owned().is_empty() { (second, first) } else { (first, second) };
        let begun = Instant::now();
        owner.leave();
        let left = begun.elapsed();
        wait_until("the surplus member has it", WITHIN, || async { share_all(&[&surplus], 1) }).await;
        let took = begun.elapsed();
        eprintln!("{protocol:?}: left after {left:?}, taken over after {took:?}");
        assert!(took < Duration::from_secs(3), "{protocol:?}: taken over after {took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_goes_from_one_protocol_to_the_other_and_back() {
    let cluster = single(4).await;
    let join = |protocol| Member::join(&cluster.kafka_address(0), "upgrade", "t", protocol);
    let old = join(Protocol::Cooperative);
    wait_until("the classic member has everything", WITHIN, || async { share_all(&[&old], 4) }).await;
    let new = join(Protocol::Consumer);
    wait_until("both protocols share", WITHIN, || async {
        share_all(&[&old, &new], 4) && new.owned().len() == 2
    })
    .await;
    fill(&cluster.kafka(0), 4, 0, 5).await;
    let mut read = old.leave();
    wait_until("the new one has everything", WITHIN, || async { share_all(&[&new], 4) }).await;
    let old = join(Protocol::Eager);
    wait_until("they share again", WITHIN, || async {
        share_all(&[&old, &new], 4) && old.owned().len() == 2
    })
    .await;
    read.extend(new.leave());
    wait_until("the classic one has everything", WITHIN, || async { share_all(&[&old], 4) }).await;
    fill(&cluster.kafka(0), 4, 5, 5).await;
    wait_until("everything is read", WITHIN, || async {
        let later = old.seen();
        (0..4).all(|p| (0..10).all(|n| read.iter().chain(&later).any(|s| s.partition == p && s.offset == n)))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_coordinator_dies_and_no_position_goes_back() {
    let mut cluster = replicated(3).await;
    let first = coordinated(&cluster, 0, "g").await;
    let others: Vec<usize> = (0..3).filter(|n| *n != first).collect();
    let mut committed = 0;
    for offset in 1..=50 {
        assert_eq!(commit(&cluster.kafka(first), "g", offset).await, 0);
        committed = offset;
    }
    let member = Member::join(&cluster.kafka_address(others[0]), "members", "t", Protocol::Consumer);
    wait_until("a member has everything", WITHIN, || async { share_all(&[&member], 3) }).await;
    cluster.kill(&node(first));
    let begun = Instant::now();
    let second = coordinated(&cluster, others[0], "g").await;
    eprintln!("another coordinator after {:?}", begun.elapsed());
    assert_ne!(second, first);
    let position = fetched(&cluster.kafka(second), "g").await.unwrap();
    assert_eq!(position, committed, "a committed position went back");
    assert_eq!(commit(&cluster.kafka(second), "g", 51).await, 0);
    // Whoever coordinates it now, the member reads on.
    let survivor = partition(&cluster, "t", 0).await.leader.unwrap().0 as usize;
    let written = cluster.kafka(survivor).produce("t", 0, batch_of(&["later"]), -1).await.unwrap();
    assert_eq!(written.error_code, 0);
    wait_until("the member reads on", WITHIN, || async { member.seen().iter().any(|s| s.value == "later") })
        .await;
    cluster.start_one(&node(first));
    cluster.ready().await;
    let now = coordinated(&cluster, first, "g").await;
    assert_eq!(fetched(&cluster.kafka(now), "g").await.unwrap(), 51);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_was_paused_does_not_answer_with_what_was() {
    let mut cluster = replicated(1).await;
    let paused = coordinated(&cluster, 0, "g").await;
    assert_eq!(commit(&cluster.kafka(paused), "g", 1).await, 0);
    let other = (0..3).find(|n| *n != paused).unwrap();
    // A connection that is open when it wakes up again.
    let kafka = cluster.kafka(paused);
    assert_eq!(fetched(&kafka, "g").await, Ok(1));
    cluster.process(&node(paused)).signal(Signal::STOP);
    let number = partition_of("g", 50);
    wait_until("somebody else leads", WITHIN, || async {
        let leader = partition(&cluster, OFFSETS_TOPIC, number).await.leader;
        leader.is_some_and(|n| n.0 as usize != paused)
    })
    .await;
    let now = coordinated(&cluster, other, "g").await;
    assert_eq!(commit(&cluster.kafka(now), "g", 2).await, 0);
    let asked = tokio::spawn(async move {
        let mut answers = Vec::new();
        for _ in 0..20 {
            answers.push(fetched(&kafka, "g").await);
        }
        answers
    });
    cluster.process(&node(paused)).signal(Signal::CONT);
    let answers = asked.await.unwrap();
    assert!(answers.iter().all(|a| *a != Ok(1)), "rewound: {answers:?}");
}

/// librdkafka reads no partition any more whose position it was refused: it was told that there is no coordinator while one
/// was being replaced.
#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_positions_is_told_them_by_the_coordinators_successor() {
    let mut cluster = Cluster::start(ClusterSpec { controllers: 1, storage_nodes: 3, gateways: 1 }).await;
    assert_eq!(cluster.kafka(0).create_topic("t", 1).await, 0);
    let paused = coordinated(&cluster, 0, "g").await;
    assert_eq!(commit(&cluster.kafka(paused), "g", 7).await, 0);
    let gateway = cluster.through(0);
    assert_eq!(fetched(&gateway, "g").await, Ok(7));
    cluster.process(&node(paused)).signal(Signal::STOP);
    assert_eq!(fetched(&gateway, "g").await, Ok(7), "while it is replaced");
    cluster.process(&node(paused)).signal(Signal::CONT);
    // A node that does not coordinate the group ends the connection, after which every client asks anew.
    let now = coordinated(&cluster, (paused + 1) % 3, "g").await;
    let other = cluster.kafka((now + 1) % 3);
    let refused = other.call(positions_of("g")).await;
    assert!(refused.is_err(), "{refused:?}");
}

/// Heartbeats were held until a controller answered: while the only one was away, clients lost their sessions.
#[tokio::test(flavor = "multi_thread")]
async fn groups_go_on_while_no_controller_answers() {
    let mut cluster = replicated(1).await;
    let leads = partition(&cluster, "t", 0).await.leader.unwrap().0 as usize;
    let kafka = cluster.kafka(leads);
    let members = PROTOCOLS.map(|protocol| {
        let group = format!("alone-{protocol:?}");
        Member::join(&cluster.kafka_address(0), &group, "t", protocol)
    });
    wait_until("each has the partition", WITHIN, || async { members.iter().all(|m| m.owned().len() == 1) })
        .await;
    let coordinates = coordinated(&cluster, 0, "g").await;
    cluster.process("controller-0").signal(Signal::STOP);
    // For longer than the sessions last.
    let (begun, mut sent) = (Instant::now(), 0);
    while begun.elapsed() < Duration::from_secs(9) {
        let value = sent.to_string();
        assert_eq!(kafka.produce("t", 0, batch_of(&[&value]), -1).await.unwrap().error_code, 0);
        sent += 1;
        wait_until("all members have read it", WITHIN, || async {
            members.iter().all(|m| m.seen().iter().any(|s| s.value == value))
        })
        .await;
        assert!(
            members.iter().all(|m| m.owned().len() == 1),
            "a member lost its partition after {sent} records"
        );
        let of_g = cluster.kafka(coordinates);
        assert_eq!(commit(&of_g, "g", sent).await, 0);
        assert_eq!(fetched(&of_g, "g").await, Ok(sent));
    }
    cluster.process("controller-0").signal(Signal::CONT);
    for member in members {
        assert_eq!(member.leave().len(), sent as usize, "a record came twice");
    }
}

/// The topic had the replicas that there were nodes for when the first group came, for ever.
#[tokio::test(flavor = "multi_thread")]
async fn groups_that_began_on_one_node_survive_it_once_there_are_three() {
    let mut cluster = replicated(1).await;
    for n in [1, 2] {
        cluster.kill(&node(n));
    }
    wait_until("one node is left", WITHIN, || async {
        partition(&cluster, "t", 0).await.isr == [domain::NodeId(0)]
    })
    .await;
    assert_eq!(coordinated(&cluster, 0, "g").await, 0);
    assert_eq!(commit(&cluster.kafka(0), "g", 7).await, 0);
    let number = partition_of("g", 50);
    assert_eq!(partition(&cluster, OFFSETS_TOPIC, number).await.replicas, [domain::NodeId(0)]);
    for n in [1, 2] {
        cluster.start_one(&node(n));
    }
    wait_until("it has three replicas in sync", WITHIN, || async {
        let partition = partition(&cluster, OFFSETS_TOPIC, number).await;
        partition.replicas.len() == 3 && partition.isr.len() == 3 && !partition.is_reassigning()
    })
    .await;
    cluster.kill(&node(0));
    let now = coordinated(&cluster, 1, "g").await;
    assert_eq!(fetched(&cluster.kafka(now), "g").await, Ok(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_topics_positions_are_forgotten() {
    let cluster = single(1).await;
    let kafka = cluster.kafka(0);
    coordinated(&cluster, 0, "g").await;
    assert_eq!(commit(&kafka, "g", 7).await, 0);
    assert_eq!(fetched(&kafka, "g").await, Ok(7));
    assert_eq!(kafka.delete_topic("t").await, 0);
    assert_eq!(kafka.create_topic("t", 1).await, 0);
    wait_until("nothing is known of the old topic", WITHIN, || async {
        fetched(&kafka, "g").await == Ok(-1)
    })
    .await;
    let listed = kafka.call(ListGroupsRequest::default()).await.unwrap();
    assert!(listed.groups.iter().all(|g| &*g.group_id != "g"), "{listed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_listed_and_deleted_once_nobody_is_in_it() {
    let cluster = single(2).await;
    let kafka = cluster.kafka(0);
    coordinated(&cluster, 0, "g").await;
    fill(&kafka, 2, 0, 1).await;
    let member = Member::join(&cluster.kafka_address(0), "g", "t", Protocol::Consumer);
    wait_until("everything is read", WITHIN, || async { member.seen().len() == 2 }).await;
    let delete = || async {
        let request = DeleteGroupsRequest::default().with_groups_names(vec![GroupId(text("g"))]);
        kafka.call(request).await.unwrap().results[0].error_code
    };
    assert_eq!(delete().await, ResponseError::NonEmptyGroup.code());
    let listed = kafka.call(ListGroupsRequest::default()).await.unwrap();
    let group = listed.groups.iter().find(|g| &*g.group_id == "g").unwrap();
    assert_eq!((&*group.group_type, &*group.group_state), ("consumer", "Stable"));
    member.leave();
    wait_until("it can be deleted", WITHIN, || async { delete().await == 0 }).await;
    assert_eq!(delete().await, ResponseError::GroupIdNotFound.code());
    assert_eq!(fetched(&kafka, "g").await, Ok(-1));
}

/// The coordinator that comes after has never seen the topic that was: only the offset says of which it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_again_before_another_node_coordinates_starts_without_positions() {
    let mut cluster = replicated(1).await;
    let first = coordinated(&cluster, 0, "g").await;
    assert_eq!(commit(&cluster.kafka(first), "g", 7).await, 0);
    cluster.kill(&node(first));
    let other = cluster.kafka((first + 1) % 3);
    assert_eq!(other.delete_topic("t").await, 0);
    assert_eq!(other.create_topic("t", 1).await, 0);
    let second = coordinated(&cluster, (first + 1) % 3, "g").await;
    let kafka = cluster.kafka(second);
    wait_until("nothing is known of the old topic", WITHIN, || async {
        fetched(&kafka, "g").await == Ok(-1)
    })
    .await;
    assert_eq!(commit(&kafka, "g", 3).await, 0);
    assert_eq!(kafka.create_topic("unrelated", 1).await, 0);
    cluster.kill(&node(second));
    cluster.start_one(&node(first));
    cluster.ready().await;
    let third = coordinated(&cluster, first, "g").await;
    assert_eq!(fetched(&cluster.kafka(third), "g").await, Ok(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_deletes_or_grows_the_topic_that_groups_are_kept_in() {
    let cluster = Cluster::start(ClusterSpec { controllers: 1, storage_nodes: 1, gateways: 1 }).await;
    assert_eq!(cluster.kafka(0).create_topic("t", 1).await, 0);
    coordinated(&cluster, 0, "g").await;
    assert_eq!(commit(&cluster.kafka(0), "g", 7).await, 0);
    let refused = ResponseError::PolicyViolation.code();
    for kafka in [cluster.kafka(0), cluster.through(0)] {
        assert_eq!(kafka.delete_topic(OFFSETS_TOPIC).await, refused);
        let config = kafka.set_config(OFFSETS_TOPIC, "cleanup.policy", "delete").await;
        assert_eq!(config, ResponseError::InvalidConfig.code());
        let more =
            CreatePartitionsTopic::default().with_name(WireTopicName(text(OFFSETS_TOPIC))).with_count(60);
        let request = CreatePartitionsRequest::default().with_topics(vec![more]).with_timeout_ms(5000);
        assert_eq!(kafka.call(request).await.unwrap().results[0].error_code, refused);
    }
    let rest = cluster.rest(0);
    let of_cluster = rest.cluster_id().await;
    let (status, body) = rest.delete(&format!("/v3/clusters/{of_cluster}/topics/{OFFSETS_TOPIC}")).await;
    assert!(status.is_client_error(), "{status}: {body}");
    let message = body["message"].as_str().unwrap_or_default();
    assert!(message.contains("the positions of all consumer groups are in it"), "{body}");
    assert_eq!(fetched(&cluster.kafka(0), "g").await, Ok(7));
}

//! Kafka clients through the gateway, which shows itself as one broker.

use std::{
    io::{Read, Write},
    net::TcpStream,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use bytes::Bytes;
use group::{OFFSETS_TOPIC, partition_of};
use rustix::process::Signal;
use tests::{
    Cluster, ClusterSpec, KafkaClient, batch_of,
    consumer::{Member, Protocol, share_all},
    replicated::{MIN_TWO, THREE, WITHIN, in_sync, node, partition, replicated},
    sequenced_batch, wait_until,
};
use wire::{
    BrokerId, ResponseError, StrBytes, WireTopicName,
    messages::{
        CreateTopicsRequest, DescribeClusterRequest, DescribeConfigsRequest, FetchRequest, FetchResponse,
        ListGroupsRequest, ListOffsetsRequest, MetadataRequest, ProduceRequest,
        create_topics_request::{CreatableReplicaAssignment, CreatableTopic},
        describe_configs_request::DescribeConfigsResource,
        fetch_request::{FetchPartition, FetchTopic},
        list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
        produce_request::{PartitionProduceData, TopicProduceData},
    },
};

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn topic_name(name: &str) -> WireTopicName {
    WireTopicName(text(name))
}

/// Runs kcat with this input; what it wrote.
fn kcat(address: &str, args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("kcat")
        .args(["-b", address])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kcat is installed: scripts/test.sh does it");
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "kcat {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn sorted(bytes: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<&[u8]> = bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty()).collect();
    lines.sort_unstable();
    lines
}

fn lines(from: usize, count: usize) -> Vec<u8> {
    (from..from + count).flat_map(|n| format!("line {n}\n").into_bytes()).collect()
}

/// A fetch of partitions of `t`, each from its offset.
fn fetch(partitions: &[(i32, i64)], wait_ms: i32) -> FetchRequest {
    let asked = partitions.iter().map(|(number, offset)| {
        FetchPartition::default()
            .with_partition(*number)
            .with_fetch_offset(*offset)
            .with_current_leader_epoch(-1)
            .with_partition_max_bytes(1 << 20)
    });
    let topic = FetchTopic::default().with_topic(topic_name("t")).with_partitions(asked.collect());
    FetchRequest::default()
        .with_max_wait_ms(wait_ms)
        .with_min_bytes(1)
        .with_max_bytes(50 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![topic])
}

async fn fetched(kafka: &KafkaClient, partitions: &[(i32, i64)], wait_ms: i32) -> FetchResponse {
    kafka.call_up_to(fetch(partitions, wait_ms), 12).await.expect("Fetch is answered")
}

/// The error code and the bytes of each partition's records.
fn told(response: &FetchResponse) -> Vec<(i16, usize)> {
    let partitions = response.responses.iter().flat_map(|t| &t.partitions);
    partitions.map(|p| (p.error_code, p.records.as_ref().map_or(0, Bytes::len))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn kcat_writes_and_reads_through_it_while_a_leader_dies() {
    let mut cluster = replicated(6).await;
    let gateway = cluster.gateway_kafka_address(0);
    let idempotent = ["-P", "-t", "t", "-X", "enable.idempotence=true"];
    kcat(&gateway, &idempotent, &lines(0, 2_000));
    let leader = partition(&cluster, "t", 0).await.leader.unwrap().0 as usize;
    let producing = tokio::task::spawn_blocking({
        let gateway = gateway.clone();
        move || kcat(&gateway, &idempotent, &lines(2_000, 20_000))
    });
    cluster.kill(&node(leader));
    producing.await.unwrap();
    let read = kcat(&gateway, &["-C", "-t", "t", "-e", "-q"], b"");
    assert_eq!(sorted(&read), sorted(&lines(0, 22_000)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_produce_request_is_split_by_leader_and_answered_in_its_order() {
    let cluster = replicated(6).await;
    let kafka = cluster.through(0);
    let data = |number: i32| {
        PartitionProduceData::default()
            .with_index(number)
            .with_records(Some(batch_of(&[&format!("of {number}")])))
    };
    let of = |name: &str, numbers: &[i32]| {
        TopicProduceData::default()
            .with_name(topic_name(name))
            .with_partition_data(numbers.iter().map(|n| data(*n)).collect())
    };
    // Who is answered last has all before it committed, so that the ends below are known.
    for acks in [1, -1] {
        let topics = vec![of("t", &[5, 0, 3]), of("gone", &[0]), of("t", &[1, 99, 2, 4])];
        let request =
            ProduceRequest::default().with_acks(acks).with_timeout_ms(5_000).with_topic_data(topics);
        let answer = kafka.call_up_to(request, 12).await.unwrap();
        let told: Vec<Vec<(i32, i16)>> = answer
            .responses
            .iter()
            .map(|t| t.partition_responses.iter().map(|p| (p.index, p.error_code)).collect())
            .collect();
        let unknown = ResponseError::UnknownTopicOrPartition.code();
        assert_eq!(
            told,
            [vec![(5, 0), (0, 0), (3, 0)], vec![(0, unknown)], vec![(1, 0), (99, unknown), (2, 0), (4, 0)]]
        );
    }
    for number in 0..6 {
        assert_eq!(kafka.list_offset("t", number, -1).await, Ok(2), "partition {number}");
    }
    let partitions =
        (0..6).map(|n| ListOffsetsPartition::default().with_partition_index(n).with_timestamp(-1));
    let topic =
        ListOffsetsTopic::default().with_name(topic_name("t")).with_partitions(partitions.rev().collect());
    let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic]);
    let answer = kafka.call(request).await.unwrap();
    let offsets: Vec<(i32, i64)> =
        answer.topics[0].partitions.iter().map(|p| (p.partition_index, p.offset)).collect();
    assert_eq!(offsets, (0..6).rev().map(|n| (n, 2)).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_in_flight_keep_their_order_when_their_leader_dies() {
    let mut cluster = replicated(1).await;
    let kafka = cluster.through(0);
    let producer = kafka.init_producer_id().await;
    let batch = |sequence: i32| sequenced_batch(producer, sequence, &[format!("v{sequence}")]);
    let leader = partition(&cluster, "t", 0).await.leader.unwrap().0 as usize;
    cluster.process(&node(leader)).signal(Signal::STOP);
    // Five at once, on one connection, to a leader that does not answer.
    let sent: Vec<_> = (0..5)
        .map(|sequence| {
            let (kafka, batch) = (kafka.clone(), batch(sequence));
            tokio::spawn(async move { kafka.produce("t", 0, batch, -1).await.unwrap().error_code })
        })
        .collect();
    for answer in sent {
        let code = answer.await.unwrap();
        assert!(ResponseError::try_from_code(code).is_some_and(|e| e.is_retriable()), "{code}");
    }
    cluster.kill(&node(leader));
    // A later one is not taken before them, by whoever leads now.
    wait_until("another node leads", WITHIN, || async {
        partition(&cluster, "t", 0).await.leader.is_some_and(|l| l.0 as usize != leader)
    })
    .await;
    let early = kafka.produce("t", 0, batch(5), -1).await.unwrap().error_code;
    assert_ne!(early, 0, "a batch overtook five that were not acknowledged");
    for sequence in 0..6 {
        let kafka = &kafka;
        let batch = &batch;
        wait_until(&format!("batch {sequence} is written"), WITHIN, || async move {
            kafka.produce("t", 0, batch(sequence), -1).await.unwrap().error_code == 0
        })
        .await;
    }
    let records = kafka.read_all("t", 0, 0).await;
    let values: Vec<String> =
        records.iter().map(|r| String::from_utf8_lossy(r.value.as_ref().unwrap()).into_owned()).collect();
    assert_eq!(values, ["v0", "v1", "v2", "v3", "v4", "v5"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_does_not_wait_for_a_leader_that_does_not_answer() {
    let mut cluster = Cluster::start(THREE).await;
    let kafka = cluster.through(0);
    // One replica each: a record is to be seen at once, whoever is silent.
    assert_eq!(kafka.create_replicated("t", 3, 1, &[]).await, 0);
    in_sync(&cluster, 1).await;
    let mut leaders = Vec::new();
    for number in 0..3 {
        leaders.push(partition(&cluster, "t", number).await.leader.unwrap().0 as usize);
    }
    let silent = 0;
    let talking = (1..3).find(|n| leaders[*n] != leaders[silent]).expect("two nodes lead");
    let asked = [(silent as i32, 0), (talking as i32, 0)];
    // Without anything to read, the time is what was asked for.
    let begun = Instant::now();
    assert_eq!(told(&fetched(&kafka, &asked, 300).await), [(0, 0), (0, 0)]);
    assert!(begun.elapsed() >= Duration::from_millis(280), "{:?}", begun.elapsed());
    cluster.process(&node(leaders[silent])).signal(Signal::STOP);
    let begun = Instant::now();
    let write = kafka.produce("t", talking as i32, batch_of(&["news"]), 1);
    let other = cluster.through(0);
    let (response, written) =
        tokio::join!(other.call_up_to(fetch(&asked, 20_000), 12), async { write.await.unwrap().error_code });
    assert_eq!(written, 0);
    let seen = told(&response.unwrap());
    assert_eq!((seen[0], seen[1].0), ((0, 0), 0));
    assert!(seen[1].1 > 0, "{seen:?}");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    cluster.process(&node(leaders[silent])).signal(Signal::CONT);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_session_says_only_what_has_changed() {
    let cluster = replicated(6).await;
    let kafka = cluster.through(0);
    let all: Vec<(i32, i64)> = (0..6).map(|n| (n, 0)).collect();
    let begun = kafka.call_up_to(fetch(&all, 200).with_session_epoch(0), 12).await.unwrap();
    assert_ne!(begun.session_id, 0);
    assert_eq!(told(&begun).len(), 6);
    let next = |epoch| {
        fetch(&[], 200).with_topics(Vec::new()).with_session_id(begun.session_id).with_session_epoch(epoch)
    };
    // High watermarks that were not known at once may still come.
    let quiet = kafka.call_up_to(next(1), 12).await.unwrap();
    assert!(told(&quiet).iter().all(|seen| *seen == (0, 0)), "{quiet:?}");
    assert_eq!(kafka.produce("t", 4, batch_of(&["news"]), -1).await.unwrap().error_code, 0);
    let news = kafka.call_up_to(next(2), 12).await.unwrap();
    let numbers: Vec<i32> =
        news.responses.iter().flat_map(|t| &t.partitions).map(|p| p.partition_index).collect();
    assert_eq!(numbers, [4]);
    let skipped = kafka.call_up_to(next(7), 12).await.unwrap();
    assert_eq!(skipped.error_code, ResponseError::InvalidFetchSessionEpoch.code());
    let other = cluster.through(0).call_up_to(next(3), 12).await.unwrap();
    assert_eq!(other.error_code, ResponseError::FetchSessionIdNotFound.code(), "of another connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn members_at_two_gateways_are_one_group_and_outlive_its_coordinator() {
    let mut cluster = Cluster::start(ClusterSpec { gateways: 2, ..THREE }).await;
    assert_eq!(cluster.through(0).create_replicated("t", 4, 3, MIN_TWO).await, 0);
    in_sync(&cluster, 3).await;
    let addresses = [cluster.gateway_kafka_address(0), cluster.gateway_kafka_address(1)];
    for protocol in [Protocol::Eager, Protocol::Cooperative, Protocol::Consumer] {
        let group = format!("{protocol:?}");
        let members = addresses.each_ref().map(|at| Member::join(at, &group, "t", protocol));
        wait_until(&format!("{group}: the members share"), WITHIN, || async {
            share_all(&members.each_ref(), 4) && members.iter().all(|m| !m.owned().is_empty())
        })
        .await;
        let coordinator = partition(&cluster, OFFSETS_TOPIC, partition_of(&group, 50)).await.leader;
        let coordinator = node(coordinator.expect("somebody coordinates").0 as usize);
        let written = |round: &str| (0..4).map(|n| format!("{group}-{round}-{n}")).collect::<Vec<_>>();
        write(&cluster, &written("before")).await;
        see(&members, &written("before")).await;
        cluster.kill(&coordinator);
        write(&cluster, &written("after")).await;
        see(&members, &written("after")).await;
        let listed = cluster.through(1).call(ListGroupsRequest::default()).await.unwrap();
        assert!(listed.groups.iter().any(|g| g.group_id.as_str() == group), "{listed:?}");
        drop(members);
        cluster.start_one(&coordinator);
        cluster.ready().await;
        in_sync(&cluster, 3).await;
    }
}

/// Writes a value to each partition of `t`.
async fn write(cluster: &Cluster, values: &[String]) {
    let kafka = cluster.through(0);
    for (number, value) in (0..).zip(values) {
        wait_until(&format!("{value} is written"), WITHIN, || async {
            kafka.produce("t", number, batch_of(&[value]), -1).await.is_ok_and(|p| p.error_code == 0)
        })
        .await;
    }
}

/// Waits until the members have seen all of these.
async fn see(members: &[Member], values: &[String]) {
    wait_until(&format!("{values:?} are seen"), WITHIN, || async {
        let seen: Vec<String> = members.iter().flat_map(Member::seen).map(|seen| seen.value).collect();
        values.iter().all(|value| seen.contains(value))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_of_two_gateways_serves_any_request() {
    let spec = ClusterSpec { gateways: 2, ..THREE };
    let cluster = Cluster::start(spec).await;
    let gateways = [cluster.through(0), cluster.through(1)];
    assert_eq!(gateways[0].create_replicated("t", 3, 3, MIN_TWO).await, 0);
    in_sync(&cluster, 3).await;
    let producer = gateways[0].init_producer_id().await;
    for sequence in 0..20 {
        let batch = sequenced_batch(producer, sequence, &[format!("v{sequence}")]);
        let gateway = &gateways[sequence as usize % 2];
        wait_until("the gateway knows the topic", WITHIN, || async {
            gateway.produce("t", 0, batch.clone(), -1).await.unwrap().error_code == 0
        })
        .await;
    }
    for gateway in &gateways {
        let records = gateway.read_all("t", 0, 0).await;
        let values: Vec<_> = records.iter().map(|r| r.value.clone().unwrap()).collect();
        assert_eq!(values, (0..20).map(|n| Bytes::from(format!("v{n}"))).collect::<Vec<_>>());
    }
    assert_eq!(gateways[1].delete_topic("t").await, 0);
    let code = gateways[1].list_offset("t", 0, -1).await.unwrap_err();
    assert_eq!(code, ResponseError::UnknownTopicOrPartition.code(), "it has seen its own change");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_broker_is_to_be_seen() {
    let cluster = replicated(3).await;
    let kafka = cluster.through(0);
    let metadata = kafka.call(MetadataRequest::default().with_topics(None)).await.unwrap();
    let broker = &metadata.brokers[0];
    assert_eq!(metadata.brokers.len(), 1);
    assert_eq!(
        format!("{}:{}", broker.host.as_str(), broker.port),
        cluster.gateway_kafka_address(0),
        "what clients are told to connect to"
    );
    let of_t = metadata.topics.iter().find(|t| t.name.as_ref().is_some_and(|n| n.as_str() == "t")).unwrap();
    for partition in &of_t.partitions {
        assert_eq!((partition.leader_id, &partition.replica_nodes), (BrokerId(0), &vec![BrokerId(0)]));
    }
    let described = kafka.call(DescribeClusterRequest::default()).await.unwrap();
    assert_eq!((described.brokers.len(), described.controller_id), (1, BrokerId(0)));

    let placed = CreatableReplicaAssignment::default().with_broker_ids(vec![BrokerId(1)]);
    let topics = vec![
        CreatableTopic::default()
            .with_name(topic_name("placed"))
            .with_num_partitions(-1)
            .with_replication_factor(-1)
            .with_assignments(vec![placed]),
        CreatableTopic::default()
            .with_name(topic_name("free"))
            .with_num_partitions(2)
            .with_replication_factor(-1),
    ];
    let request = CreateTopicsRequest::default().with_topics(topics).with_timeout_ms(30_000);
    let answer = kafka.call(request).await.unwrap();
    let told: Vec<(&str, i16)> = answer.topics.iter().map(|t| (t.name.as_str(), t.error_code)).collect();
    assert_eq!(told, [("placed", ResponseError::InvalidReplicaAssignment.code()), ("free", 0)]);
    let message = answer.topics[0].error_message.clone().unwrap();
    assert!(message.contains("not visible through it"), "{}", message.as_str());

    let resource = |kind, name: &str| {
        DescribeConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(text(name))
            .with_configuration_keys(None)
    };
    let asked = [(2, "free"), (4, "2"), (4, "0"), (32, "g")];
    let resources = asked.iter().map(|(kind, name)| resource(*kind, name)).collect();
    let answer = kafka.call(DescribeConfigsRequest::default().with_resources(resources)).await.unwrap();
    let told: Vec<(i8, &str)> =
        answer.results.iter().map(|r| (r.resource_type, r.resource_name.as_str())).collect();
    assert_eq!(told, asked);
    let codes: Vec<i16> = answer.results.iter().map(|r| r.error_code).collect();
    assert_eq!(codes, [0, ResponseError::InvalidRequest.code(), 0, 0]);
    assert!(answer.results[2].configs.iter().all(|c| c.name.as_str() != "log.dirs"));
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_frames_end_their_connection_and_nothing_else() {
    let cluster = Cluster::small().await;
    let address = cluster.gateway_kafka_address(0);
    let frame = |api: i16, version: i16, body: &[u8]| {
        let mut frame = ((body.len() + 8) as i32).to_be_bytes().to_vec();
        frame.extend([api.to_be_bytes(), version.to_be_bytes()].concat());
        frame.extend(7i32.to_be_bytes());
        frame.extend(body);
        frame
    };
    let bad = [
        i32::MAX.to_be_bytes().to_vec(),
        (-1i32).to_be_bytes().to_vec(),
        frame(999, 0, b""),
        // An API that is a storage node's only.
        frame(35, 1, &[0, 0, 0, 0, 0, 0]),
        // A Fetch, a JoinGroup and a Produce whose bodies are cut off.
        frame(1, 11, &[0, 0, 1]),
        frame(11, 5, &[0, 0, 1]),
        frame(0, 9, &[0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x7f]),
    ];
    for bytes in bad {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let _ = stream.write_all(&bytes);
        let mut answer = [0; 64];
        assert_eq!(stream.read(&mut answer).unwrap_or(0), 0, "{bytes:?}");
    }
    let kafka = cluster.through(0);
    assert_eq!(kafka.create_topic("t", 1).await, 0);
    assert_eq!(kafka.produce("t", 0, batch_of(&["x"]), 1).await.unwrap().error_code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_told_to_stop_answers_what_was_asked() {
    let mut cluster = Cluster::small().await;
    assert_eq!(cluster.kafka(0).create_topic("t", 1).await, 0);
    let kafka = cluster.through(0);
    wait_until("the gateway knows the topic", WITHIN, || async {
        kafka.list_offset("t", 0, -1).await.is_ok()
    })
    .await;
    let polling = tokio::spawn(async move { kafka.call_up_to(fetch(&[(0, 0)], 60_000), 12).await });
    // The poll has arrived once the gateway has asked on its behalf; a second request is answered after it begins.
    assert_eq!(cluster.through(0).list_offset("t", 0, -1).await, Ok(0));
    let begun = Instant::now();
    cluster.terminate("gateway-0");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let answer = polling.await.unwrap();
    if let Ok(answer) = answer {
        assert_eq!(told(&answer), [(0, 0)]);
    }
}

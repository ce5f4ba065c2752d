use assign::Partitions;
use bytes::Bytes;
use domain::{LeaderEpoch, Offset, PartitionIndex, TopicId};
use uuid::Uuid;

use super::*;

/// What a record looks like: hex digits, with texts in quotes between them.
fn raw(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for (place, part) in text.split('\'').enumerate() {
        if place % 2 == 1 {
            out.extend_from_slice(part.as_bytes());
            continue;
        }
        let digits: Vec<u8> =
            part.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_digit(16).unwrap() as u8).collect();
        out.extend(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]));
    }
    out
}

/// That a record is written as these bytes, and read from them.
fn assert_bytes(entry: &Entry, key: &str, value: &str) {
    let (written_key, written_value) = entry.encode();
    assert_eq!(&written_key[..], raw(key), "{} key", entry.kind());
    assert_eq!(written_value.as_deref(), Some(&raw(value)[..]), "{} value", entry.kind());
    assert_eq!(Entry::decode(&raw(key), Some(&raw(value))), Ok(Some(entry.clone())));
}

fn committed(offset: i64, leader_epoch: i32) -> CommittedOffset {
    CommittedOffset {
        offset: Offset(offset),
        leader_epoch: LeaderEpoch(leader_epoch),
        metadata: "m".into(),
        committed_at_ms: 256,
        expires_at_ms: None,
        topic_id: None,
    }
}

fn commit(value: CommittedOffset) -> Entry {
    let (group, topic) = ("g".into(), "tt".into());
    Entry::OffsetCommit { group, topic, partition: PartitionIndex(3), value: Some(value) }
}

fn partitions(topic: u128, indexes: &[i32]) -> Partitions {
    Partitions::from([(
        TopicId(Uuid::from_u128(topic)),
        indexes.iter().map(|i| PartitionIndex(*i)).collect(),
    )])
}

const COMMIT_KEY: &str = "0001 0001'g' 0002'tt' 00000003";

#[test]
fn an_offset_is_written_in_version_4_with_its_topics_id() {
    let of_topic = |topic_id| CommittedOffset { topic_id, ..committed(258, 7) };
    let value =
        "0004 0000000000000102 00000007 02'm' 0000000000000100 01 00 10 000000000000000000000000000000ab";
    assert_bytes(&commit(of_topic(Some(TopicId(Uuid::from_u128(0xab))))), COMMIT_KEY, value);
    let value = "0004 0000000000000102 00000007 02'm' 0000000000000100 00";
    assert_bytes(&commit(of_topic(None)), COMMIT_KEY, value);
}

#[test]
fn an_offset_that_expires_is_written_in_version_1_without_its_leader_epoch() {
    let expiring = CommittedOffset { expires_at_ms: Some(512), ..committed(258, -1) };
    let value = "0001 0000000000000102 0001'm' 0000000000000100 0000000000000200";
    assert_bytes(&commit(expiring), COMMIT_KEY, value);
}

#[test]
fn offsets_of_all_versions_are_read() {
    let versions = [
        ("0000 0000000000000102 0001'm' 0000000000000100", -1),
        ("0001 0000000000000102 0001'm' 0000000000000100 ffffffffffffffff", -1),
        ("0002 0000000000000102 0001'm' 0000000000000100", -1),
        ("0003 0000000000000102 00000007 0001'm' 0000000000000100", 7),
        ("0004 0000000000000102 00000007 02'm' 0000000000000100 01 05 02 abcd", 7),
    ];
    for (value, epoch) in versions {
        let read = Entry::decode(&raw(COMMIT_KEY), Some(&raw(value)));
        assert_eq!(read, Ok(Some(commit(committed(258, epoch)))), "{value}");
    }
    let oldest_key = raw("0000 0001'g' 0002'tt' 00000003");
    assert_eq!(Entry::decode(&oldest_key, Some(&raw(versions[2].0))), Ok(Some(commit(committed(258, -1)))));
}

fn classic() -> ClassicMetadata {
    ClassicMetadata {
        protocol_type: "consumer".into(),
        generation: 5,
        protocol: Some("range".into()),
        leader: None,
        state_since_ms: 256,
        members: vec![ClassicMember {
            member: "m-1".into(),
            instance: None,
            client_id: "c".into(),
            client_host: "/h".into(),
            rebalance_timeout_ms: 2,
            session_timeout_ms: 1,
            subscription: Bytes::from_static(&[0xaa]),
            assignment: Bytes::new(),
        }],
    }
}

#[test]
fn a_classic_group_is_written_in_version_3() {
    let entry = Entry::ClassicGroup { group: "g".into(), value: Some(classic()) };
    let value = "0003 0008'consumer' 00000005 0005'range' ffff 0000000000000100 00000001
        0003'm-1' ffff 0001'c' 0002'/h' 00000002 00000001 00000001 aa 00000000";
    assert_bytes(&entry, "0002 0001'g'", value);
}

#[test]
fn classic_groups_of_all_versions_are_read() {
    let read = |value: &str| match Entry::decode(&raw("0002 0001'g'"), Some(&raw(value))) {
        Ok(Some(Entry::ClassicGroup { value: Some(value), .. })) => value,
        other => panic!("{other:?}"),
    };
    let oldest = read(
        "0000 0008'consumer' 00000005 0005'range' ffff 00000001
         0003'm-1' 0001'c' 0002'/h' 00000001 00000001 aa 00000000",
    );
    let mut expected = ClassicMetadata { state_since_ms: -1, ..classic() };
    expected.members[0].rebalance_timeout_ms = 1;
    assert_eq!(oldest, expected, "one timeout serves as both");
    let flexible = read(
        "0004 09'consumer' 00000005 06'range' 00 0000000000000100 02
         04'm-1' 00 02'c' 03'/h' 00000002 00000001 02 aa 01 00 00",
    );
    assert_eq!(flexible, classic());
}

#[test]
fn the_epoch_of_a_consumer_group_has_its_hash_in_a_tagged_field() {
    let entry = |metadata_hash| Entry::ConsumerGroup {
        group: "g".into(),
        value: Some(GroupEpoch { epoch: 9, metadata_hash }),
    };
    assert_bytes(&entry(0), "0003 0001'g'", "0000 00000009 00");
    assert_bytes(&entry(-1), "0003 0001'g'", "0000 00000009 01 00 08 ffffffffffffffff");
}

#[test]
fn the_partitions_that_kafka_once_wrote_are_known_by_their_key_only() {
    let entry = Entry::ConsumerPartitions { group: "g".into() };
    assert_eq!(Entry::decode(&raw("0004 0001'g'"), Some(&raw("0000 ff"))), Ok(Some(entry.clone())));
    assert_eq!(entry.encode(), (Bytes::from(raw("0004 0001'g'")), None));
}

#[test]
fn a_member_of_the_consumer_protocol_has_no_tagged_fields() {
    let value = MemberSubscription {
        instance: None,
        rack: Some("r".into()),
        client_id: "c".into(),
        client_host: "/h".into(),
        topics: ["a".into(), "b".into()].into(),
        regex: None,
        rebalance_timeout_ms: 1000,
        assignor: Some("uniform".into()),
        classic: None,
    };
    let entry = Entry::ConsumerMember { group: "g".into(), member: "m".into(), value: Some(value) };
    let value = "0000 00 02'r' 02'c' 03'/h' 03 02'a' 02'b' 00 000003e8 08'uniform' 00";
    assert_bytes(&entry, "0005 0001'g' 0001'm'", value);
}

#[test]
fn a_member_of_the_classic_protocol_has_its_protocols_in_a_tagged_field() {
    let metadata = Bytes::from_static(&[1, 2]);
    let value = MemberSubscription {
        rebalance_timeout_ms: -1,
        classic: Some(ClassicProtocols {
            session_timeout_ms: 45_000,
            protocols: vec![ClassicProtocol { name: "range".into(), metadata }],
        }),
        ..MemberSubscription::default()
    };
    let entry = Entry::ConsumerMember { group: "g".into(), member: "m".into(), value: Some(value) };
    // The tag 0 has 17 bytes: not null, the timeout, one protocol, no tagged fields in either.
    let value = "0000 00 00 01 01 01 00 ffffffff 00 01 00 11 01 0000afc8 02 06'range' 03 0102 00 00";
    assert_bytes(&entry, "0005 0001'g' 0001'm'", value);
}

#[test]
fn a_target_has_its_epoch_and_each_members_partitions() {
    let entry = Entry::ConsumerTarget { group: "g".into(), value: Some(TargetEpoch { epoch: 2 }) };
    assert_bytes(&entry, "0006 0001'g'", "0000 00000002 00");
    let with_its_time = raw("0000 00000002 01 00 08 0000000000000100");
    assert_eq!(Entry::decode(&raw("0006 0001'g'"), Some(&with_its_time)), Ok(Some(entry)));

    let (group, member, value) = ("g".into(), "m".into(), Some(partitions(1, &[0, 5])));
    let entry = Entry::ConsumerTargetMember { group, member, value };
    let value = "0000 02 00000000000000000000000000000001 03 00000000 00000005 00 00";
    assert_bytes(&entry, "0007 0001'g' 0001'm'", value);
}

#[test]
fn a_current_assignment_has_what_is_owned_and_what_is_to_be_given_up() {
    let value = CurrentAssignment {
        epoch: 3,
        previous_epoch: 2,
        state: MemberState::UnrevokedPartitions,
        assigned: partitions(1, &[0]),
        pending_revocation: Partitions::new(),
    };
    let entry = Entry::ConsumerCurrent { group: "g".into(), member: "m".into(), value: Some(value) };
    let (key, topic) = ("0008 0001'g' 0001'm'", "00000000000000000000000000000001");
    assert_bytes(&entry, key, &format!("0000 00000003 00000002 01 02 {topic} 02 00000000 00 01 00"));
    // Newer ones say since which epoch each partition is there.
    let newer = format!("0000 00000003 00000002 01 02 {topic} 02 00000000 01 00 05 02 00000003 01 00");
    assert_eq!(Entry::decode(&raw(key), Some(&raw(&newer))), Ok(Some(entry)));
}

#[test]
fn a_regular_expression_has_the_topics_that_it_matched() {
    let value = ResolvedRegex { topics: ["ab".into()].into(), version: 1, resolved_at_ms: 2 };
    let entry = Entry::ConsumerRegex { group: "g".into(), regex: "a.".into(), value: Some(value) };
    let value = "0000 02 03'ab' 0000000000000001 0000000000000002 00";
    assert_bytes(&entry, "0010 0001'g' 0002'a.'", value);
}

#[test]
fn keys_of_other_versions_are_left_alone() {
    for version in [-1_i16, 9, 15, 17, 19, i16::MAX] {
        assert_eq!(Entry::decode(&version.to_be_bytes(), Some(b"anything")), Ok(None), "{version}");
    }
}

#[test]
fn an_error_says_which_record_and_what_was_wrong() {
    let refused =
        |key: &str, value: &str| Entry::decode(&raw(key), Some(&raw(value))).unwrap_err().to_string();
    assert_eq!(refused("00", ""), "a key of 1 bytes has no version");
    assert_eq!(refused("0002 0004'g'", ""), "GroupMetadata key: group needs 4 bytes, 1 are left");
    assert_eq!(refused("0002 ffff", ""), "GroupMetadata key: group is null");
    assert_eq!(refused("0002 8000", ""), "GroupMetadata key: group has length -32768");
    assert_eq!(refused("0002 0001'g' 00", ""), "GroupMetadata key: 1 bytes are left over");
    assert_eq!(refused("0002 0001 ff", ""), "GroupMetadata key: group is not UTF-8");
    assert_eq!(refused("0002 0001'g'", "0005"), "GroupMetadata value: version 5 is unknown");
    assert_eq!(refused("0003 0001'g'", "0001"), "ConsumerGroupMetadata value: version 1 is unknown");
    assert_eq!(
        refused("0007 0001'g' 0001'm'", "0000 ffffffff7f"),
        "ConsumerGroupTargetAssignmentMember value: topicPartitions is not a variable-length integer of 32 bits"
    );
}

#[test]
fn a_claimed_length_is_not_believed() {
    let huge = raw("0000 ffffffff0f");
    assert_eq!(
        Entry::decode(&raw("0007 0001'g' 0001'm'"), Some(&huge)),
        Err(EntryError::Value {
            kind: EntryKind::ConsumerTargetMember,
            flaw: Flaw::Short { field: "topicPartitions", wanted: u32::MAX as usize - 1, left: 0 }
        })
    );
}

#[test]
fn a_text_beyond_kafkas_limit_is_cut_rather_than_spoilt() {
    let entry = Entry::ClassicGroup { group: format!("{}\u{e9}", "g".repeat(32_766)), value: None };
    let read = Entry::decode(&entry.encode().0, None);
    assert_eq!(read, Ok(Some(Entry::ClassicGroup { group: "g".repeat(32_766), value: None })));
}

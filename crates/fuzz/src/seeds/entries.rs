use bytes::Bytes;
use domain::{LeaderEpoch, Offset, PartitionIndex, TopicId};
use group::{
    ClassicMember, ClassicMetadata, ClassicProtocol, ClassicProtocols, CommittedOffset, CurrentAssignment,
    Entry, GroupEpoch, MemberState, MemberSubscription, ResolvedRegex, TargetEpoch,
};
use uuid::Uuid;

/// Each kind of entry, as it is written and as a tombstone, values of the versions that are only read, and what members say.
pub(crate) fn entries() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for entry in all() {
        let (key, value) = entry.encode();
        let with = |value: &[u8]| [&[key.len() as u8], &key[..], value].concat();
        seeds.push(with(&[]));
        seeds.extend(value.as_deref().map(with));
        for version in 0..5 {
            // Another version of the same value goes wrong somewhere, from where mutation leads on.
            seeds.extend(value.as_deref().map(|value| with(&[&[0, version], &value[2..]].concat())));
        }
    }
    seeds.extend([&SUBSCRIPTION[..], ASSIGNMENT].map(|said| [&[u8::MAX], said].concat()));
    seeds
}

/// Version 3: a topic, no user data, an owned partition, a generation, a rack.
const SUBSCRIPTION: &[u8] =
    b"\0\x03\0\0\0\x01\0\x01t\xff\xff\xff\xff\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\x07\0\0\0\x05\0\x01r";
const ASSIGNMENT: &[u8] = b"\0\x01\0\0\0\x01\0\x01t\0\0\0\x02\0\0\0\x07\0\0\0\x08\xff\xff\xff\xff";

fn all() -> Vec<Entry> {
    let text = str::to_owned;
    let (group, member) = (text("a-group"), text("member-1"));
    let partitions = [1, 9].map(|id| (TopicId(Uuid::from_u128(id)), [0, 5].map(PartitionIndex).into()));
    let classic = ClassicProtocols {
        session_timeout_ms: 45_000,
        protocols: vec![ClassicProtocol { name: text("range"), metadata: Bytes::from_static(SUBSCRIPTION) }],
    };
    let committed = |expires_at_ms| CommittedOffset {
        offset: Offset(258),
        leader_epoch: if expires_at_ms == None { LeaderEpoch(7) } else { LeaderEpoch::UNKNOWN },
        metadata: text("m"),
        committed_at_ms: 256,
        expires_at_ms,
        topic_id: Some(TopicId(Uuid::from_u128(7))).filter(|_| expires_at_ms == None),
    };
    let commit = |expires_at_ms| Entry::OffsetCommit {
        group: group.clone(),
        topic: text("orders"),
        partition: PartitionIndex(3),
        value: Some(committed(expires_at_ms)),
    };
    let classic_member = ClassicMember {
        member: member.clone(),
        instance: Some(text("i")),
        client_id: text("c"),
        client_host: text("/h"),
        rebalance_timeout_ms: 2,
        session_timeout_ms: 1,
        subscription: Bytes::from_static(SUBSCRIPTION),
        assignment: Bytes::from_static(ASSIGNMENT),
    };
    let classic_group = ClassicMetadata {
        protocol_type: text("consumer"),
        generation: 5,
        protocol: Some(text("range")),
        leader: Some(member.clone()),
        state_since_ms: 256,
        members: vec![classic_member; 2],
    };
    let said = MemberSubscription {
        instance: Some(text("i")),
        rack: Some(text("r")),
        client_id: text("c"),
        client_host: text("/h"),
        topics: ["a", "b"].map(text).into(),
        regex: Some(text("o.*")),
        rebalance_timeout_ms: 1_000,
        assignor: Some(text("uniform")),
        classic: Some(classic),
    };
    let current = CurrentAssignment {
        epoch: 3,
        previous_epoch: 2,
        state: MemberState::UnrevokedPartitions,
        assigned: partitions.clone().into(),
        pending_revocation: partitions.clone().into(),
    };
    let resolved = ResolvedRegex { topics: ["ab".to_owned()].into(), version: 1, resolved_at_ms: 2 };
    vec![
        commit(None),
        commit(Some(999)),
        Entry::ClassicGroup { group: group.clone(), value: Some(classic_group) },
        Entry::ConsumerGroup {
            group: group.clone(),
            value: Some(GroupEpoch { epoch: 9, metadata_hash: -1 }),
        },
        Entry::ConsumerPartitions { group: group.clone() },
        Entry::ConsumerMember { group: group.clone(), member: member.clone(), value: Some(said) },
        Entry::ConsumerTarget { group: group.clone(), value: Some(TargetEpoch { epoch: 2 }) },
        Entry::ConsumerTargetMember {
            group: group.clone(),
            member: member.clone(),
            value: Some(partitions.into()),
        },
        Entry::ConsumerCurrent { group: group.clone(), member, value: Some(current) },
        Entry::ConsumerRegex { group, regex: text("a."), value: Some(resolved) },
    ]
}

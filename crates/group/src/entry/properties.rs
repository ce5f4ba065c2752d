use std::collections::BTreeSet;

use assign::Partitions;
use bytes::Bytes;
use domain::{LeaderEpoch, Offset, PartitionIndex, TopicId};
use proptest::{collection, option, prelude::*};
use uuid::Uuid;

use super::*;

fn texts() -> impl Strategy<Value = BTreeSet<String>> {
    collection::btree_set(any::<String>(), 0..4)
}

fn data() -> impl Strategy<Value = Bytes> {
    collection::vec(any::<u8>(), 0..200).prop_map(Bytes::from)
}

fn any_partitions() -> impl Strategy<Value = Partitions> {
    let indexes = collection::btree_set(any::<i32>().prop_map(PartitionIndex), 1..5);
    collection::btree_map(any::<u128>().prop_map(|id| TopicId(Uuid::from_u128(id))), indexes, 0..4)
}

fn any_offset() -> impl Strategy<Value = CommittedOffset> {
    let expires = option::of(0..i64::MAX);
    let topic = option::of((1..u128::MAX).prop_map(|id| TopicId(Uuid::from_u128(id))));
    (any::<(i64, i32, String, i64)>(), expires, topic).prop_map(
        |((offset, epoch, metadata, at_ms), expires_at_ms, topic)| CommittedOffset {
            offset: Offset(offset),
            leader_epoch: if expires_at_ms.is_some() { LeaderEpoch::UNKNOWN } else { LeaderEpoch(epoch) },
            metadata,
            committed_at_ms: at_ms,
            expires_at_ms,
            topic_id: topic.filter(|_| expires_at_ms.is_none()),
        },
    )
}

fn any_classic() -> impl Strategy<Value = ClassicMetadata> {
    let member = (any::<(String, Option<String>, String, String, i32, i32)>(), data(), data());
    let member = member.prop_map(|(said, subscription, assignment)| ClassicMember {
        member: said.0,
        instance: said.1,
        client_id: said.2,
        client_host: said.3,
        rebalance_timeout_ms: said.4,
        session_timeout_ms: said.5,
        subscription,
        assignment,
    });
    let group = any::<(String, i32, Option<String>, Option<String>, i64)>();
    (group, collection::vec(member, 0..4)).prop_map(|(group, members)| ClassicMetadata {
        protocol_type: group.0,
        generation: group.1,
        protocol: group.2,
        leader: group.3,
        state_since_ms: group.4,
        members,
    })
}

fn any_subscription() -> impl Strategy<Value = MemberSubscription> {
    let protocol = (any::<String>(), data()).prop_map(|(name, metadata)| ClassicProtocol { name, metadata });
    let classic = (any::<i32>(), collection::vec(protocol, 0..3))
        .prop_map(|(session_timeout_ms, protocols)| ClassicProtocols { session_timeout_ms, protocols });
    let said = any::<(Option<String>, Option<String>, String, String, Option<String>, i32, Option<String>)>();
    (said, texts(), option::of(classic)).prop_map(|(said, topics, classic)| MemberSubscription {
        instance: said.0,
        rack: said.1,
        client_id: said.2,
        client_host: said.3,
        topics,
        regex: said.4,
        rebalance_timeout_ms: said.5,
        assignor: said.6,
        classic,
    })
}

fn any_current() -> impl Strategy<Value = CurrentAssignment> {
    (any::<(i32, i32, i8)>(), any_partitions(), any_partitions()).prop_map(
        |((epoch, previous_epoch, state), assigned, pending_revocation)| {
            let state = [
                MemberState::Stable,
                MemberState::UnrevokedPartitions,
                MemberState::UnreleasedPartitions,
                MemberState::Unknown,
            ][state.rem_euclid(4) as usize];
            CurrentAssignment { epoch, previous_epoch, state, assigned, pending_revocation }
        },
    )
}

fn any_regex() -> impl Strategy<Value = ResolvedRegex> {
    (texts(), any::<i64>(), any::<i64>()).prop_map(|(topics, version, resolved_at_ms)| ResolvedRegex {
        topics,
        version,
        resolved_at_ms,
    })
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let group = any::<String>;
    prop_oneof![
        (group(), any::<(String, i32)>(), option::of(any_offset())).prop_map(
            |(group, (topic, index), value)| {
                Entry::OffsetCommit { group, topic, partition: PartitionIndex(index), value }
            }
        ),
        (group(), option::of(any_classic())).prop_map(|(group, value)| Entry::ClassicGroup { group, value }),
        any::<(String, Option<(i32, i64)>)>().prop_map(|(group, value)| {
            let value = value.map(|(epoch, metadata_hash)| GroupEpoch { epoch, metadata_hash });
            Entry::ConsumerGroup { group, value }
        }),
        group().prop_map(|group| Entry::ConsumerPartitions { group }),
        (group(), group(), option::of(any_subscription()))
            .prop_map(|(group, member, value)| Entry::ConsumerMember { group, member, value }),
        any::<(String, Option<i32>)>().prop_map(|(group, value)| {
            Entry::ConsumerTarget { group, value: value.map(|epoch| TargetEpoch { epoch }) }
        }),
        (group(), group(), option::of(any_partitions()))
            .prop_map(|(group, member, value)| Entry::ConsumerTargetMember { group, member, value }),
        (group(), group(), option::of(any_current()))
            .prop_map(|(group, member, value)| Entry::ConsumerCurrent { group, member, value }),
        (group(), group(), option::of(any_regex())).prop_map(|(group, regex, value)| Entry::ConsumerRegex {
            group,
            regex,
            value
        }),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read(entry in any_entry()) {
        let (key, value) = entry.encode();
        prop_assert_eq!(Entry::decode(&key, value.as_deref()), Ok(Some(entry)));
    }

    #[test]
    fn no_bytes_make_it_panic(key in collection::vec(any::<u8>(), 0..64), value in data()) {
        let _ = Entry::decode(&key, Some(&value));
    }

    /// Bytes that go far before they go wrong: one byte of a good record is another, and its end is missing.
    #[test]
    fn no_damaged_record_makes_it_panic(
        entry in any_entry(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        end in any::<prop::sample::Index>(),
    ) {
        let (key, value) = entry.encode();
        for (damages_key, part) in [(true, Some(&key)), (false, value.as_ref())] {
            let Some(part) = part else { continue };
            let mut damaged = part.to_vec();
            damaged[at.index(part.len())] = byte;
            for damaged in [&damaged[..], &part[..end.index(part.len())]] {
                let _ = match damages_key {
                    true => Entry::decode(damaged, value.as_deref()),
                    false => Entry::decode(&key, Some(damaged)),
                };
            }
        }
    }
}

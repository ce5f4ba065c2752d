//! Requests in few words.

use std::collections::BTreeSet;

use bytes::{BufMut, Bytes, BytesMut};
use domain::TopicId;
use wire::{
    StrBytes,
    messages::{
        ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, HeartbeatRequest, JoinGroupRequest,
        JoinGroupResponse, LeaveGroupRequest, OffsetCommitRequest, OffsetFetchRequest, SyncGroupRequest,
        SyncGroupResponse,
        consumer_group_heartbeat_request::TopicPartitions,
        join_group_request::JoinGroupRequestProtocol,
        leave_group_request::MemberIdentity,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
        sync_group_request::SyncGroupRequestAssignment,
    },
};

use super::bench::Bench;
use crate::{Answer, Call, Token};

pub(super) type Owned = BTreeSet<(TopicId, i32)>;

pub(super) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// The first heartbeat of a member of the consumer protocol in group `g`, for topic `t`.
pub(super) fn first(member: &str) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest::default()
        .with_group_id(text("g").into())
        .with_member_id(text(member))
        .with_member_epoch(0)
        .with_rebalance_timeout_ms(10_000)
        .with_subscribed_topic_names(Some(vec![text("t").into()]))
        .with_topic_partitions(Some(Vec::new()))
}

pub(super) fn heartbeat(member: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest::default()
        .with_group_id(text("g").into())
        .with_member_id(text(member))
        .with_member_epoch(epoch)
        .with_rebalance_timeout_ms(-1)
        .with_topic_partitions(None)
}

pub(super) fn owning(owned: &Owned) -> Option<Vec<TopicPartitions>> {
    let topics: BTreeSet<TopicId> = owned.iter().map(|(topic, _)| *topic).collect();
    let of =
        |topic: TopicId| owned.iter().filter(move |(of, _)| *of == topic).map(|(_, partition)| *partition);
    let topics = topics
        .into_iter()
        .map(|topic| TopicPartitions::default().with_topic_id(topic.0).with_partitions(of(topic).collect()));
    Some(topics.collect())
}

/// What a heartbeat's answer gives to the member.
pub(super) fn given(answer: &ConsumerGroupHeartbeatResponse) -> Option<Owned> {
    let assignment = answer.assignment.as_ref()?;
    let topics = assignment.topic_partitions.iter();
    Some(topics.flat_map(|t| t.partitions.iter().map(|p| (TopicId(t.topic_id), *p))).collect())
}

impl Bench {
    pub(super) fn beat(&mut self, request: ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatResponse {
        match self.call(1, Call::ConsumerHeartbeat(request)) {
            Answer::ConsumerHeartbeat(answer) => answer,
            other => panic!("{other:?}"),
        }
    }

    /// A heartbeat that must be accepted; the epoch, and what is given.
    pub(super) fn good_beat(&mut self, request: ConsumerGroupHeartbeatRequest) -> (i32, Option<Vec<i32>>) {
        let answer = self.beat(request);
        assert_eq!((answer.error_code, answer.error_message.as_ref()), (0, None));
        (answer.member_epoch, given(&answer).map(|given| given.into_iter().map(|(_, p)| p).collect()))
    }

    /// A heartbeat that says that these partitions of `t` are owned.
    pub(super) fn owns(&mut self, member: &str, epoch: i32, owned: &[i32]) -> (i32, Option<Vec<i32>>) {
        let topic = self.topic();
        let owned: Owned = owned.iter().map(|partition| (topic, *partition)).collect();
        self.good_beat(heartbeat(member, epoch).with_topic_partitions(owning(&owned)))
    }

    pub(super) fn join(&mut self, version: i16, request: JoinGroupRequest) -> Token {
        self.send(version, Call::Join(request))
    }

    pub(super) fn joined(&mut self, token: Token) -> Option<JoinGroupResponse> {
        self.answer(token).map(|answer| match answer {
            Answer::Join(answer) => answer,
            other => panic!("{other:?}"),
        })
    }

    pub(super) fn sync(&mut self, request: SyncGroupRequest) -> Token {
        self.send(5, Call::Sync(request))
    }

    pub(super) fn synced(&mut self, token: Token) -> Option<SyncGroupResponse> {
        self.answer(token).map(|answer| match answer {
            Answer::Sync(answer) => answer,
            other => panic!("{other:?}"),
        })
    }

    pub(super) fn classic_beat(&mut self, member: &str, generation: i32) -> i16 {
        let request = HeartbeatRequest::default()
            .with_group_id(text("g").into())
            .with_member_id(text(member))
            .with_generation_id(generation);
        match self.call(4, Call::Heartbeat(request)) {
            Answer::Heartbeat(answer) => answer.error_code,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn leave(&mut self, leaving: &[(&str, Option<&str>)]) -> Vec<i16> {
        let members = leaving.iter().map(|(member, instance)| {
            MemberIdentity::default().with_member_id(text(member)).with_group_instance_id(instance.map(text))
        });
        let request =
            LeaveGroupRequest::default().with_group_id(text("g").into()).with_members(members.collect());
        match self.call(5, Call::Leave(request)) {
            Answer::Leave(answer) => answer.members.iter().map(|member| member.error_code).collect(),
            other => panic!("{other:?}"),
        }
    }

    /// The error of committing this offset for partition 0 of `t`.
    pub(super) fn commit(&mut self, member: &str, epoch: i32, offset: i64) -> i16 {
        self.commit_as(
            9,
            commit("t", offset).with_member_id(text(member)).with_generation_id_or_member_epoch(epoch),
        )
    }

    pub(super) fn commit_as(&mut self, version: i16, request: OffsetCommitRequest) -> i16 {
        match self.call(version, Call::OffsetCommit(request)) {
            Answer::OffsetCommit(answer) => answer.topics[0].partitions[0].error_code,
            other => panic!("{other:?}"),
        }
    }

    /// What is committed for partition 0 of a topic; -1 if nothing is.
    pub(super) fn fetch(&mut self, topic: &str) -> i64 {
        let topics =
            OffsetFetchRequestTopics::default().with_name(text(topic).into()).with_partition_indexes(vec![0]);
        let group = OffsetFetchRequestGroup::default()
            .with_group_id(text("g").into())
            .with_member_epoch(-1)
            .with_topics(Some(vec![topics]));
        match self.call(9, Call::OffsetFetch(OffsetFetchRequest::default().with_groups(vec![group]))) {
            Answer::OffsetFetch(answer) => answer.groups[0].topics[0].partitions[0].committed_offset,
            other => panic!("{other:?}"),
        }
    }
}

pub(super) fn commit(topic: &str, offset: i64) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition::default().with_committed_offset(offset);
    let topic =
        OffsetCommitRequestTopic::default().with_name(text(topic).into()).with_partitions(vec![partition]);
    OffsetCommitRequest::default()
        .with_group_id(text("g").into())
        .with_generation_id_or_member_epoch(-1)
        .with_retention_time_ms(-1)
        .with_topics(vec![topic])
}

/// What a consumer of the classic protocol says: its topics, and the partitions of `t` that it owns.
pub(super) fn subscription(topics: &[&str], owned: &[i32]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(1);
    out.put_i32(i32::try_from(topics.len()).unwrap());
    for topic in topics {
        put_text(&mut out, topic);
    }
    out.put_i32(-1);
    put_partitions(&mut out, owned);
    out.freeze()
}

pub(super) fn assignment(partitions: &[i32]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(1);
    put_partitions(&mut out, partitions);
    out.put_i32(-1);
    out.freeze()
}

fn put_text(out: &mut BytesMut, text: &str) {
    out.put_i16(i16::try_from(text.len()).unwrap());
    out.put_slice(text.as_bytes());
}

fn put_partitions(out: &mut BytesMut, partitions: &[i32]) {
    if partitions.is_empty() {
        return out.put_i32(0);
    }
    out.put_i32(1);
    put_text(out, "t");
    out.put_i32(i32::try_from(partitions.len()).unwrap());
    partitions.iter().for_each(|partition| out.put_i32(*partition));
}

/// The partitions of `t` in an assignment.
pub(super) fn assigned(bytes: &[u8]) -> Vec<i32> {
    let named = crate::migrate::Embedded::assignment(bytes).unwrap();
    named
        .into_iter()
        .flat_map(|(topic, partitions)| {
            assert_eq!(topic, "t");
            partitions
        })
        .collect()
}

/// A join of a consumer for topic `t`, with these protocols.
pub(super) fn join(member: &str, protocols: &[&str]) -> JoinGroupRequest {
    join_with(member, protocols, subscription(&["t"], &[]))
}

pub(super) fn join_with(member: &str, protocols: &[&str], metadata: Bytes) -> JoinGroupRequest {
    let protocol = |name: &&str| {
        JoinGroupRequestProtocol::default().with_name(text(name)).with_metadata(metadata.clone())
    };
    JoinGroupRequest::default()
        .with_group_id(text("g").into())
        .with_member_id(text(member))
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(20_000)
        .with_protocol_type(text("consumer"))
        .with_protocols(protocols.iter().map(protocol).collect())
}

pub(super) fn sync(member: &str, generation: i32, parts: &[(&str, &[i32])]) -> SyncGroupRequest {
    let parts = parts.iter().map(|(member, partitions)| {
        SyncGroupRequestAssignment::default()
            .with_member_id(text(member))
            .with_assignment(assignment(partitions))
    });
    SyncGroupRequest::default()
        .with_group_id(text("g").into())
        .with_member_id(text(member))
        .with_generation_id(generation)
        .with_assignments(parts.collect())
}

//! The requests about one group, and what each answers while the group's coordinator is not there.

use std::time::Duration;

use wire::{
    ResponseError,
    messages::{
        ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, HeartbeatRequest, HeartbeatResponse,
        JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse, OffsetCommitRequest,
        OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse, SyncGroupRequest, SyncGroupResponse,
        offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic},
    },
};

use super::coordinator::GroupRequest;

/// Longer than members are waited for by any coordinator whose clients do not say for how long.
const SYNC_MAX: Duration = Duration::from_secs(330);
/// A join is answered this much after the rebalance's end, at the latest.
const JOIN_SLACK: Duration = Duration::from_secs(10);
/// A coordinator may hold the first join of a group back for a while (`group.initial.rebalance.delay.ms`).
const JOIN_MAX: Duration = Duration::from_secs(1_800);

impl GroupRequest for JoinGroupRequest {
    fn group(&self) -> &str {
        &self.group_id
    }

    fn waits(&self) -> Duration {
        // The oldest version has one time for both.
        let longest = self.rebalance_timeout_ms.max(self.session_timeout_ms);
        Duration::from_millis(u64::try_from(longest).unwrap_or(0)).min(JOIN_MAX) + JOIN_SLACK
    }

    fn refused(&self, code: ResponseError, version: i16) -> JoinGroupResponse {
        let response = JoinGroupResponse::default()
            .with_error_code(code.code())
            .with_generation_id(-1)
            .with_member_id(self.member_id.clone());
        // Null is possible only later.
        response.with_protocol_name((version < NULL_PROTOCOL).then(Default::default))
    }
}

/// JoinGroup's answer may have no protocol from this version on.
const NULL_PROTOCOL: i16 = 7;

impl GroupRequest for SyncGroupRequest {
    fn group(&self) -> &str {
        &self.group_id
    }

    fn waits(&self) -> Duration {
        SYNC_MAX
    }

    fn refused(&self, code: ResponseError, _version: i16) -> SyncGroupResponse {
        SyncGroupResponse::default().with_error_code(code.code())
    }
}

impl GroupRequest for HeartbeatRequest {
    fn group(&self) -> &str {
        &self.group_id
    }

    fn refused(&self, code: ResponseError, _version: i16) -> HeartbeatResponse {
        HeartbeatResponse::default().with_error_code(code.code())
    }
}

impl GroupRequest for LeaveGroupRequest {
    fn group(&self) -> &str {
        &self.group_id
    }

    fn refused(&self, code: ResponseError, _version: i16) -> LeaveGroupResponse {
        LeaveGroupResponse::default().with_error_code(code.code())
    }
}

impl GroupRequest for ConsumerGroupHeartbeatRequest {
    fn group(&self) -> &str {
        &self.group_id
    }

    fn refused(&self, code: ResponseError, _version: i16) -> ConsumerGroupHeartbeatResponse {
        ConsumerGroupHeartbeatResponse::default()
            .with_error_code(code.code())
            .with_member_id(Some(self.member_id.clone()))
    }
}

impl GroupRequest for OffsetCommitRequest {
    fn group(&self) -> &str {
        &self.group_id
    }

    fn refused(&self, code: ResponseError, _version: i16) -> OffsetCommitResponse {
        let topics = self.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| {
                OffsetCommitResponsePartition::default()
                    .with_partition_index(partition.partition_index)
                    .with_error_code(code.code())
            });
            OffsetCommitResponseTopic::default()
                .with_name(topic.name.clone())
                .with_topic_id(topic.topic_id)
                .with_partitions(partitions.collect())
        });
        OffsetCommitResponse::default().with_topics(topics.collect())
    }
}

impl GroupRequest for OffsetDeleteRequest {
    fn group(&self) -> &str {
        &self.group_id
    }

    fn refused(&self, code: ResponseError, _version: i16) -> OffsetDeleteResponse {
        OffsetDeleteResponse::default().with_error_code(code.code())
    }
}

#[cfg(test)]
mod tests {
    use wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};

    use super::*;

    fn is_said_in_every_version<R: GroupRequest>(request: &R) {
        let spoken = wire::spoken(R::KEY).unwrap();
        for version in spoken.min..=spoken.max {
            let answer = request.refused(ResponseError::NotCoordinator, version);
            let encoded = wire::encode_response(&answer, version, 1).unwrap();
            let read = wire::decode_response::<R>(encoded.bytes.slice(4..), version);
            assert!(read.is_ok(), "version {version}: {:?}", read.err());
        }
    }

    #[test]
    fn a_missing_coordinator_is_said_in_every_version() {
        is_said_in_every_version(&JoinGroupRequest::default());
        is_said_in_every_version(&SyncGroupRequest::default());
        is_said_in_every_version(&HeartbeatRequest::default());
        is_said_in_every_version(&LeaveGroupRequest::default());
        is_said_in_every_version(&ConsumerGroupHeartbeatRequest::default());
        is_said_in_every_version(&OffsetCommitRequest::default());
        is_said_in_every_version(&OffsetDeleteRequest::default());
    }

    #[test]
    fn every_partition_of_a_commit_hears_of_it() {
        let partition = |n| OffsetCommitRequestPartition::default().with_partition_index(n);
        let topic = OffsetCommitRequestTopic::default().with_partitions(vec![partition(3), partition(4)]);
        let request = OffsetCommitRequest::default().with_topics(vec![topic]);
        let answer = request.refused(ResponseError::NotCoordinator, 8);
        let told: Vec<(i32, i16)> =
            answer.topics[0].partitions.iter().map(|p| (p.partition_index, p.error_code)).collect();
        assert_eq!(told, [(3, 16), (4, 16)]);
    }

    #[test]
    fn a_join_is_given_the_time_of_a_rebalance() {
        let request = JoinGroupRequest::default().with_rebalance_timeout_ms(300_000);
        assert_eq!(request.waits(), Duration::from_secs(310));
        let old = JoinGroupRequest::default().with_rebalance_timeout_ms(-1).with_session_timeout_ms(6_000);
        assert_eq!(old.waits(), Duration::from_secs(16));
    }
}

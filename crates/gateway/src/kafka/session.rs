use std::{net::SocketAddr, sync::Arc};

use transport::{Handler, Reply};
use wire::{
    ApiKey, FrameError, RequestFrame,
    messages::{
        ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, DeleteGroupsRequest,
        DeleteRecordsRequest, DescribeGroupsRequest, DescribeProducersRequest, HeartbeatRequest,
        JoinGroupRequest, LeaveGroupRequest, ListOffsetsRequest, OffsetCommitRequest, OffsetDeleteRequest,
        OffsetForLeaderEpochRequest, SyncGroupRequest,
    },
};

use super::{
    admin, alter_configs, api_versions, by_leader, coordinator, create_partitions, create_topics,
    delete_topics, describe_cluster, describe_configs, elect_leaders,
    fetch::{self, Fetching},
    find_coordinator,
    front::Front,
    init_producer_id, list_groups, many_groups, metadata, offset_fetch,
    produce::{self, Producing},
    reply::now,
};

/// One client's connection. What it holds is made when it is first used, and ends with the connection: an idle one costs
/// next to nothing.
pub(super) struct Session {
    front: Arc<Front>,
    producing: Arc<Producing>,
    /// Fetches of one connection are answered one after the other.
    fetching: Arc<tokio::sync::Mutex<Fetching>>,
}

impl Session {
    pub(super) fn new(front: Arc<Front>) -> Self {
        front.traffic.connections.increment(1.0);
        Self { front, producing: Arc::default(), fetching: Arc::default() }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.front.traffic.connections.decrement(1.0);
    }
}

impl Handler for Session {
    fn handle(&self, frame: RequestFrame, _peer: SocketAddr) -> Result<Reply, FrameError> {
        let front = &self.front;
        front.traffic.requests.increment(1);
        match frame.api {
            ApiKey::Produce => produce::handle(front, &self.producing, &frame),
            ApiKey::Fetch => fetch::handle(front, &self.fetching, &frame),
            ApiKey::ApiVersions => now(&frame, &api_versions::answer()),
            ApiKey::Metadata => now(&frame, &metadata::answer(front, &frame.decode_body()?, frame.version)),
            ApiKey::DescribeCluster => now(&frame, &describe_cluster::answer(front)),

            ApiKey::ListOffsets => by_leader::handle::<ListOffsetsRequest>(front, &frame),
            ApiKey::OffsetForLeaderEpoch => by_leader::handle::<OffsetForLeaderEpochRequest>(front, &frame),
            ApiKey::DeleteRecords => by_leader::handle::<DeleteRecordsRequest>(front, &frame),
            ApiKey::DescribeProducers => by_leader::handle::<DescribeProducersRequest>(front, &frame),

            ApiKey::FindCoordinator => find_coordinator::handle(front, &frame),
            ApiKey::JoinGroup => coordinator::handle::<JoinGroupRequest>(front, frame),
            ApiKey::SyncGroup => coordinator::handle::<SyncGroupRequest>(front, frame),
            ApiKey::Heartbeat => coordinator::handle::<HeartbeatRequest>(front, frame),
            ApiKey::LeaveGroup => coordinator::handle::<LeaveGroupRequest>(front, frame),
            ApiKey::ConsumerGroupHeartbeat => {
                coordinator::handle::<ConsumerGroupHeartbeatRequest>(front, frame)
            }
            ApiKey::OffsetCommit => coordinator::handle::<OffsetCommitRequest>(front, frame),
            ApiKey::OffsetDelete => coordinator::handle::<OffsetDeleteRequest>(front, frame),
            ApiKey::OffsetFetch => offset_fetch::handle(front, &frame),
            ApiKey::DescribeGroups => many_groups::handle::<DescribeGroupsRequest>(front, &frame),
            ApiKey::DeleteGroups => many_groups::handle::<DeleteGroupsRequest>(front, &frame),
            ApiKey::ConsumerGroupDescribe => {
                many_groups::handle::<ConsumerGroupDescribeRequest>(front, &frame)
            }
            ApiKey::ListGroups => list_groups::handle(front, &frame),

            ApiKey::CreateTopics => admin::handle(front, &frame, create_topics::answer),
            ApiKey::DeleteTopics => admin::handle(front, &frame, delete_topics::answer),
            ApiKey::CreatePartitions => admin::handle(front, &frame, create_partitions::answer),
            ApiKey::DescribeConfigs => admin::handle(front, &frame, describe_configs::answer),
            ApiKey::AlterConfigs => admin::handle(front, &frame, alter_configs::at_once),
            ApiKey::IncrementalAlterConfigs => admin::handle(front, &frame, alter_configs::incremental),
            ApiKey::ElectLeaders => admin::handle(front, &frame, elect_leaders::answer),
            ApiKey::InitProducerId => admin::handle(front, &frame, init_producer_id::answer),
            api => Err(FrameError::Api { api_key: api as i16 }),
        }
    }

    fn handle_unreadable(&self, error: FrameError) -> Result<Reply, FrameError> {
        match error {
            // KIP-511: the oldest form of the answer, so that any client can read what would be understood.
            FrameError::Version { spoken, correlation_id, .. } if spoken.api == ApiKey::ApiVersions => {
                let answer = api_versions::unsupported();
                Ok(Reply::Now(wire::encode_response(&answer, 0, correlation_id)?.into()))
            }
            error => Err(error),
        }
    }
}

//! From an API's key to the type of its requests.

/// Calls a function that is generic over a request's type with the one of an API; every API that is spoken is here.
macro_rules! with_request {
    ($api:expr, $call:ident($($argument:expr),*)) => {
        with_request!(@ $api, $call, ($($argument),*),
            Produce ProduceRequest, Fetch FetchRequest, ListOffsets ListOffsetsRequest, Metadata MetadataRequest,
            OffsetCommit OffsetCommitRequest, OffsetFetch OffsetFetchRequest,
            FindCoordinator FindCoordinatorRequest, JoinGroup JoinGroupRequest, Heartbeat HeartbeatRequest,
            LeaveGroup LeaveGroupRequest, SyncGroup SyncGroupRequest, DescribeGroups DescribeGroupsRequest,
            ListGroups ListGroupsRequest, ApiVersions ApiVersionsRequest, CreateTopics CreateTopicsRequest,
            DeleteTopics DeleteTopicsRequest, DeleteRecords DeleteRecordsRequest,
            InitProducerId InitProducerIdRequest, DeleteGroups DeleteGroupsRequest,
            OffsetDelete OffsetDeleteRequest, DescribeConfigs DescribeConfigsRequest,
            AlterConfigs AlterConfigsRequest, CreatePartitions CreatePartitionsRequest,
            IncrementalAlterConfigs IncrementalAlterConfigsRequest, DescribeCluster DescribeClusterRequest,
            OffsetForLeaderEpoch OffsetForLeaderEpochRequest, DescribeLogDirs DescribeLogDirsRequest,
            ElectLeaders ElectLeadersRequest, AlterPartitionReassignments AlterPartitionReassignmentsRequest,
            ListPartitionReassignments ListPartitionReassignmentsRequest,
            DescribeProducers DescribeProducersRequest, ConsumerGroupHeartbeat ConsumerGroupHeartbeatRequest,
            ConsumerGroupDescribe ConsumerGroupDescribeRequest
        )
    };
    (@ $api:expr, $call:ident, $arguments:tt, $($key:ident $request:ident),*) => {
        match $api {
            $(wire::ApiKey::$key => with_request!(@@ $call, $request, $arguments),)*
            other => panic!("{other:?} is spoken and not fuzzed"),
        }
    };
    (@@ $call:ident, $request:ident, ($($argument:expr),*)) => {
        $call::<wire::messages::$request>($($argument),*)
    };
}

pub(crate) use with_request;

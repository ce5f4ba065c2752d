use wire::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse, DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest,
    DescribeGroupsResponse, HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse,
    LeaveGroupRequest, LeaveGroupResponse, ListGroupsRequest, ListGroupsResponse, OffsetCommitRequest,
    OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse, OffsetFetchRequest, OffsetFetchResponse,
    SyncGroupRequest, SyncGroupResponse,
};

use crate::{SessionCall, SessionError, SessionReply};

/// Names a call until its answer; the driver hands them out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// Who calls, as far as it matters to a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    pub client_id: String,
    /// As Kafka writes it: `/10.0.0.1`.
    pub host: String,
    /// Of the API that is called.
    pub version: i16,
}

/// What a client asks of a coordinator. Where one request names many groups, only those of this coordinator are in it.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    Join(JoinGroupRequest),
    Sync(SyncGroupRequest),
    Heartbeat(HeartbeatRequest),
    Leave(LeaveGroupRequest),
    ConsumerHeartbeat(ConsumerGroupHeartbeatRequest),
    ConsumerDescribe(ConsumerGroupDescribeRequest),
    Describe(DescribeGroupsRequest),
    List(ListGroupsRequest),
    DeleteGroups(DeleteGroupsRequest),
    /// All versions as the wire has them; topics are named, in version 10 by id.
    OffsetCommit(OffsetCommitRequest),
    /// In the form of version 8 and later: `groups`. The driver converts older ones.
    OffsetFetch(OffsetFetchRequest),
    OffsetDelete(OffsetDeleteRequest),
    /// Of a REST consumer.
    Session(SessionCall),
}

/// The answer to the [`Call`] of the same name.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Join(JoinGroupResponse),
    Sync(SyncGroupResponse),
    Heartbeat(HeartbeatResponse),
    Leave(LeaveGroupResponse),
    ConsumerHeartbeat(ConsumerGroupHeartbeatResponse),
    ConsumerDescribe(ConsumerGroupDescribeResponse),
    Describe(DescribeGroupsResponse),
    List(ListGroupsResponse),
    DeleteGroups(DeleteGroupsResponse),
    OffsetCommit(OffsetCommitResponse),
    /// In the form of version 8 and later.
    OffsetFetch(OffsetFetchResponse),
    OffsetDelete(OffsetDeleteResponse),
    Session(Result<SessionReply, SessionError>),
}

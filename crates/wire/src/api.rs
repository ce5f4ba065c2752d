use kafka_protocol::messages::ApiKey;

/// The versions of one API that are spoken, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiVersions {
    pub api: ApiKey,
    pub min: i16,
    pub max: i16,
}

const fn versions(api: ApiKey, min: i16, max: i16) -> ApiVersions {
    ApiVersions { api, min, max }
}

/// What a storage node speaks. `ApiKey::valid_versions` claims more than requests and responses both support.
pub const SPOKEN: &[ApiVersions] = &[
    versions(ApiKey::Produce, 3, 13),
    versions(ApiKey::Fetch, 4, 17),
    versions(ApiKey::ListOffsets, 1, 10),
    versions(ApiKey::Metadata, 0, 13),
    versions(ApiKey::OffsetCommit, 2, 9),
    versions(ApiKey::OffsetFetch, 1, 9),
    versions(ApiKey::FindCoordinator, 0, 6),
    versions(ApiKey::JoinGroup, 0, 9),
    versions(ApiKey::Heartbeat, 0, 4),
    versions(ApiKey::LeaveGroup, 0, 5),
    versions(ApiKey::SyncGroup, 0, 5),
    versions(ApiKey::DescribeGroups, 0, 6),
    versions(ApiKey::ListGroups, 0, 5),
    versions(ApiKey::ApiVersions, 0, 4),
    versions(ApiKey::CreateTopics, 2, 7),
    versions(ApiKey::DeleteTopics, 1, 6),
    versions(ApiKey::DeleteRecords, 0, 2),
    versions(ApiKey::InitProducerId, 0, 5),
    versions(ApiKey::DeleteGroups, 0, 2),
    versions(ApiKey::OffsetDelete, 0, 0),
    versions(ApiKey::DescribeConfigs, 1, 4),
    versions(ApiKey::AlterConfigs, 0, 2),
    versions(ApiKey::CreatePartitions, 0, 3),
    versions(ApiKey::IncrementalAlterConfigs, 0, 1),
    versions(ApiKey::DescribeCluster, 0, 2),
    versions(ApiKey::OffsetForLeaderEpoch, 2, 4),
    versions(ApiKey::DescribeLogDirs, 1, 4),
    versions(ApiKey::ElectLeaders, 0, 2),
    versions(ApiKey::AlterPartitionReassignments, 0, 1),
    versions(ApiKey::ListPartitionReassignments, 0, 0),
    versions(ApiKey::DescribeProducers, 0, 0),
    versions(ApiKey::ConsumerGroupHeartbeat, 0, 1),
    versions(ApiKey::ConsumerGroupDescribe, 0, 1),
];

/// The versions of the API with this key, if it is spoken at all.
pub fn spoken(api_key: i16) -> Option<ApiVersions> {
    SPOKEN.iter().copied().find(|v| v.api as i16 == api_key)
}

impl ApiVersions {
    /// The version that clients are told. Older librdkafkas (kcat in Debian's is one) compress only for who says that it speaks
    /// the first version of Produce, in which they never ask; Kafka 4 says so for their sake, too (KAFKA-18659).
    pub fn min_told(&self) -> i16 {
        match self.api {
            ApiKey::Produce => 0,
            _ => self.min,
        }
    }

    pub fn contains(&self, version: i16) -> bool {
        (self.min..=self.max).contains(&version)
    }
}

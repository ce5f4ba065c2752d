use wire::{
    ApiKey, ResponseError, SPOKEN,
    messages::{ApiVersionsResponse, api_versions_response::ApiVersion},
};

/// What a storage node speaks and a gateway does not: each names brokers that are not to be seen through it.
const OF_NODES_ONLY: [ApiKey; 3] =
    [ApiKey::DescribeLogDirs, ApiKey::AlterPartitionReassignments, ApiKey::ListPartitionReassignments];

pub(super) fn answer() -> ApiVersionsResponse {
    let api = |v: &wire::ApiVersions| {
        ApiVersion::default()
            .with_api_key(v.api as i16)
            .with_min_version(v.min_told())
            .with_max_version(v.max)
    };
    let spoken = SPOKEN.iter().filter(|v| !OF_NODES_ONLY.contains(&v.api));
    ApiVersionsResponse::default().with_api_keys(spoken.map(api).collect())
}

/// To a client that asked in a version that is not spoken (KIP-511).
pub(super) fn unsupported() -> ApiVersionsResponse {
    answer().with_error_code(ResponseError::UnsupportedVersion.code())
}
